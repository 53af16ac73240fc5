"""The signature: what a version accepts and answers, in MLflow's own words.

Columns are read from their dtypes, so that every pandas from 1.5 on gives the same result and no version of MLflow has
something to warn about. A column is optional where missing values were seen.
"""

from __future__ import annotations

import datetime as dt
import importlib
from collections.abc import Iterable
from typing import Any

from model_platform.capture.answers import Answers
from model_platform.capture.table import Form, Table
from model_platform_core.errors import InvalidInputError

LOOKED_AT_ROWS = 10_000
_OTHERS = "numbers, strings, booleans, dates"


def infer_signature(rows: Table, answers: Answers) -> Any:
    """MLflow's ModelSignature of the rows a model learnt from or is called with, and of its answers.

    Raises
    ------
    InvalidInputError
        If a column holds what no signature knows.
    """
    signature = importlib.import_module("mlflow.models.signature")
    return signature.ModelSignature(inputs=_inputs(rows), outputs=_outputs(answers))


def _types() -> Any:
    return importlib.import_module("mlflow.types")


def _inputs(rows: Table) -> Any:
    types = _types()
    if rows.form is Form.ARRAY:
        numpy = importlib.import_module("numpy")
        shape = (-1, *rows.value.shape[1:])
        dtype = rows.value.dtype if rows.value.dtype.kind not in "OUST" else numpy.dtype("str")
        return types.Schema([types.TensorSpec(numpy.dtype(dtype), shape)])
    frame = rows.frame()
    columns = []
    for position, name in enumerate(frame.columns):
        column = frame.iloc[:, position]
        kind = column_type(column)
        if kind is None:
            raise InvalidInputError(
                f"Column {name!r} holds {_strangers(column)}; a model that is called over HTTP takes {_OTHERS}."
            )
        columns.append(types.ColSpec(kind, str(name), required=not bool(column.isna().any())))
    return types.Schema(columns)


def _outputs(answers: Answers) -> Any | None:
    """Outputs by name where each is a plain value; where one is an array, tensors; None for free-form objects."""
    types = _types()
    if not answers.columns or answers.kind == "records":
        return None
    specs = []
    for name, values in answers.columns.items():
        if getattr(values, "ndim", 1) > 1:
            specs.append(types.TensorSpec(values.dtype, (-1, *values.shape[1:]), name))
            continue
        kind = _answer_type(values)
        if kind is None:
            return None
        specs.append(types.ColSpec(kind, name))
    tensors = [spec for spec in specs if isinstance(spec, types.TensorSpec)]
    return types.Schema(specs) if len(tensors) in (0, len(specs)) else None


def column_type(column: Any) -> str | None:
    """MLflow's word for what a pandas column holds; None for what it has no word for."""
    dtype = column.dtype
    if hasattr(dtype, "categories"):
        return column_type(dtype.categories.to_series())
    kind = getattr(dtype, "kind", "O")
    if kind in "biufcM" and kind != "c":
        return _of_kind(kind, getattr(dtype, "itemsize", 8))
    return _of_values(column.iloc[:LOOKED_AT_ROWS].dropna())


def _answer_type(values: Any) -> str | None:
    dtype = getattr(values, "dtype", None)
    if dtype is not None and dtype.kind in "biufM":
        return _of_kind(dtype.kind, dtype.itemsize)
    return _of_values(list(values[:LOOKED_AT_ROWS]))


def _of_kind(kind: str, width: int) -> str | None:
    if kind == "i":
        return "integer" if width <= 4 else "long"
    if kind == "u":
        return "integer" if width <= 2 else "long" if width <= 4 else "double"
    if kind == "f":
        return "float" if width <= 4 else "double"
    return {"b": "boolean", "M": "datetime"}.get(kind)


_OF_TYPES: tuple[tuple[tuple[type, ...], str], ...] = (
    ((bool,), "boolean"),
    ((str,), "string"),
    ((int,), "long"),
    ((int, float), "double"),
    ((dt.date,), "datetime"),
    ((bytes,), "binary"),
)


def _of_values(values: Iterable[Any]) -> str | None:
    kinds = {_plain_type(value) for value in values if value is not None}
    if not kinds:
        return "string"  # nothing but missing values: whatever comes is text to JSON
    for known, word in _OF_TYPES:
        if all(issubclass(kind, known) and (kind is not bool or word == "boolean") for kind in kinds):
            return word
    return None


def _plain_type(value: Any) -> type:
    if hasattr(value, "item") and not isinstance(value, str | bytes):
        value = value.item()
    return type(value)


def _strangers(column: Any) -> str:
    kinds = sorted({type(value).__name__ for value in column.iloc[:LOOKED_AT_ROWS].dropna()})
    return f"{column.dtype} values" if not kinds else "values of type " + " and ".join(kinds[:3])
