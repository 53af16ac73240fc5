"""What a model takes that is called with arrays: one without a name, or several by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model_platform_runner.batch import Batch
from model_platform_runner.columns import missing_value
from model_platform_runner.errors import CallError, invalid_input
from model_platform_runner.inputs import WHOLE, check_size, listed, only, sentence
from model_platform_runner.values import Array, Misfit, object_array, read_dates, read_exactly, read_values


@dataclass(frozen=True)
class Tensor:
    """An array: its dtype, and its shape with -1 for what may vary; the first axis counts rows.

    ``described`` is how publish saw it: a float array with ``missing`` may hold null.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    described: dict[str, Any] | None = None

    @property
    def kind(self) -> str:
        """NumPy's letter for the dtype's kind."""
        return np.dtype(self.dtype).kind

    @property
    def nullable(self) -> bool:
        """Whether entries may be null."""
        return bool(self.described and self.described.get("missing")) and self.kind in "fOMU"


class Tensors:
    """Rows that are (nested) lists of numbers or strings: one unnamed tensor, or several by name."""

    def __init__(self, tensors: Sequence[Tensor], row_limit: int) -> None:
        self.tensors = tuple(tensors)
        self.joinable = all(each.shape[:1] == (-1,) for each in tensors)
        self._row_limit = row_limit

    def read_rows(self, rows: list[Any]) -> Batch:
        """Read rows: nested lists, or objects of them by name."""
        check_size(len(rows), self._row_limit)
        if self.tensors[0].name == WHOLE:
            return self._read({WHOLE: rows}, len(rows))
        names = {each.name for each in self.tensors}
        for position, row in enumerate(rows):
            if type(row) is not dict or row.keys() != names:
                raise invalid_input(f"Row {position} must be an object with the names {listed(self.tensors)}.")
        return self._read({name: [row[name] for row in rows] for name in names}, len(rows))

    def read_columns(self, columns: dict[str, list[Any]]) -> Batch:
        """Read whole tensors by name."""
        if self.tensors[0].name == WHOLE:
            return self.read_rows(only(columns))
        if columns.keys() != {each.name for each in self.tensors}:
            raise invalid_input(f"The inputs must be {listed(self.tensors)}.")
        sizes = {len(values) for values in columns.values()}
        if len(sizes) != 1:
            raise invalid_input("The inputs have different numbers of rows.")
        (rows,) = sizes
        check_size(rows, self._row_limit)
        return self._read(columns, rows)

    def _read(self, columns: dict[str, list[Any]], rows: int) -> Batch:
        return Batch({each.name: _read_tensor(each, columns[each.name]) for each in self.tensors}, rows)


def _read_tensor(tensor: Tensor, values: list[Any]) -> Array:
    kind = tensor.kind
    place = f'"{tensor.name}" ' if tensor.name else "the input "
    try:
        array = np.array(values, dtype=object if kind in "OUSM" else None)
    except ValueError:
        raise invalid_input(sentence(f"{place}has rows of different lengths.")) from None
    if kind in "iu" and array.dtype.kind in "fO":
        array = _read_whole(tensor, place, values)
    elif array.dtype == object:
        array = _read_entries(tensor, place, array)
    elif array.dtype.kind not in {"i": "iuf", "u": "iuf", "f": "iuf", "b": "b"}[kind]:
        raise _no_tensor_of(place, "true or false" if kind == "b" else "numbers")
    if len(array.shape) != len(tensor.shape) or any(
        wanted not in (-1, got) for wanted, got in zip(tensor.shape, array.shape, strict=True)
    ):
        wanted = list(tensor.shape)
        raise invalid_input(sentence(f"{place}must have the shape {wanted}, not {list(array.shape)}."))
    with np.errstate(all="ignore"):
        cast = array.astype((tensor.described or {}).get("dtype", tensor.dtype))
    if kind in "iu" and not np.array_equal(cast, array):
        raise _no_whole_numbers(tensor, place)
    if kind == "f" and not np.isfinite(cast).all() and not np.array_equal(np.isfinite(cast), np.isfinite(array)):
        raise invalid_input(sentence(f"{place}must hold numbers that fit into {tensor.dtype}."))
    return cast


def _read_whole(tensor: Tensor, place: str, values: list[Any]) -> Array:
    """Read whole numbers that are not all integers to NumPy, like 30.0, or 1 beside 2**63: as floats they would change."""
    array, limits = np.array(values, dtype=object), np.iinfo(tensor.dtype)
    entries = array.reshape(-1).tolist()
    if not {int, float} >= set(map(type, entries)):
        raise _no_tensor_of(place, "numbers")
    try:
        read = read_exactly({"type": "long"}, entries, nullable=False, bounds=(int(limits.min), int(limits.max)))
    except Misfit:
        raise _no_whole_numbers(tensor, place) from None
    return read.astype(tensor.dtype).reshape(array.shape)


def _no_whole_numbers(tensor: Tensor, place: str) -> CallError:
    return invalid_input(sentence(f"{place}must hold whole numbers that fit into {tensor.dtype}."))


def _read_entries(tensor: Tensor, place: str, array: Array) -> Array:
    """Read an array of Python objects: texts, dates, values of several kinds, or numbers of which some are null."""
    kind, entries = tensor.kind, array.reshape(-1).tolist()
    if kind == "O":
        if any(isinstance(each, list | dict) for each in entries):
            raise invalid_input(sentence(f"{place}must have rows of one length, of numbers, strings or booleans."))
        missing = missing_value(tensor.described or {})
        return object_array([missing if each is None else each for each in entries]).reshape(array.shape)
    spec = {"U": "string", "S": "string", "M": "datetime", "f": "double"}.get(kind, "")
    word = {"string": "strings", "datetime": "dates in RFC 3339"}.get(
        spec, "true or false" if kind == "b" else "numbers"
    )
    if not spec:
        raise _no_tensor_of(place, word)
    try:
        if spec == "datetime":
            read = read_dates("ns" if tensor.dtype.endswith("[ns]") else "us", entries, tensor.nullable)
        else:
            read = read_values({"type": spec}, entries, nullable=tensor.nullable)
    except Misfit:
        raise _no_tensor_of(place, word) from None
    if kind == "U" and tensor.nullable:
        missing = missing_value(tensor.described or {})
        read = object_array([missing if each is None else each for each in entries])
    return read.reshape(array.shape)


def _no_tensor_of(place: str, expected: str) -> CallError:
    return invalid_input(sentence(f"{place}must hold {expected}, in rows of one length, without null."))
