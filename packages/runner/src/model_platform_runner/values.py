"""JSON values to arrays, one column at a time, by the types of an MLflow signature.

Pure, and strict: a value that does not fit is refused with its position and the kind of thing it is, never with
the value itself. What a column becomes depends on the signature alone, never on which values happen to come
together, so that a row gets the same answer whatever it is batched with:

========================  ==========================================  ==============================
type of the signature     JSON                                        array
========================  ==========================================  ==============================
``double``, ``float``     number                                      float64, float32
``long``, ``integer``     whole number (``30.0`` is one)              int64, int32; float64 if optional
``boolean``               true, false                                 bool; object if optional
``string``                string                                      object
``datetime``              RFC 3339 date or date-time                  datetime64[ns], in UTC
``binary``                string in base64                            object (bytes)
``array``, ``object``,    list, object                                object
``map``, ``any``
========================  ==========================================  ==============================

A null, allowed in optional columns, is NaN; NaT for ``datetime``; None for ``binary`` and the nested types.
"""

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Unit = Literal["ns", "us"]
Spec = dict[str, Any]  # one column of MLflow's signature JSON: type, and items, properties or values where nested

_NULL = type(None)
_NUMBERS = frozenset({int, float})
_KINDS = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
_EXACT = 2**53  # whole numbers up to here survive as float64
_DATE = re.compile(
    r"(?P<date>\d{4}-\d{2}-\d{2})"
    r"(?:[Tt ](?P<time>\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?)(?:[Zz]|(?P<sign>[+-])(?P<hours>\d{2}):(?P<minutes>\d{2}))?)?",
    re.ASCII,
)
_DATE_YEARS = {"ns": (1678, 2261), "us": (1, 9999)}  # what datetime64 can hold


class Misfit(Exception):  # noqa: N818 - a finding about a value, turned into an error by whoever knows its column
    """A value does not fit its column."""

    def __init__(self, row: int, problem: str) -> None:
        super().__init__(problem)
        self.row = row
        self.problem = problem


def read_values(spec: Spec, values: Sequence[Any], *, nullable: bool) -> Array:
    """Return the values of one column as an array of their length.

    Raises
    ------
    Misfit
        For the first value that does not fit.
    """
    kind = spec["type"]
    if kind in _SCALARS:
        return _SCALARS[kind](values, nullable)
    return _NESTED[kind](spec, values, nullable) if kind in _NESTED else object_array(values)


def read_exactly(spec: Spec, values: Sequence[Any], *, nullable: bool, bounds: tuple[int, int] | None = None) -> Array:
    """Return the values of one column as Python's own, a null as None: numbers as they came, whole ones as ``int``.

    Parameters
    ----------
    bounds
        The smallest and the largest whole number allowed; by default those of the signature's type.

    Raises
    ------
    Misfit
        For the first value that does not fit.
    """
    kind = spec["type"]
    if kind in _WHOLE:
        _admit(values, _NUMBERS, "a whole number", nullable)
        _check_whole(values, *(bounds or _WHOLE[kind]))
        return object_array([None if value is None else int(value) for value in values])
    if kind in _ADMITTED:
        _admit(values, *_ADMITTED[kind], nullable)
        return object_array(values)
    return read_values(spec, values, nullable=nullable)


def is_required(spec: Spec) -> bool:
    """Tell whether a column or property must be there; older MLflow writes ``optional`` for the opposite."""
    return bool(spec.get("required", not spec.get("optional", False)))


def object_array(values: Sequence[Any]) -> Array:
    """Return an array of dtype object, also where the values are sequences of one length."""
    array = np.empty(len(values), dtype=object)
    for position, value in enumerate(values):
        array[position] = value
    return array


def _admit(values: Sequence[Any], kinds: frozenset[type], expected: str, nullable: bool) -> bool:
    """Refuse values of other kinds; tell whether there are nulls among them."""
    found = set(map(type, values))
    if found <= kinds:
        return False
    if nullable and found <= kinds | {_NULL}:
        return True
    for row, value in enumerate(values):
        if value is None:
            if not nullable:
                raise Misfit(row, "must not be null")
        elif type(value) not in kinds:
            raise Misfit(row, f"must be {expected}, not {_KINDS[type(value)]}")
    raise AssertionError("unreachable: a kind was not admitted")


def _doubles(values: Sequence[Any], nullable: bool) -> Array:
    _admit(values, _NUMBERS, "a number", nullable)
    return np.array(values, dtype=np.float64)  # None becomes NaN


def _floats(values: Sequence[Any], nullable: bool) -> Array:
    array = _doubles(values, nullable)
    with np.errstate(over="ignore"):
        narrow = array.astype(np.float32)
    if np.isinf(narrow).any():
        raise Misfit(int(np.isinf(narrow).argmax()), "is too large for a 32-bit number")
    return narrow


def _integers(bits: int, values: Sequence[Any], nullable: bool) -> Array:
    _admit(values, _NUMBERS, "a whole number", nullable)
    _check_whole(values, *((-_EXACT, _EXACT) if nullable and bits == 64 else _limits(bits)))
    if nullable:
        return np.array(values, dtype=np.float64)
    return np.array([int(value) for value in values], dtype=np.int64 if bits == 64 else np.int32)


def _limits(bits: int) -> tuple[int, int]:
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def _check_whole(values: Sequence[Any], low: int, high: int) -> None:
    for row, value in enumerate(values):
        if value is None:
            continue
        if type(value) is float and not value.is_integer():
            raise Misfit(row, "must be a whole number")
        if not low <= value <= high:
            raise Misfit(row, f"must be between {low} and {high}")


