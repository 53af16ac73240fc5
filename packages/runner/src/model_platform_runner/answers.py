"""What a model answers, and its forms on the wire: records, MLflow's and KServe's predictions, V2 tensors.

A model may answer with nearly anything. Here it becomes one of three shapes, of which each knows its rows, can be
divided among the calls that were joined for it, and can be written in every protocol:

- :class:`ArrayAnswers`: an array, one entry per row (1-D), or one line per row (2-D and more);
- :class:`ColumnAnswers`: columns with names (a DataFrame, a dictionary of arrays);
- :class:`ListAnswers`: a list of anything.
"""

import base64
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Protocol

import numpy as np
import orjson

from model_platform_runner.errors import CallError
from model_platform_runner.values import Array, object_array

PREDICTION = "prediction"  # the name of an answer that has none of its own
_DATATYPES = {"bool": "BOOL", "float16": "FP16", "float32": "FP32", "float64": "FP64"} | {
    f"{sign}int{bits}": f"{sign.upper()}INT{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}
_WRITTEN: dict[type, Callable[[Any], Any]] = {
    np.generic: lambda value: value.item(),
    date: lambda value: value.isoformat(),  # and what pandas makes of it
    Decimal: float,
    bytes: lambda value: base64.b64encode(value).decode(),
    set: list,
    frozenset: list,
}
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


class Answers(Protocol):
    """The answers to one batch of rows."""

    rows: int

    def part(self, start: int, stop: int) -> "Answers":
        """Return the answers to some of the rows."""

    def records(self) -> list[Any]:
        """Return one JSON object per row, as far as the answers have a row each."""

    def predictions(self) -> Any:
        """Return what KServe's V1 and MLflow's scoring protocol call predictions: the model's own shape."""

    def tensors(self) -> dict[str, Array]:
        """Return V2's outputs by name."""


class ArrayAnswers:
    """An array; the names are those of its second axis, for protocols that name things."""

    def __init__(self, array: Array, names: Sequence[str] | None = None) -> None:
        self.array = array
        self.names = list(names) if names and array.ndim == 2 and array.shape[1] == len(names) else None
        self.rows = len(array)

    def part(self, start: int, stop: int) -> "ArrayAnswers":
        """Return the answers to some of the rows."""
        return ArrayAnswers(self.array[start:stop], self.names)

    def records(self) -> list[Any]:
        """Return a record per line: the names with their values, or the line as the prediction."""
        if self.names:
            return [dict(zip(self.names, row, strict=True)) for row in self.array.tolist()]
        return [{PREDICTION: value} for value in self.array.tolist()]

    def predictions(self) -> Any:
        """Return the array."""
        return self.array

    def tensors(self) -> dict[str, Array]:
        """Return one tensor."""
        return {PREDICTION: self.array}


class ColumnAnswers:
    """Columns with names, all of one length."""

    def __init__(self, columns: dict[str, Array]) -> None:
        self.columns = columns
        self.rows = len(next(iter(columns.values()), ()))

    def part(self, start: int, stop: int) -> "ColumnAnswers":
        """Return the answers to some of the rows."""
        return ColumnAnswers({name: values[start:stop] for name, values in self.columns.items()})

    def records(self) -> list[Any]:
        """Return a record per row."""
        columns = [values.tolist() for values in self.columns.values()]
        return [dict(zip(self.columns, row, strict=True)) for row in zip(*columns, strict=True)]

    def predictions(self) -> Any:
        """Return records: what MLflow makes of a DataFrame."""
        return self.records()

    def tensors(self) -> dict[str, Array]:
        """Return one tensor per column."""
        return self.columns


class ListAnswers:
    """A list of anything: texts, objects, lists of different lengths."""

    def __init__(self, values: list[Any]) -> None:
        self.values = values
        self.rows = len(values)

    def part(self, start: int, stop: int) -> "ListAnswers":
        """Return the answers to some of the rows."""
        return ListAnswers(self.values[start:stop])

    def records(self) -> list[Any]:
        """Return the entries that are records as they are, others as the prediction."""
        return [value if isinstance(value, dict) else {PREDICTION: value} for value in self.values]

    def predictions(self) -> Any:
        """Return the list."""
        return self.values

    def tensors(self) -> dict[str, Array]:
        """Return one tensor."""
        return {PREDICTION: object_array(self.values)}


def answers_from(result: Any, names: Sequence[str] | None) -> Answers:
    """Bring what a model returned into one of the three shapes; the names are for the columns of a bare array."""
    if hasattr(result, "toarray"):
        result = result.toarray()  # a sparse matrix
    if hasattr(result, "to_dict") and hasattr(result, "columns"):
        return ColumnAnswers({str(name): _dates_as_text(result[name].to_numpy()) for name in result.columns})
    if hasattr(result, "to_numpy"):
        result = result.to_numpy()  # a Series or an Index
    if isinstance(result, np.ndarray):
        return ArrayAnswers(_dates_as_text(np.atleast_1d(result)), names)
    if isinstance(result, dict) and (columns := _columns(result)):
        return ColumnAnswers(columns)
    if isinstance(result, list | tuple):
        return _from_list(list(result), names)
    return ListAnswers([result])


def datatype(array: Array) -> str:
    """Return V2's name for what an array holds."""
    return _DATATYPES.get(array.dtype.name, "BYTES")


def encode(document: Any) -> bytes:
    """Write JSON; NaN and infinities become null.

    Raises
    ------
    CallError
        ``failed_prediction`` (500): the model answered with something that JSON cannot hold.
    """
    try:
        return orjson.dumps(document, default=_plain, option=_OPTIONS)
    except TypeError as error:
        cause = error.__cause__ if isinstance(error.__cause__, _NotJSONError) else None
        what = f" ({cause})" if cause else ""
        raise CallError(500, "failed_prediction", f"The model's answer cannot be written as JSON{what}.") from None


class _NotJSONError(TypeError):
    """The text is the name of a type, nothing else."""


def _from_list(values: list[Any], names: Sequence[str] | None) -> Answers:
    arrays = [value for value in values if isinstance(value, np.ndarray) and value.ndim]
    if values and len(arrays) == len(values) and len({len(each) for each in arrays}) == 1 and arrays[0].ndim > 1:
        # scikit-learn answers predict_proba of several outputs so: one matrix per output, not per row
        named = names if names and len(names) == len(arrays) else [f"output_{n}" for n in range(len(arrays))]
        return ColumnAnswers(dict(zip(named, arrays, strict=True)))
    return ListAnswers(values)


def _columns(result: dict[Any, Any]) -> dict[str, Array] | None:
    columns = {}
    for name, values in result.items():
        if hasattr(values, "to_numpy"):
            columns[str(name)] = _dates_as_text(values.to_numpy())
        elif isinstance(values, np.ndarray) and values.ndim:
            columns[str(name)] = _dates_as_text(values)
        elif isinstance(values, list):
            columns[str(name)] = object_array(values)
        else:
            return None
    return columns if len({len(values) for values in columns.values()}) == 1 else None


def _dates_as_text(array: Array) -> Array:
    """Return dates in RFC 3339 and missing ones as None, which nobody else would do: orjson writes NaT as a date."""
    if array.dtype.kind != "M":
        return array
    texts = [_date_as_text(each) for each in array.reshape(-1)]
    return object_array(texts).reshape(array.shape)


def _date_as_text(moment: np.datetime64) -> str | None:
    text = str(moment)
    return None if text == "NaT" else text.rstrip("0").rstrip(".") if "." in text else text


def _plain(value: Any) -> Any:
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, np.ndarray):
        return _dates_as_text(value).tolist()
    for kind, write in _WRITTEN.items():
        if isinstance(value, kind):
            return write(value)
    raise _NotJSONError(type(value).__name__)
