"""What the columns of the data held: ranges and levels, for the page and the checks of an endpoint.

Ranges are rounded, and levels are listed only where each was seen several times: the description says what a call looks
like, and nobody's own value. Where the data may be personal, the outermost values do not count, and a level has many rows.
"""

from __future__ import annotations

import decimal
import importlib
import math
from typing import Any

from model_platform.capture.signature import column_type
from model_platform.capture.table import Table

MOST_LEVELS = 30
SEEN_AT_LEAST = 5
MANY = 20
_LOOKED_AT = 10_000
_WHOLE = frozenset({"integer", "long"})
_NUMBERS = _WHOLE | {"float", "double"}


def describe_columns(rows: Table, *, personal: bool) -> dict[str, dict[str, Any]]:
    """`{"minimum", "maximum"}` for numbers, `{"values"}` for text and booleans; columns without either are left out.

    Parameters
    ----------
    personal
        The rows may be of people: nothing is told that fewer than `MANY` of them share.
    """
    if not rows.tabular:
        return {}
    frame, found = rows.frame(), {}
    for position, name in enumerate(frame.columns):
        column = frame.iloc[:, position]
        kind = column_type(column)
        if kind in _NUMBERS:
            described = _common_range(column, kind) if personal else _range(column, kind)
        else:
            described = _levels(column, kind, MANY if personal else SEEN_AT_LEAST)
        if described:
            found[str(name)] = described
    return found


def _range(column: Any, kind: str | None) -> dict[str, Any]:
    seen = column.dropna()
    if not len(seen) or hasattr(column.dtype, "categories"):
        return {}
    low, high = float(seen.min()), float(seen.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        return {}
    found = round_outwards(low, down=True), round_outwards(high, down=False)
    return _as_range(_within_dtype(*found, seen, whole=kind in _WHOLE))


def _common_range(column: Any, kind: str | None) -> dict[str, Any]:
    if hasattr(column.dtype, "categories"):
        return {}
    return _as_range(edges(column.dropna(), whole=kind in _WHOLE))


def _as_range(found: tuple[float, float] | None) -> dict[str, Any]:
    return {} if found is None else {"minimum": found[0], "maximum": found[1]}


def edges(seen: Any, *, whole: bool) -> tuple[float, float] | None:
    """Round figures between which most values lie; None if there are too few, or infinite ones.

    At each end the `MANY` outermost values do not count, so that no edge follows one row. Neither do edges leave what
    the values' dtype can hold.

    >>> edges(range(1000), whole=True)
    (10, 980)
    """
    numpy = importlib.import_module("numpy")
    values = numpy.asarray(seen, dtype="float64")
    if len(values) < 2 * MANY or not numpy.isfinite(values).all():
        return None
    parted = numpy.partition(values, (MANY - 1, len(values) - MANY))
    low, high = float(parted[MANY - 1]), float(parted[-MANY])
    span = high - low if math.isfinite(high - low) else max(abs(low), abs(high))
    exponent = math.floor(math.log10(span or abs(high) or 1.0)) - 1 + (high == low)
    step = decimal.Decimal(1).scaleb(max(exponent, 0) if whole else exponent)
    down = (decimal.Decimal(repr(low)) / step).to_integral_value(decimal.ROUND_FLOOR) * step
    up = (decimal.Decimal(repr(high)) / step).to_integral_value(decimal.ROUND_CEILING) * step
    return _within_dtype(float(down), float(up), seen, whole=whole)


def _within_dtype(low: float, high: float, seen: Any, *, whole: bool) -> tuple[float, float]:
    """Edges that the values' dtype can hold; of whole numbers they are whole."""
    numpy = importlib.import_module("numpy")
    dtype = getattr(seen, "dtype", None)
    dtype = getattr(dtype, "numpy_dtype", dtype)
    kind = getattr(dtype, "kind", "O")
    if kind == "f":
        limits = numpy.finfo(dtype)
        low, high = max(low, float(limits.min)), min(high, float(limits.max))
    low, high = (int(low), int(high)) if whole else (low, high)
    if kind in "iu":
        limits = numpy.iinfo(dtype)
        low, high = max(low, int(limits.min)), min(high, int(limits.max))
    return low, high


def _levels(column: Any, kind: str | None, least: int) -> dict[str, Any]:
    if kind not in {"string", "boolean"}:
        return {}
    try:
        if column.iloc[:_LOOKED_AT].nunique() > MOST_LEVELS:
            return {}  # without counting what may be as many values as rows
        counts = column.value_counts()
    except TypeError:
        return {}
    counts = counts[counts > 0]
    if not 0 < len(counts) <= MOST_LEVELS or int(counts.min()) < least:
        return {}
    plain = [bool(level) if kind == "boolean" else str(level) for level in counts.index]
    return {"values": sorted(plain)}


def round_outwards(value: float, *, down: bool) -> float:
    """A bound to two significant digits, never inside of `value`.

    >>> round_outwards(18.34, down=True), round_outwards(18.34, down=False)
    (18.0, 19.0)
    """
    exact = decimal.Decimal(repr(value))
    if not exact:
        return 0.0
    step = decimal.Decimal(1).scaleb(exact.adjusted() - 1)
    rounding = decimal.ROUND_FLOOR if down else decimal.ROUND_CEILING
    return float((exact / step).to_integral_value(rounding) * step)
