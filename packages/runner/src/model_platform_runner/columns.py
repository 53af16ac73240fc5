"""Columns as the notebook held them: dtypes, categories, time zones, what stands for a missing value.

A signature says less than a dtype does. What publish noted beside it (``rows`` in MLmodel, see the README) decides here
how JSON is read and what the model gets. Reading checks, and gives arrays of NumPy's that batches can be joined from;
restoring is the last step before the call.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from model_platform_runner.values import Array, Misfit, Spec, object_array, read_dates, read_exactly, read_values

Described = dict[str, Any]  # one column in MLmodel: dtype; missing, dates, zone; levels, level_dtype, ordered

_UNITS = ("s", "ms", "us", "ns")


@dataclass(frozen=True)
class Column:
    """How one column is read and restored; ``restore`` is None where the array is what the model gets.

    ``bounds`` are those of a whole number's dtype where they are narrower than the signature's.
    """

    dtype: str
    read: Callable[[Sequence[Any], bool], Array]
    restore: Callable[[Array], Any] | None = None
    bounds: tuple[int, int] | None = None
    zone: str | None = None

    @property
    def is_number(self) -> bool:
        """Whether it is a number of NumPy's, which a matrix can hold."""
        return self.restore is None and self.dtype not in ("object", "bool") and not self.dtype.startswith("datetime")


def column(spec: Spec, described: Described) -> Column:
    """Return how a column of this MLflow type and this description is read and restored.

    Raises
    ------
    TypeError
        This pandas has no such dtype.
    """
    kind, dtype = spec["type"], described["dtype"]
    if dtype == "category":
        return _category(spec, described)
    if dtype == "object":
        return Column(dtype, partial(_read_objects, spec, described), _as_objects)
    if kind == "datetime":
        return _dates(dtype)
    if dtype in np.sctypeDict and np.dtype(dtype).kind in "iuf":
        return _number(spec, np.dtype(dtype))
    if dtype == "bool":
        return Column(dtype, lambda values, nullable: read_values(spec, values, nullable=nullable))
    pandas = _pandas()
    found = pandas.api.types.pandas_dtype(dtype)
    bounds = _bounds(found) if kind in ("long", "integer") else None
    return Column(
        dtype,
        lambda values, nullable: read_exactly(spec, values, nullable=nullable, bounds=bounds),
        lambda array: pandas.Series(array.tolist(), dtype=found),
        bounds,
    )


def missing_value(described: Described) -> Any:
    """Return what stands for a missing value in a column of objects."""
    name = described.get("missing", "none")
    if name in ("none", "nan"):
        return None if name == "none" else np.nan
    return getattr(_pandas(), name)


def _pandas() -> Any:
    return importlib.import_module("pandas")


def _number(spec: Spec, dtype: "np.dtype[Any]") -> Column:
    if dtype.kind == "f":
        return Column(dtype.name, lambda values, nullable: _floats(dtype, values, nullable))
    bounds = (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))

    def read(values: Sequence[Any], nullable: bool) -> Array:
        exact = read_exactly(spec, values, nullable=nullable, bounds=bounds)
        return exact.astype(np.float64 if nullable else dtype)  # what pandas makes of them where one is missing

    return Column(dtype.name, read, bounds=bounds)


def _floats(dtype: "np.dtype[Any]", values: Sequence[Any], nullable: bool) -> Array:
    wide = read_values({"type": "double"}, values, nullable=nullable)
    if dtype == wide.dtype:
        return wide
    with np.errstate(over="ignore"):
        narrow = wide.astype(dtype)
    if np.isinf(narrow).any():
        raise Misfit(int(np.isinf(narrow).argmax()), f"is too large for a {8 * dtype.itemsize}-bit number")
    return narrow


def _bounds(dtype: Any) -> tuple[int, int] | None:
    found = getattr(dtype, "numpy_dtype", None)
    return (int(np.iinfo(found).min), int(np.iinfo(found).max)) if found is not None and found.kind in "iu" else None


