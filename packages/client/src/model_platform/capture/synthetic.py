"""Rows made up for a model that may have learnt from personal data: they look like a call and are nobody's.

Numbers and dates lie within rounded edges that leave the outermost values out, categories are those that many rows have,
texts say nothing. The same data gives the same rows.
"""

from __future__ import annotations

import datetime as dt
import importlib
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from model_platform.capture.domain import MANY, edges
from model_platform.capture.table import Form, Table, require_pandas

_MOST_LEVELS = 30
_LOOKED_AT = 10_000
_MOST_VALUES = 100_000
_TEXTS = ("text", "another text", "some more words", "a longer text of several words")
_SOME_DAY = dt.datetime(2024, 1, 31, 12)
_EVERY = 7
_MISSING_AT = 3


class NotMadeUpError(Exception):
    """Rows like these are not made up; its text says what they hold."""


def make_rows(like: Table, count: int) -> Table:
    """As many made-up rows in the form of others.

    Parameters
    ----------
    like
        All rows that are known; they are looked at, and no single one of them is taken.

    Raises
    ------
    NotMadeUpError
        If they hold what is not made up: lists, objects, bytes.
    """
    source = random.Random(0)  # noqa: S311 - not for secrets: the same rows each time
    rows = _some(like)
    if rows.form in {Form.ARRAY, Form.ARRAYS}:
        return replace(like, value=_arrays(rows.value, count, source))
    if rows.form in {Form.LIST, Form.RECORDS}:
        return replace(like, value=_list(rows, count, source))
    pandas, frame = require_pandas(), rows.frame()
    columns = _columns(frame, count, source)
    made = [
        _as_column(pandas, values, frame.iloc[:, at].dtype, str(frame.columns[at])) for at, values in enumerate(columns)
    ]
    index = _index(pandas, like.value.index, count) if like.indexed else pandas.RangeIndex(count)
    if like.form is Form.SERIES:
        made[0].index = index
        return replace(like, value=made[0].rename(like.value.name))
    built = pandas.concat(made, axis=1)
    built.columns, built.index = frame.columns, index
    return replace(like, value=built)