def _booleans(values: Sequence[Any], nullable: bool) -> Array:
    _admit(values, frozenset({bool}), "true or false", nullable)
    if nullable:
        return np.array([np.nan if value is None else value for value in values], dtype=object)
    return np.array(values, dtype=np.bool_)


def _strings(values: Sequence[Any], nullable: bool) -> Array:
    if _admit(values, frozenset({str}), "a string", nullable):
        values = [np.nan if value is None else value for value in values]
    return np.array(values, dtype=object)


def read_dates(unit: Unit, values: Sequence[Any], nullable: bool) -> Array:
    """Return dates as datetime64 in UTC, to the nanosecond (``ns``) or the microsecond (``us``, any year).

    Raises
    ------
    Misfit
        For the first value that is no such date.
    """
    _admit(values, frozenset({str}), "a date in RFC 3339, like 2024-01-31 or 2024-01-31T12:00:00Z", nullable)
    array = np.empty(len(values), dtype=f"datetime64[{unit}]")
    for row, value in enumerate(values):
        moment = np.datetime64("NaT") if value is None else _date(value, unit)
        if moment is None:
            raise Misfit(row, "must be a date in RFC 3339, like 2024-01-31 or 2024-01-31T12:00:00Z")
        array[row] = moment
    return array


def _date(text: str, unit: Unit) -> np.datetime64 | None:
    match = _DATE.fullmatch(text)
    low, high = _DATE_YEARS[unit]
    if match is None or not low <= int(text[:4]) <= high:
        return None
    clock = (match["time"] or "00:00:00")[: len("00:00:00.") + (9 if unit == "ns" else 6)]
    try:
        moment: np.datetime64 = np.datetime64(f"{match['date']}T{clock}", unit)
    except ValueError:
        return None  # like 2024-02-30
    if match["sign"]:
        hours, minutes = int(match["hours"]), int(match["minutes"])
        if hours > 23 or minutes > 59:
            return None
        offset = np.timedelta64(hours * 60 + minutes, "m")
        moment = moment - offset if match["sign"] == "+" else moment + offset
    return moment


def _binaries(values: Sequence[Any], nullable: bool) -> Array:
    _admit(values, frozenset({str}), "a string in base64", nullable)
    return object_array([None if value is None else _bytes(row, value) for row, value in enumerate(values)])


def _bytes(row: int, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Misfit(row, "must be a string in base64") from None


def _lists(spec: Spec, values: Sequence[Any], nullable: bool) -> Array:
    _admit(values, frozenset({list}), "a list", nullable)
    return object_array([_nested(row, value, spec["items"], "element {}") for row, value in enumerate(values)])


def _nested(row: int, value: list[Any] | None, items: Spec, place: str) -> list[Any] | None:
    if value is None:
        return None
    try:
        return _plain(read_values(items, value, nullable=False))
    except Misfit as misfit:
        raise Misfit(row, f"{place.format(misfit.row)} {misfit.problem}") from None


def _objects(spec: Spec, values: Sequence[Any], nullable: bool) -> Array:
    _admit(values, frozenset({dict}), "an object", nullable)
    properties = spec["properties"]
    return object_array([None if each is None else _object(row, each, properties) for row, each in enumerate(values)])


def _object(row: int, value: dict[str, Any], properties: dict[str, Spec]) -> dict[str, Any]:
    if unknown := value.keys() - properties.keys():
        raise Misfit(row, f'has a property "{min(unknown)[:60]}" that the signature does not know')
    read = {}
    for name, spec in properties.items():
        if name in value:
            read[name] = _property(row, name, value[name], spec)
        elif is_required(spec):
            raise Misfit(row, f'lacks the property "{name}"')
    return read


def _property(row: int, name: str, value: Any, spec: Spec) -> Any:
    if value is None and not is_required(spec):
        return None
    try:
        (read,) = _plain(read_values(spec, [value], nullable=False))
    except Misfit as misfit:
        raise Misfit(row, f'property "{name}" {misfit.problem}') from None
    return read


def _maps(spec: Spec, values: Sequence[Any], nullable: bool) -> Array:
    _admit(values, frozenset({dict}), "an object", nullable)
    read = []
    for row, value in enumerate(values):
        inner = _nested(row, None if value is None else list(value.values()), spec["values"], "value {}")
        read.append(None if inner is None else dict(zip(value, inner, strict=True)))
    return object_array(read)


def _plain(array: Array) -> list[Any]:
    """Return nested values as Python's own, except dates, which have no other exact form."""
    return list(array) if array.dtype.kind == "M" else array.tolist()


_WHOLE = {"long": _limits(64), "integer": _limits(32)}
_ADMITTED: dict[str, tuple[frozenset[type], str]] = {
    "double": (_NUMBERS, "a number"),
    "float": (_NUMBERS, "a number"),
    "boolean": (frozenset({bool}), "true or false"),
    "string": (frozenset({str}), "a string"),
}
_SCALARS: dict[str, Callable[[Sequence[Any], bool], Array]] = {
    "double": _doubles,
    "float": _floats,
    "long": partial(_integers, 64),
    "integer": partial(_integers, 32),
    "boolean": _booleans,
    "string": _strings,
    "datetime": partial(read_dates, "ns"),
    "binary": _binaries,
}
_NESTED: dict[str, Callable[[Spec, Sequence[Any], bool], Array]] = {"array": _lists, "object": _objects, "map": _maps}
