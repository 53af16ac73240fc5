"""MLflow runs of the user's own: read, never changed, wherever their tracking address leads."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from model_platform.capture.origin import without_credentials
from model_platform.capture.quiet import import_mlflow, quiet
from model_platform_core.lineage import MlflowRun


@dataclass(frozen=True)
class ReadRun:
    """A run as it stands: what it is, its metrics, its parameters as text."""

    run: MlflowRun
    metrics: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)


def active_run() -> ReadRun | None:
    """The run that is active in this process; None if there is none, or MLflow was never imported."""
    mlflow = sys.modules.get("mlflow")
    found = mlflow.active_run() if mlflow is not None and hasattr(mlflow, "active_run") else None
    return read_run(found.info.run_id) if found is not None else None


def read_run(run_id: str) -> ReadRun | None:
    """A run from where the user tracks; None if it is not there, or its server does not answer."""
    mlflow = import_mlflow()
    address = mlflow.get_tracking_uri()
    try:
        with quiet():
            client = mlflow.MlflowClient(tracking_uri=address)
            found = client.get_run(run_id)
            experiment = client.get_experiment(found.info.experiment_id)
    except Exception:  # noqa: BLE001 - the run is an addition; without it the model is published all the same
        return None
    return ReadRun(
        MlflowRun(
            run_id=run_id,
            name=found.info.run_name or None,
            experiment=experiment.name,
            tracking_uri=without_credentials(address),
        ),
        {name: value for name, value in found.data.metrics.items() if math.isfinite(value)},
        dict(found.data.params),
    )
