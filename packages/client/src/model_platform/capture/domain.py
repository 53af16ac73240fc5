"""What the columns of the data held: ranges and levels, for the page and the checks of an endpoint.

Ranges are rounded outwards to two significant digits, and levels are listed only where each was seen several times: the
description says what a call looks like, and nobody's own value.
"""

from __future__ import annotations

import decimal
import math
from typing import Any

from model_platform.capture.signature import column_type
from model_platform.capture.table import Form, Table

MOST_LEVELS = 30
SEEN_AT_LEAST = 5
_NUMBERS = frozenset({"integer", "long", "float", "double"})


def describe_columns(rows: Table) -> dict[str, dict[str, Any]]:
    """`{"minimum", "maximum"}` for numbers, `{"values"}` for text and booleans; columns without either are left out."""
    if rows.form is Form.ARRAY:
        return {}
    frame, found = rows.frame(), {}
    for position, name in enumerate(frame.columns):
        column = frame.iloc[:, position]
        kind = column_type(column)
        described = _range(column, kind) if kind in _NUMBERS else _levels(column, kind)
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


def _levels(column: Any, kind: str | None) -> dict[str, Any]:
    if kind not in {"string", "boolean"}:
        return {}
    try:
        counts = column.value_counts()
    except TypeError:
        return {}
    counts = counts[counts > 0]
    if not 0 < len(counts) <= MOST_LEVELS or int(counts.min()) < SEEN_AT_LEAST:
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
