"""Opaque cursors: the key of the last item of a page, so that a page costs the same wherever it lies."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence

from model_platform_core.errors import InvalidError
from model_platform_core.wire import Item, Page

Key = tuple[str | int, ...]


def cursor_of(key: Key) -> str:
    """The text that stands for a place in a list."""
    return base64.urlsafe_b64encode(json.dumps(key, separators=(",", ":")).encode()).decode().rstrip("=")


def key_of(cursor: str, kinds: tuple[type[str] | type[int], ...]) -> Key:
    """The key in a cursor, which has parts of these kinds.

    Raises
    ------
    InvalidError
        If the text is no cursor of this list.
    """
    try:
        key = json.loads(base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        key = None
    if not isinstance(key, list) or [type(part) for part in key] != list(kinds):
        raise InvalidError("The cursor is not one that this list gave; leave it out to start at the beginning.")
    return tuple(key)


def page_of(items: Sequence[Item], limit: int, key: Callable[[Item], Key]) -> Page[Item]:
    """The page of what was read with one item more than `limit`, so that the end is known without a second look."""
    shown = list(items[:limit])
    return Page(items=shown, next_cursor=cursor_of(key(shown[-1])) if len(items) > limit and shown else None)
