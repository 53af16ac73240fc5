"""Rows from a file or from standard input."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

from model_platform_core.errors import InvalidInputError


def read_rows(name: str) -> list[Any]:
    """JSON (a list of records, or one record), or CSV with a head line; `-` is standard input.

    In CSV an empty cell is null, and what reads as a number or as true or false is one.

    Raises
    ------
    InvalidInputError
        If there is no such file, or it is neither.
    """
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(
            f"{name} cannot be read: {getattr(error, 'strerror', None) or 'no UTF-8 text'}."
        ) from None
    if text.lstrip()[:1] in {"[", "{"}:
        try:
            found = json.loads(text)
        except ValueError as error:
            raise InvalidInputError(f"{name} is no JSON: {error}.") from None
        return found if isinstance(found, list) else [found]
    rows = [{column: _value(cell) for column, cell in row.items()} for row in csv.DictReader(text.splitlines())]
    if not rows:
        raise InvalidInputError(f"{name} holds no rows; give JSON records, or CSV with a head line.")
    return rows


def _value(cell: str | None) -> Any:
    if cell is None or cell == "":
        return None
    try:
        value = json.loads(cell.lower() if cell.lower() in {"true", "false"} else cell)
    except ValueError:
        return cell
    return value if isinstance(value, bool | int | float) else cell
