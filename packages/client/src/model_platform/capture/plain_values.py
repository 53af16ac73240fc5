"""Python, numpy and pandas values as plain JSON, as an application would send or get them.

Dates are RFC 3339: a date and time without a time zone is one in UTC. Fractions of a second have 6 digits, or 9, or are
left out. The runner writes its answers by the same rules.
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import json
import math
from typing import Any

_MISSING = frozenset({"NAType", "NaTType"})
_COARSE = frozenset({"h", "m"})


def plain_value(value: Any) -> Any:
    """One value as JSON holds it: missing values and infinities are null, dates RFC 3339.

    Raises
    ------
    TypeError
        Names the type that JSON has no form for.
    """
    if isinstance(value, str | bool | int):
        return value
    if value is None or type(value).__name__ in _MISSING:
        return None
    if isinstance(value, dict):
        return {plain_key(key): plain_value(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain_value(one) for one in value]
    if isinstance(value, float | decimal.Decimal):
        return float(value) if math.isfinite(value) else None
    return _other_value(value)


def plain_key(key: Any) -> str:
    """A key of an object as JSON's libraries write it, in the notebook as in the runner."""
    key = key.item() if hasattr(key, "item") and not isinstance(key, str) else key
    if key is None or isinstance(key, bool):
        return json.dumps(key)
    return _python_date(key) if isinstance(key, dt.date) else str(key)


def _python_date(value: dt.date) -> str:
    offset = value.utcoffset() if isinstance(value, dt.datetime) else None
    if offset is not None and offset.seconds % 60:  # local times of long ago, which RFC 3339 has no form for
        value = value.astimezone(dt.UTC)  # type: ignore[attr-defined]
    return _moment(value.isoformat())


def _other_value(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dt.date):
        return _python_date(value)
    if getattr(getattr(value, "dtype", None), "kind", None) == "M":
        return [plain_value(one) for one in value] if getattr(value, "ndim", 0) else _numpy_date(value)
    if hasattr(value, "start_time"):  # a period of pandas, told by its beginning
        return plain_value(value.start_time)
    if hasattr(value, "tolist"):
        return plain_value(value.tolist())
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _numpy_date(value: Any) -> str | None:
    unit = value.dtype.str.partition("[")[2].rstrip("]")
    text = str(value.astype("datetime64[s]") if unit in _COARSE else value)
    return None if text == "NaT" else _moment(text)


def _moment(text: str) -> str:
    """An ISO date and time in the form that every answer has; dates alone stay as they are."""
    day, _, rest = text.partition("T")
    if not rest:
        return day
    sign = next((sign for sign in "+-" if sign in rest), "")
    clock, _, offset = rest.partition(sign) if sign else (rest, "", "")
    seconds, _, fraction = clock.partition(".")
    fraction = fraction.ljust(9, "0").removesuffix("000")
    fraction = "" if not fraction.strip("0") else f".{fraction}"
    return f"{day}T{seconds}{fraction}" + ("Z" if offset in ("", "00:00") else f"{sign}{offset}")
