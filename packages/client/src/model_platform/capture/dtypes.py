"""How the notebook held its rows, as far as JSON and a signature do not tell: what the runner restores.

Written into MLmodel as `metadata.model_platform.rows`; the runner's README is the contract. Every dtype is written as
pandas reads it again, which is tried here; what has no such name is refused, since it could not be restored.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from typing import Any

from model_platform.capture.plain_values import plain_value
from model_platform.capture.table import Form, Table, require_pandas
from model_platform_core.errors import InvalidInputError

_LOOKED_AT = 10_000
_MISSING = {"NoneType": "none", "NAType": "NA", "NaTType": "NaT"}


def describe_rows(rows: Table, sample: Table) -> dict[str, Any]:
    """Form, dtypes, categories, time zones, missing values and index of rows.

    Parameters
    ----------
    rows
        All that is known: dtypes and categories are theirs.
    sample
        Rows of the same columns that the model was asked; they tell how missing values look where `rows` has none.

    Raises
    ------
    InvalidInputError
        If a dtype cannot be restored; the message names the column.
    """
    described: dict[str, Any] = {"form": str(rows.form)}
    if rows.form is Form.ARRAY:
        return described | {"columns": {"": _array(rows.value)}}
    if rows.form is Form.ARRAYS:
        return described | {"columns": {name: _array(array) for name, array in rows.value.items()}}
    of_sample = dict(sample.columns())
    columns = {}
    for name, column in rows.columns():
        held = column if rows.form in {Form.FRAME, Form.SERIES} else _as_objects(rows, name)
        columns["" if rows.unnamed else name] = found = _column(name, held, of_sample.get(name))
        if rows.unnamed and (column.isna().any() or of_sample[name].isna().any()):
            found["nullable"] = True  # for a column without a name a signature cannot say so
    described["columns"] = columns
    if rows.form is Form.FRAME:
        described |= _labels(rows.value.columns)
    if rows.form is Form.SERIES and rows.value.name is not None:
        described["name"] = str(rows.value.name)
    return described | (_index(rows) if rows.indexed else {})


def _as_objects(rows: Table, name: str) -> Any:
    """A column of a list or of records, whose values are Python's own."""
    values = rows.value if rows.form is Form.LIST else [row.get(name) for row in rows.value]
    return require_pandas().Series(values, dtype=object)


def _array(array: Any) -> dict[str, Any]:
    if array.dtype.kind in "fM":  # what is missing there differs from itself
        return {"missing": "nan" if array.dtype.kind == "f" else "NaT"} if (array != array).any() else {}  # noqa: PLR0124
    if array.dtype.kind == "O":
        return {"dtype": "object"} | _of_objects(array.ravel()[:_LOOKED_AT].tolist())
    return {}


def _column(name: str, column: Any, of_sample: Any) -> dict[str, Any]:
    dtype = column.dtype
    if hasattr(dtype, "categories"):
        levels = dtype.categories
        return {
            "dtype": "category",
            "levels": [plain_value(one) for one in levels],
            "level_dtype": _written(name, levels.dtype),
            "ordered": bool(dtype.ordered),
        }
    described: dict[str, Any] = {"dtype": _written(name, dtype)}
    if described["dtype"] != "object":
        return described
    values = _some_values(column)
    if of_sample is not None:
        values += _some_values(of_sample)
    return described | _of_objects(values)


def _some_values(column: Any) -> list[Any]:
    """The first values, and the first missing ones wherever they are."""
    return [*column.iloc[:_LOOKED_AT].tolist(), *column[column.isna()].iloc[:_LOOKED_AT].tolist()]


def _of_objects(values: Iterable[Any]) -> dict[str, Any]:
    """What stands for a missing value, and which kind of date there is."""
    missing: Counter[str] = Counter()
    dates: Counter[tuple[str, str]] = Counter()
    for value in values:
        if value is None or type(value).__name__ in _MISSING:
            missing[_MISSING[type(value).__name__]] += 1
        elif isinstance(value, float) and value != value:  # noqa: PLR0124 - NaN differs from itself
            missing["nan"] += 1
        elif isinstance(value, dt.date):
            dates[_kind_of_date(value), str(getattr(value, "tzinfo", None) or "")] += 1
    found: dict[str, Any] = {"missing": missing.most_common(1)[0][0]} if missing else {}
    if dates:
        ((kind, zone), _) = dates.most_common(1)[0]
        found |= {"dates": kind} | ({"zone": zone} if zone else {})
    return found


def _kind_of_date(value: dt.date) -> str:
    if type(value).__name__ == "Timestamp":
        return "timestamp"
    return "datetime" if isinstance(value, dt.datetime) else "date"


def _written(name: str, dtype: Any) -> str:
    """The dtype's name, from which pandas makes the same dtype again."""
    pandas = require_pandas()
    text = str(dtype)
    if text == "string":  # which of the two is not told
        text = f"string[{dtype.storage}]"
    try:
        same = pandas.api.types.pandas_dtype(text) == dtype
    except (TypeError, ValueError, NotImplementedError):
        same = False
    if same:
        return text
    zone = getattr(dtype, "tz", None)
    if zone is not None:
        raise InvalidInputError(
            f"Column {name!r} has the time zone {zone}, which has no name that another machine knows.",
            hint=f"X[{name!r}] = X[{name!r}].dt.tz_convert('UTC'), or another zone by its name",
        )
    raise InvalidInputError(
        f"Column {name!r} has the dtype {text}, which cannot be made again from its name.",
        hint="X.convert_dtypes(), or X.astype(…) with one of pandas' usual dtypes",
    )


def _labels(columns: Any) -> dict[str, Any]:
    """The columns' own labels where they are more than texts, and what their axis is called."""
    labels = list(columns)
    found: dict[str, Any] = {}
    if any(not isinstance(label, str) for label in labels):
        found["labels"] = [_label(label) for label in labels]
    names = [None if name is None else str(name) for name in columns.names]
    return found | ({"labels_names": names} if any(names) else {})


def _label(label: Any) -> Any:
    if isinstance(label, tuple):
        return [_label(part) for part in label]
    plain = label.item() if hasattr(label, "item") else label
    if isinstance(plain, str | int | float):
        return plain
    raise InvalidInputError(
        f"A column is labelled with a {type(label).__name__} ({label}), which cannot be restored; use texts or numbers.",
        hint="X.columns = X.columns.astype(str)",
    )


def _index(rows: Table) -> dict[str, Any]:
    index = rows.value.index
    frequency = getattr(index, "freqstr", None) if type(index).__name__ == "DatetimeIndex" else None
    found: dict[str, Any] = {"index": rows.index_names()}
    if any(name is None for name in index.names):
        found["index_names"] = [None if name is None else str(name) for name in index.names]
    return found | ({"frequency": frequency} if frequency else {})
