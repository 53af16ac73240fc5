"""MLflow runs of the user's own: read, never changed, wherever their tracking address leads."""

from __future__ import annotations

import logging
import math
import queue
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from model_platform.capture.origin import without_credentials
from model_platform.capture.quiet import import_mlflow, quiet
from model_platform_core.lineage import MlflowRun

PATIENCE_SECONDS = 2.0
_TALKER = "urllib3.connectionpool"


@dataclass(frozen=True)
class ReadRun:
    """A run as it stands: what it is, its metrics, its parameters as text; `note` says why these are not known."""

    run: MlflowRun
    metrics: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    note: str | None = None


def active_run() -> ReadRun | None:
    """The run that is active in this process; None if there is none, or MLflow was never imported."""
    mlflow = sys.modules.get("mlflow")
    found = mlflow.active_run() if mlflow is not None and hasattr(mlflow, "active_run") else None
    return read_run(found.info.run_id, found.info.run_name) if found is not None else None


def read_run(run_id: str, name: str | None = None) -> ReadRun:
    """A run from where the user tracks. If that does not answer in time, it is named all the same.

    Parameters
    ----------
    name
        What it is called, if that is known already.
    """
    mlflow = import_mlflow()
    address = mlflow.get_tracking_uri()
    shown = without_credentials(address)
    answer: queue.Queue[ReadRun | Exception] = queue.Queue()
    # MLflow asks a server that is not there for minutes; a daemon thread may go on with that on its own.
    threading.Thread(target=_ask, args=(mlflow, address, run_id, answer), name="mlflow-run", daemon=True).start()
    try:
        with quiet():
            found = answer.get(timeout=PATIENCE_SECONDS)
    except queue.Empty:
        found = TimeoutError()
    if isinstance(found, ReadRun):
        return found
    why = "did not answer in time" if isinstance(found, TimeoutError) else f"could not say ({type(found).__name__})"
    note = f"metrics and parameters of the MLflow run {run_id} are not known: {shown} {why}"
    return ReadRun(MlflowRun(run_id=run_id, name=name or None, tracking_uri=shown), note=note)


def _ask(mlflow: Any, address: str, run_id: str, answer: queue.Queue[ReadRun | Exception]) -> None:
    this = threading.get_ident()

    def by_others(record: logging.LogRecord) -> bool:
        return record.thread != this

    talker = logging.getLogger(_TALKER)  # tells of each attempt that fails
    talker.addFilter(by_others)
    try:
        answer.put(_read(mlflow.MlflowClient(tracking_uri=address), address, run_id))
    except Exception as error:  # noqa: BLE001 - the run is an addition; without it the model is published all the same
        answer.put(error)
    finally:
        talker.removeFilter(by_others)


def _read(client: Any, address: str, run_id: str) -> ReadRun:
    found = client.get_run(run_id)
    return ReadRun(
        MlflowRun(
            run_id=run_id,
            name=found.info.run_name or None,
            experiment=client.get_experiment(found.info.experiment_id).name,
            tracking_uri=without_credentials(address),
        ),
        {name: value for name, value in found.data.metrics.items() if math.isfinite(value)},
        dict(found.data.params),
    )
