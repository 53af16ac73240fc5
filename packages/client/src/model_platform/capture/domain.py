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
_NUMBERS = frozenset({"integer", "long", "float", "double"})


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
    minimum, maximum = round_outwards(low, down=True), round_outwards(high, down=False)
    whole = kind in {"integer", "long"}
    return {"minimum": int(minimum) if whole else minimum, "maximum": int(maximum) if whole else maximum}


def _common_range(column: Any, kind: str | None) -> dict[str, Any]:
    whole = kind in {"integer", "long"}
    if hasattr(column.dtype, "categories") or (found := edges(column.dropna(), whole=whole)) is None:
        return {}
    return {"minimum": int(found[0]) if whole else found[0], "maximum": int(found[1]) if whole else found[1]}


def edges(seen: Any, *, whole: bool) -> tuple[float, float] | None:
    """Round figures between which most values lie; None if there are too few, or infinite ones.

    At each end the `MANY` outermost values do not count, so that no edge follows one row.

    >>> edges(range(1000), whole=True)
    (10.0, 980.0)
    """
    numpy = importlib.import_module("numpy")
    values = numpy.sort(numpy.asarray(seen, dtype="float64"))
    if len(values) < 2 * MANY or not (math.isfinite(values[0]) and math.isfinite(values[-1])):
        return None
    low, high = float(values[MANY - 1]), float(values[-MANY])
    exponent = math.floor(math.log10((high - low) or abs(high) or 1.0)) - 1 + (high == low)
    step = decimal.Decimal(1).scaleb(max(exponent, 0) if whole else exponent)
    down = (decimal.Decimal(repr(low)) / step).to_integral_value(decimal.ROUND_FLOOR) * step
    up = (decimal.Decimal(repr(high)) / step).to_integral_value(decimal.ROUND_CEILING) * step
    return float(down), float(up)


def _levels(column: Any, kind: str | None, least: int) -> dict[str, Any]:
    if kind not in {"string", "boolean"}:
        return {}
    try:
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
