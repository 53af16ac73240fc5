"""Objects and functions that no flavour knows, as MLflow Python models."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from model_platform.capture.quiet import import_mlflow
from model_platform.capture.subject import Subject
from model_platform.capture.table import Form

MODULE = "model_platform_published"


def python_model(subject: Subject, form: Form) -> Any:
    """A PythonModel around the subject, that is called with rows in the form in which it was tried out."""
    kind = _travelling_module().PublishedModel
    return kind(subject.model, None if subject.is_function else subject.method, form is Form.RECORDS)


def _travelling_module() -> Any:
    """The file that travels, under the name by which it is imported where the model runs: none of ours is there."""
    if MODULE not in sys.modules:
        import_mlflow("mlflow.pyfunc")
        spec = importlib.util.spec_from_file_location(MODULE, source_file())
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[MODULE] = module
    return sys.modules[MODULE]


def source_file() -> Path:
    """The file that travels."""
    return Path(__file__).with_name(f"{MODULE}.py")
