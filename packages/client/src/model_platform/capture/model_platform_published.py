"""A model that answers by a method or as a function, for MLflow: this file travels in the version's `code/`."""

from __future__ import annotations

import importlib
from typing import Any

import mlflow.pyfunc


class PublishedModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Calls `method` of the model, or the model itself where that is None; `as_records` with a list of objects."""

    _skip_type_hint_validation = True  # else MLflow advises type hints, here and in every runner's log

    def __init__(self, model: Any, method: str | None, as_records: bool) -> None:
        self.model = model
        self.method = method
        self.as_records = as_records

    # No annotations here: MLflow would read them as the types of the model's input.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, ARG002
        """The model's answers to rows."""
        rows = model_input
        if self.as_records and hasattr(rows, "to_dict"):
            rows = rows.to_dict(orient="records")
        if type(self.model).__name__ == "Booster" and type(self.model).__module__ == "xgboost.core":
            rows = importlib.import_module("xgboost").DMatrix(rows, enable_categorical=True)
        return self.model(rows) if self.method is None else getattr(self.model, self.method)(rows)
