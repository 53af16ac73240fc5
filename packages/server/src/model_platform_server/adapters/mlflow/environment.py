"""MLflow's configuration. It is read while MLflow's server is imported, so this comes first.

The names with a leading underscore are private to MLflow; importing its constants for them would already import its
server and fix everything. A test compares them.
"""

from __future__ import annotations

import os
from pathlib import Path

from model_platform_server.adapters.mlflow.entry_points import SCHEME

TRACKING_STORE = "_MLFLOW_SERVER_FILE_STORE"
REGISTRY_STORE = "_MLFLOW_SERVER_REGISTRY_STORE"
ARTIFACT_ROOT = "_MLFLOW_SERVER_ARTIFACT_ROOT"
SERVE_ARTIFACTS = "_MLFLOW_SERVER_SERVE_ARTIFACTS"
ARTIFACT_DESTINATION = "_MLFLOW_SERVER_ARTIFACT_DESTINATION"

LOCATION = "mlflow-artifacts:/"
"""Where clients find artifacts: without a host, so that they take the server that they talk to."""


def configure(database_url: str, artifacts: Path) -> None:
    """Set MLflow's environment for a governed server in this process."""
    os.environ.update(
        {
            TRACKING_STORE: SCHEME + database_url,
            REGISTRY_STORE: SCHEME + database_url,
            ARTIFACT_ROOT: LOCATION,
            SERVE_ARTIFACTS: "true",
            ARTIFACT_DESTINATION: SCHEME + artifacts.resolve().as_uri(),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_ENABLE_WORKSPACES": "false",
            "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true",  # Host and Origin are checked by the platform's guard
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
        }
    )
    for name in ("_MLFLOW_IN_JOB_EXECUTOR", "_MLFLOW_STATIC_PREFIX", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        os.environ.pop(name, None)