def _dates(dtype: str) -> Column:
    pandas = _pandas()
    if dtype.startswith("period["):
        frequency = dtype[len("period[") : -1]
        return Column(dtype, partial(read_dates, "us"), lambda array: pandas.DatetimeIndex(array).to_period(frequency))
    found = pandas.api.types.pandas_dtype(dtype)
    zone = getattr(found, "tz", None) or getattr(getattr(found, "pyarrow_dtype", None), "tz", None)
    numpy_dtype = found if isinstance(found, np.dtype) else getattr(found, "base", None)
    unit = next((each for each in _UNITS if f"[{each}" in dtype), "us")
    read = partial(read_dates, "ns" if unit == "ns" else "us")
    if isinstance(numpy_dtype, np.dtype) and zone is None:
        return Column(dtype, lambda values, nullable: read(values, nullable).astype(numpy_dtype))

    def restore(array: Array) -> Any:
        moments = pandas.DatetimeIndex(array)
        if zone is not None:
            moments = moments.tz_localize("UTC").tz_convert(zone)
        if dtype.startswith("date32"):
            moments = pandas.Index(moments.date, dtype=object)
        return moments.astype(found)

    return Column(dtype, read, restore, zone=None if zone is None else str(zone))


def _category(spec: Spec, described: Described) -> Column:
    pandas = _pandas()
    levels = column(spec, {"dtype": described["level_dtype"]})
    known = levels.read(described["levels"], False)
    categories = pandas.Index(_restored(levels, known), dtype=described["level_dtype"])
    dtype = pandas.CategoricalDtype(categories, ordered=described.get("ordered", False))
    positions = {value: code for code, value in enumerate(known.tolist())}

    def read(values: Sequence[Any], nullable: bool) -> Array:
        there = [row for row, value in enumerate(values) if value is not None]
        if not nullable and len(there) < len(values):
            raise Misfit(next(row for row, value in enumerate(values) if value is None), "must not be null")
        try:
            given = levels.read([values[row] for row in there], False).tolist()
        except Misfit as misfit:
            raise Misfit(there[misfit.row], misfit.problem) from None
        codes = np.full(len(values), -1)
        for row, value in zip(there, given, strict=True):
            if value not in positions:
                raise Misfit(row, f"is not one of the {len(positions)} categories that the model knows")
            codes[row] = positions[value]
        return codes

    return Column("category", read, lambda codes: pandas.Categorical.from_codes(codes, dtype=dtype))


def _restored(levels: Column, known: Array) -> Any:
    return levels.restore(known) if levels.restore else known


def _read_objects(spec: Spec, described: Described, values: Sequence[Any], nullable: bool) -> Array:
    """Values as Python's own: numbers as they came, dates of the notebook's type, its own kind of missing."""
    if spec["type"] == "datetime":
        read = _moments(described, read_dates("us", values, nullable))
    else:
        read = read_exactly(spec, values, nullable=nullable).tolist()
    missing = missing_value(described)
    if missing is not None:
        read = [missing if given is None else value for given, value in zip(values, read, strict=True)]
    return object_array(read)


def _moments(described: Described, moments: Array) -> list[Any]:
    pandas, kind, zone = _pandas(), described.get("dates", "timestamp"), described.get("zone")
    index = pandas.DatetimeIndex(moments)
    if zone:
        index = index.tz_localize("UTC").tz_convert(zone)
    stamps = [None if moment is pandas.NaT else moment for moment in index]
    if kind == "timestamp":
        return stamps
    as_python = [None if moment is None else moment.to_pydatetime() for moment in stamps]
    return [None if each is None else each.date() for each in as_python] if kind == "date" else as_python


def _as_objects(array: Array) -> Any:
    return _pandas().Series(array, dtype=object)  # else pandas 3 finds texts in it
