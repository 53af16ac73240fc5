"""What MLflow finds by the scheme `governed`.

MLflow loads entry points while it is itself being imported. A plugin module that imports mlflow at its top is then only
half-initialised, and MLflow warns and goes on without it: so every import stands inside the functions.
"""

from __future__ import annotations

from typing import Any

SCHEME = "governed:"


def registry_store(store_uri: str, tracking_uri: str | None = None) -> Any:  # noqa: ARG001
    """The governed model registry; `store_uri` is `governed:` and a database URL."""
    from model_platform_server.adapters.mlflow.registry_store import GovernedRegistryStore  # noqa: PLC0415

    return GovernedRegistryStore(store_uri.removeprefix(SCHEME))


def tracking_store(store_uri: str, artifact_uri: str | None = None) -> Any:
    """The governed tracking store; `store_uri` is `governed:` and a database URL."""
    from model_platform_server.adapters.mlflow.tracking_store import GovernedTrackingStore  # noqa: PLC0415

    return GovernedTrackingStore(store_uri.removeprefix(SCHEME), artifact_uri)


def artifact_repository(artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> Any:
    """The governed artifact store; `artifact_uri` is `governed:` and the address of the real one."""
    from model_platform_server.adapters.mlflow.artifact_store import governed_artifacts  # noqa: PLC0415

    return governed_artifacts(artifact_uri, tracking_uri, registry_uri)