def _some(like: Table) -> Table:
    """Of many rows some from everywhere: what few enough of them share, few enough of all share."""
    width = like.value[0].size if like.form is Form.ARRAY else 1
    most = max(_MOST_VALUES // max(width, 1), 2 * MANY)
    if len(like) <= most:
        return like
    chosen = importlib.import_module("numpy").random.default_rng(0).choice(len(like), most, replace=False)
    return replace(like, value=like.take(sorted(chosen.tolist())))


def _columns(frame: Any, count: int, source: random.Random) -> list[list[Any]]:
    return [_values(frame.iloc[:, at], str(name), count, source) for at, name in enumerate(frame.columns)]


def _arrays(value: Any, count: int, source: random.Random) -> Any:
    if isinstance(value, dict):
        return {name: _array(array, count, source) for name, array in value.items()}
    return _array(value, count, source)


def _list(rows: Table, count: int, source: random.Random) -> list[Any]:
    if rows.form is Form.LIST and all(isinstance(row, list) for row in rows.value):
        return _lists(rows.value, count, source)
    frame = rows.frame()
    columns = _columns(frame, count, source)
    if rows.form is Form.LIST:
        return columns[0]
    names = list(frame.columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _as_column(pandas: Any, values: list[Any], dtype: Any, name: str) -> Any:
    try:
        return pandas.Series(values, dtype=object).astype(dtype)
    except (TypeError, ValueError):
        raise NotMadeUpError(f"column {name!r} holds {dtype}") from None


def _array(array: Any, count: int, source: random.Random) -> Any:
    """Numbers of each position of a row's first axis within that one's edges; of higher arrays within those of all."""
    numpy = importlib.import_module("numpy")
    if array.dtype.kind not in "biufUO":
        raise NotMadeUpError(f"the array holds {array.dtype}")
    if array.ndim == 2:
        columns = [_values(_series(array[:, at]), str(at), count, source) for at in range(array.shape[1])]
        return numpy.array(columns, dtype=array.dtype).T
    size = count * int(numpy.prod(array.shape[1:]))
    made = _values(_series(array.ravel()), "the array", size, source)
    return numpy.array(made, dtype=array.dtype).reshape(count, *array.shape[1:])


def _lists(rows: list[list[Any]], count: int, source: random.Random) -> list[list[Any]]:
    """Lists of one length, position by position as columns are."""
    if len({len(row) for row in rows}) != 1:
        raise NotMadeUpError("its lists are of different lengths")
    series = require_pandas().Series
    columns = [
        _values(series(list(column), dtype=object), f"position {at}", count, source)
        for at, column in enumerate(zip(*rows, strict=True))
    ]
    return [list(row) for row in zip(*columns, strict=True)]


def _series(values: Any) -> Any:
    return require_pandas().Series(values)


def _values(column: Any, name: str, count: int, source: random.Random) -> list[Any]:
    """Made-up values of one column, some missing where many are missing there."""
    seen = column.dropna()
    made = _of_kind(column, seen, name, count, source)
    if len(column) - len(seen) >= MANY and count > 1:
        return [None if at % _EVERY == _MISSING_AT else value for at, value in enumerate(made)]
    return made


def _of_kind(column: Any, seen: Any, name: str, count: int, source: random.Random) -> list[Any]:
    kind = str(getattr(column.dtype, "kind", "O"))
    if hasattr(column.dtype, "categories"):
        levels = _common(seen)
        return _chosen(levels, count) if levels else [None] * count
    if kind == "b":
        return _chosen([True, False], count)
    if kind in "iuf":
        levels = _common(seen) if kind in "iu" and _few(seen) else []
        return _chosen(levels, count) if levels else _numbers(seen, count, source, whole=kind in "iu")
    if kind == "M":
        return _days(seen, count, source)
    return _of_objects(seen, name, count, source)


def _of_objects(seen: Any, name: str, count: int, source: random.Random) -> list[Any]:
    some = seen.iloc[:_LOOKED_AT].tolist()
    if not some:
        return [None] * count
    if all(isinstance(value, str) for value in some):
        return _chosen(_common(seen) or list(_TEXTS), count)
    if all(isinstance(value, bool) for value in some):
        return _chosen([True, False], count)
    if all(isinstance(value, int | float) for value in some):
        return _numbers(seen, count, source, whole=all(isinstance(value, int) for value in some))
    if all(isinstance(value, dt.date) for value in some):
        days = _days(require_pandas().to_datetime(seen, utc=True), count, source)
        first = some[0]
        if not isinstance(first, dt.datetime):
            return [day.date() for day in days]
        return [type(first).fromisoformat(day.isoformat()).replace(tzinfo=first.tzinfo) for day in days]
    kinds = Counter(type(value).__name__ for value in some)
    raise NotMadeUpError(f"{name} holds {', '.join(sorted(kinds)[:3])}")


def _common(seen: Any) -> list[Any]:
    """The values that many rows have."""
    counts = seen.value_counts()
    levels = [level.item() if hasattr(level, "item") else level for level in counts.index[counts >= MANY]]
    return sorted(levels[:_MOST_LEVELS], key=str)


def _few(seen: Any) -> bool:
    """Whether there are so few different values that they stand for categories, each of which many rows have."""
    if not 0 < seen.iloc[:_LOOKED_AT].nunique() <= _MOST_LEVELS:
        return False
    counts = seen.value_counts()
    return len(counts) <= _MOST_LEVELS and int(counts.min()) >= MANY


def _chosen(levels: Sequence[Any], count: int) -> list[Any]:
    return [levels[at % len(levels)] for at in range(count)]


def _numbers(seen: Any, count: int, source: random.Random, *, whole: bool) -> list[Any]:
    found = edges(seen, whole=whole)
    if found is None:
        return [0 if whole else 0.0] * count
    low, high = found
    if whole:
        return [source.randint(int(low), int(high)) for _ in range(count)]
    shares = (source.random() for _ in range(count))
    return [float(f"{low * (1 - share) + high * share:.6g}") for share in shares]


def _days(seen: Any, count: int, source: random.Random) -> list[Any]:
    """Noons of days within the edges, in the column's time zone."""
    pandas = require_pandas()
    zone = getattr(seen.dt, "tz", None)
    ordered = seen.sort_values()
    if len(ordered) < 2 * MANY:
        return [pandas.Timestamp(_SOME_DAY, tz=zone)] * count
    first = ordered.iloc[MANY - 1].tz_localize(None).replace(day=1).normalize()
    span = max((ordered.iloc[-MANY].tz_localize(None) - first).days, 1)
    days = (first + pandas.Timedelta(days=source.randrange(span), hours=12) for _ in range(count))
    return [pandas.Timestamp(day, tz=zone) for day in days]


def _index(pandas: Any, index: Any, count: int) -> Any:
    """An index of the same kind: steps of time that many rows have from a year's beginning, or a numbering."""
    if type(index).__name__ == "DatetimeIndex":
        times = index.dropna().sort_values()
        begin = pandas.Timestamp(_SOME_DAY)
        if len(times) >= 2 * MANY:  # else it would follow a row
            begin = times[MANY - 1].tz_localize(None)
        begin = begin.replace(month=1, day=1).normalize()
        return pandas.date_range(
            begin, periods=count, freq=index.freq or _step(pandas, times), tz=index.tz, name=index.name
        )
    if str(getattr(index.dtype, "kind", "O")) in "iu" and index.nlevels == 1:
        return pandas.RangeIndex(count, name=index.name)
    raise NotMadeUpError("its index is more than dates or numbers")


def _step(pandas: Any, times: Any) -> Any:
    """The frequency of times in order, else the distance that many of them have, else a day."""
    if len(times) > MANY and (frequency := pandas.infer_freq(times)):
        return frequency
    steps = (times[1:] - times[:-1]).value_counts()
    steps = steps[steps.index > pandas.Timedelta(0)]
    common = len(steps) > 0 and int(steps.iloc[0]) >= MANY
    return steps.index[0] if common else pandas.Timedelta(days=1)
