"""Objects and functions that no flavour knows, as MLflow Python models."""

from __future__ import annotations

from typing import Any

from model_platform.capture.quiet import import_mlflow
from model_platform.capture.subject import Subject
from model_platform.capture.table import Form


def python_model(subject: Subject, form: Form) -> Any:
    """A PythonModel around the subject, that is called with rows in the form in which it was tried out.

    The class is made here, inside a function, so that cloudpickle stores it by value: where the model runs, nothing
    of this package is installed.
    """
    base = import_mlflow("mlflow.pyfunc").PythonModel
    is_function, method, as_records = subject.is_function, subject.method, form is Form.RECORDS

    class PublishedModel(base):  # type: ignore[misc, valid-type]
        _skip_type_hint_validation = True  # else MLflow advises type hints, here and in every runner's log

        def __init__(self, model: Any) -> None:
            self.model = model

        # No annotations here: MLflow would read them as the types of the model's input.
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, ARG002
            rows = model_input
            if as_records and hasattr(rows, "to_dict"):
                rows = rows.to_dict(orient="records")
            return self.model(rows) if is_function else getattr(self.model, method)(rows)

    return PublishedModel(subject.model)
