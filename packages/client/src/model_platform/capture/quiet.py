"""MLflow without its talk: no warnings, no log lines, no telemetry, and the user's own settings left as they were."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SWITCH = "MLFLOW_DISABLE_TELEMETRY"


_turn = threading.RLock()


def import_mlflow(name: str = "mlflow") -> Any:
    """A module of MLflow. Where we are the first to import it, nothing is told to anybody about that."""
    if name in sys.modules:
        return importlib.import_module(name)
    with without_telemetry(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("mlflow")
        return importlib.import_module(name)


@contextmanager
def without_telemetry() -> Iterator[None]:
    """While MLflow is imported it finds its telemetry switched off; then the environment is as it was."""
    with _turn:  # two threads at once would take the other's value for the user's
        before = os.environ.get(_SWITCH)
        os.environ[_SWITCH] = "true"
        try:
            yield
        finally:
            if before is None:
                del os.environ[_SWITCH]
            else:
                os.environ[_SWITCH] = before


@contextmanager
def quiet() -> Iterator[None]:
    """Silence for what MLflow and the libraries below it say while a model is saved or loaded."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "skops", "xgboost", "lightgbm")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
