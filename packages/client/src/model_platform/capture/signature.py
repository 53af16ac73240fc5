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
_OTHERS = "numbers, strings, booleans, dates, and lists and objects of them"


def infer_signature(rows: Table, answers: Answers, sample: Table | None = None) -> Any:
    """MLflow's ModelSignature of the rows a model learnt from or is called with, and of its answers.

    Parameters
    ----------
    sample
        Rows that the model was asked; what is missing there may be missing in a call.

    Raises
    ------
    InvalidInputError
        If a column holds what no signature knows.
    """
    signature = importlib.import_module("mlflow.models.signature")
    return signature.ModelSignature(inputs=_inputs(rows, sample or rows), outputs=_outputs(answers))


def _types() -> Any:
    return importlib.import_module("mlflow.types")


def _inputs(rows: Table, sample: Table) -> Any:
    types = _types()
    if rows.form is Form.ARRAY:
        return types.Schema([_tensor(rows.value, None)])
    if rows.form is Form.ARRAYS:
        return types.Schema([_tensor(array, name) for name, array in rows.value.items()])
    columns = rows.columns()
    optional = {name for name, column in (*columns, *sample.columns()) if bool(column.isna().any())}
    return types.Schema(
        [
            types.ColSpec(_input_type(name, column))  # MLflow knows no optional column without a name
            if rows.unnamed
            else types.ColSpec(_input_type(name, column), name, required=name not in optional)
            for name, column in columns
        ]
    )


def _tensor(array: Any, name: str | None) -> Any:
    numpy = importlib.import_module("numpy")
    dtype = array.dtype
    if dtype.kind not in "biufMOU":
        place = f"The array {name!r}" if name else "The array"
        raise InvalidInputError(f"{place} holds {dtype}; a model that is called over HTTP takes {_OTHERS}.")
    if dtype.kind in "OU":
        dtype = numpy.dtype("str" if _of_values(array.ravel()[:LOOKED_AT_ROWS].tolist()) == "string" else "object")
    return _types().TensorSpec(dtype, (-1, *array.shape[1:]), name)


def _input_type(name: str, column: Any) -> Any:
    kind = column_type(column) or _nested_type(column.iloc[:LOOKED_AT_ROWS].dropna())
    if kind is None:
        raise InvalidInputError(
            f"Column {name!r} holds {_strangers(column)}; a model that is called over HTTP takes {_OTHERS}."
        )
    return kind


def _nested_type(values: Iterable[Any]) -> Any:
    """MLflow's type of lists and dictionaries, where all are alike; None for anything else."""
    schema = importlib.import_module("mlflow.types.schema")
    values = list(values)
    if all(isinstance(value, list | tuple) for value in values):
        entries = [entry for value in values for entry in value]
        inner = None if any(entry is None for entry in entries) else _of_values(entries) or _nested_type(entries)
        if inner is None and hasattr(schema, "AnyType") and _is_json(entries):
            return schema.Array(schema.AnyType())  # they arrive as they are sent
        return None if inner is None else schema.Array(_word(schema, inner))
    if not all(isinstance(value, dict) and all(isinstance(key, str) for key in value) for value in values):
        return None
    properties = []
    for key in dict.fromkeys(key for value in values for key in value):
        given = [value[key] for value in values if value.get(key) is not None]
        inner = _of_values(given) or _nested_type(given)
        if inner is None:
            return None
        properties.append(schema.Property(key, _word(schema, inner), required=len(given) == len(values)))
    return schema.Object(properties) if properties else None


def _is_json(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_json, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(each) for key, each in value.items())
    return value is None or type(value) in (bool, int, float, str)


def _word(schema: Any, kind: Any) -> Any:
    return schema.DataType[kind] if isinstance(kind, str) else kind


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
    if kind in "biufM":
        return _of_kind(kind, getattr(dtype, "itemsize", 8))
    if str(dtype).startswith("period["):
        return "datetime"
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
        return "integer" if width <= 2 else "long"
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
    if hasattr(value, "item") and not getattr(value, "ndim", 0) and not isinstance(value, str | bytes):
        value = value.item()
    return type(value)


def _strangers(column: Any) -> str:
    kinds = sorted({type(value).__name__ for value in column.iloc[:LOOKED_AT_ROWS].dropna()})
    return f"{column.dtype} values" if not kinds else "values of type " + " and ".join(kinds[:3])
