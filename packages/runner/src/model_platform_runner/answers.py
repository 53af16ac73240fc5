"""What a model answers, and its forms on the wire: records, MLflow's and KServe's predictions, V2 tensors.

A model may answer with nearly anything. Here it becomes one of three shapes, of which each knows its rows, can be
divided among the calls that were joined for it, and can be written in every protocol:

- :class:`ArrayAnswers`: an array, one entry per row (1-D), or one line per row (2-D and more);
- :class:`ColumnAnswers`: columns with names (a DataFrame, a dictionary of arrays, a list of arrays that each have one
  entry per row, as scikit-learn answers for several outputs);
- :class:`ListAnswers`: a list of anything.
"""

import base64
from collections.abc import Callable, Sequence
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any, Protocol

import numpy as np
import orjson

from model_platform_runner.errors import CallError
from model_platform_runner.values import Array, object_array

Names = Sequence[str] | Sequence[Sequence[str]] | None  # of a matrix's columns; for several outputs, of each one's
PREDICTION = "prediction"  # the name of an answer that has none of its own
_DATATYPES = {"bool": "BOOL", "float16": "FP16", "float32": "FP32", "float64": "FP64"} | {
    f"{sign}int{bits}": f"{sign.upper()}INT{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}
_WRITTEN: dict[type, Callable[[Any], Any]] = {
    np.generic: lambda value: value.item(),
    date: lambda value: _moment(_in_whole_minutes(value).isoformat()),  # and what pandas makes of it
    Decimal: float,
    bytes: lambda value: base64.b64encode(value).decode(),
    set: list,
    frozenset: list,
}
_KEYS = (str, int, float, date)  # keys of objects that are written as they are
# Not OPT_SERIALIZE_NUMPY: it writes float32 shorter than the same value as Python's own, which publish has written.
_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z


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

    def __init__(self, array: Array, names: Sequence[str] | None = None, values: list[Any] | None = None) -> None:
        self.array = array
        self.names = names if names and array.ndim == 2 and array.shape[1] == len(names) else None
        self.rows = len(array)
        self._values = values

    @property
    def values(self) -> list[Any]:
        """The array as lists of Python's own values."""
        if self._values is None:
            self._values = self.array.tolist()
        return self._values

    def part(self, start: int, stop: int) -> "ArrayAnswers":
        """Return the answers to some of the rows."""
        return ArrayAnswers(self.array[start:stop], self.names, self.values[start:stop])

    def records(self) -> list[Any]:
        """Return a record per line: the names with their values, or the line as the prediction."""
        if self.names:
            return [dict(zip(self.names, row, strict=True)) for row in self.values]
        return [{PREDICTION: value} for value in self.values]

    def predictions(self) -> Any:
        """Return the array, as lists."""
        return self.values

    def tensors(self) -> dict[str, Array]:
        """Return one tensor."""
        return {PREDICTION: self.array}


class ColumnAnswers:
    """Columns with names, all of one length; ``classes`` name what is within a column, for the plain call."""

    def __init__(self, columns: dict[str, Array], classes: dict[str, list[str]] | None = None) -> None:
        self.columns = columns
        self.classes = classes or {}
        self.rows = len(next(iter(columns.values()), ()))

    def part(self, start: int, stop: int) -> "ColumnAnswers":
        """Return the answers to some of the rows."""
        return ColumnAnswers({name: values[start:stop] for name, values in self.columns.items()}, self.classes)

    def records(self) -> list[Any]:
        """Return a record per row."""
        columns = {name: values.tolist() for name, values in self.columns.items()}
        for name, classes in self.classes.items():
            columns[name] = [dict(zip(classes, entry, strict=True)) for entry in columns[name]]
        return _by_row(columns)

    def predictions(self) -> Any:
        """Return records: what MLflow makes of a DataFrame."""
        return _by_row({name: values.tolist() for name, values in self.columns.items()})

    def tensors(self) -> dict[str, Array]:
        """Return one tensor per column."""
        return self.columns


def _by_row(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


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


def answers_from(result: Any, names: Names, *, rows: int | None = None, as_outputs: bool | None = None) -> Answers:
    """Bring what a model returned into one of the three shapes.

    Parameters
    ----------
    names
        For the columns of a bare array; for several outputs, one for each, or one list for the columns of each.
    rows
        How many were asked: a list of arrays holds one for each output only if every one has that many entries.
    as_outputs
        What a list of as many arrays as there are rows holds: one for each output, or one for each row.
    """
    if hasattr(result, "toarray"):
        result = result.toarray()  # a sparse matrix
    if hasattr(result, "to_dict") and hasattr(result, "columns"):
        series = {str(name): result.iloc[:, position] for position, name in enumerate(result.columns)}
        return ColumnAnswers({name: _entries(values) for name, values in series.items()})
    if hasattr(result, "to_numpy"):
        return ArrayAnswers(_entries(result))  # a Series or an Index
    if hasattr(result, "__array__"):
        return ArrayAnswers(_dates_as_text(np.atleast_1d(np.asarray(result))), _flat_names(names))
    if isinstance(result, dict) and (columns := _columns(result)):
        return ColumnAnswers(columns)
    if isinstance(result, list | tuple):
        return _from_list(list(result), names, rows, as_outputs)
    return ListAnswers([result])


def _flat_names(names: Names) -> list[str] | None:
    return [name for name in names or () if isinstance(name, str)] or None


def _entries(values: Any) -> Array:
    """Return what a Series holds, its categories and times as the values they stand for."""
    return _dates_as_text(values.to_numpy())


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
        try:
            return orjson.dumps(document, default=_plain, option=_OPTIONS)
        except TypeError as error:
            if isinstance(error.__cause__, _NotJSONError):
                raise
            return orjson.dumps(_with_plain_keys(document), default=_plain, option=_OPTIONS)
    except TypeError as error:
        cause = error.__cause__ if isinstance(error.__cause__, _NotJSONError) else None
        what = f" ({cause})" if cause else ""
        raise CallError(500, "failed_prediction", f"The model's answer cannot be written as JSON{what}.") from None


class _NotJSONError(TypeError):
    """The text is the name of a type, nothing else."""


def _from_list(values: list[Any], names: Names, rows: int | None, as_outputs: bool | None) -> Answers:
    arrays = [value for value in values if isinstance(value, np.ndarray) and value.ndim]
    lengths = {len(each) for each in arrays}
    if not values or len(arrays) < len(values) or lengths != {rows or min(lengths)}:
        return ListAnswers(values)
    if as_outputs is None:  # one row's array is as a rule a line; so are outputs only where there are as many as rows
        as_outputs = all(each.ndim > 1 for each in arrays) or len(values) != (rows or len(values))
    if not as_outputs:
        return ListAnswers(values)
    flat = _flat_names(names) or []
    named = flat if len(flat) == len(arrays) else [f"output_{position}" for position in range(len(arrays))]
    columns = {name: _dates_as_text(each) for name, each in zip(named, arrays, strict=True)}
    within = {
        name: list(classes)
        for (name, array), classes in zip(columns.items(), names or (), strict=False)
        if not isinstance(classes, str) and array.ndim == 2 and array.shape[1] == len(classes)
    }
    return ColumnAnswers(columns, within)


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
    unit = np.datetime_data(moment.dtype)[0]
    text = str(moment.astype("datetime64[s]") if unit in ("h", "m") else moment)
    return None if text == "NaT" else _moment(text)


def _in_whole_minutes(value: Any) -> Any:
    """Return local times of long ago in UTC, since RFC 3339 has no form for their offsets."""
    offset = value.utcoffset() if isinstance(value, datetime) else None
    return value.astimezone(timezone.utc) if offset is not None and offset.seconds % 60 else value


def _moment(text: str) -> str:
    """Return an ISO date and time in one form: UTC is Z, as is no time zone; a fraction has 6 digits, or 9, or is left out.

    Publish writes the notebook's answers so as well.
    """
    day, _, rest = text.partition("T")
    if not rest:
        return day
    sign = next((sign for sign in "+-" if sign in rest), "")
    clock, _, offset = rest.partition(sign) if sign else (rest, "", "")
    seconds, _, fraction = clock.partition(".")
    fraction = fraction.ljust(9, "0").removesuffix("000")
    fraction = "" if not fraction.strip("0") else f".{fraction}"
    return f"{day}T{seconds}{fraction}" + ("Z" if offset in ("", "00:00") else f"{sign}{offset}")


def _with_plain_keys(value: Any) -> Any:
    """Return lists and objects with keys that are Python's own: classes of a model are numbers of NumPy's."""
    if isinstance(value, dict):
        return {_plain_key(key): _with_plain_keys(each) for key, each in value.items()}
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = value.tolist()
    return [_with_plain_keys(each) for each in value] if isinstance(value, list | tuple) else value


def _plain_key(key: Any) -> Any:
    key = _plain(key) if isinstance(key, np.generic) else key
    return key if isinstance(key, _KEYS) or key is None else str(key)


def _plain(value: Any) -> Any:
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, np.ndarray):
        return _dates_as_text(value).tolist()
    if isinstance(value, np.datetime64):
        return _date_as_text(value)
    if hasattr(value, "start_time"):
        value = value.start_time  # a period of pandas, told by its beginning
    for kind, write in _WRITTEN.items():
        if isinstance(value, kind):
            return write(value)
    if hasattr(value, "tolist"):
        return value.tolist()  # a Series, a tensor
    raise _NotJSONError(type(value).__name__)
