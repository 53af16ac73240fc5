"""Python, numpy and pandas values as plain JSON, as an application would send or get them."""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import math
from typing import Any

_MISSING = frozenset({"NAType", "NaTType"})


def plain_value(value: Any, *, zone: str = "") -> Any:
    """One value as JSON holds it: missing values and infinities are null, dates RFC 3339.

    Parameters
    ----------
    zone
        What is written behind a date and time without a time zone; `Z` where only an instant is accepted.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, dict):
        return {str(key): plain_value(one, zone=zone) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain_value(one, zone=zone) for one in value]
    if isinstance(value, dt.date) or type(value).__name__ in _MISSING:
        return _moment(value, zone)
    if isinstance(value, float | decimal.Decimal):
        return float(value) if math.isfinite(value) else None
    return base64.b64encode(value).decode() if isinstance(value, bytes) else _numpy_value(value, zone)


def _moment(value: Any, zone: str) -> str | None:
    if type(value).__name__ in _MISSING:
        return None
    naive = isinstance(value, dt.datetime) and value.tzinfo is None
    return str(value.isoformat()) + (zone if naive else "")


def _numpy_value(value: Any, zone: str) -> Any:
    kind = getattr(getattr(value, "dtype", None), "kind", None)
    if kind == "M":
        return [_date(one, zone) for one in value] if getattr(value, "ndim", 0) else _date(value, zone)
    if hasattr(value, "tolist"):
        return plain_value(value.tolist(), zone=zone)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _date(value: Any, zone: str) -> str | None:
    """A numpy date, to the microsecond and without zeros that say nothing."""
    text = str(value.astype("datetime64[us]"))
    if text == "NaT":
        return None
    return text.removesuffix(".000000") + zone
