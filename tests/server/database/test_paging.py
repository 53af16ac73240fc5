from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_platform_core.errors import InvalidError
from model_platform_server.adapters.database.paging import cursor_of, key_of, page_of

parts = st.one_of(st.text(), st.integers())


@given(st.lists(parts, min_size=1, max_size=4).map(tuple))
def test_a_cursor_gives_its_key_back(key: tuple[str | int, ...]) -> None:
    cursor = cursor_of(key)
    assert cursor.isascii()
    assert not set(cursor) & set("=+/&?#% ")
    assert key_of(cursor, tuple(type(part) for part in key)) == key


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_any_other_text_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(InvalidError):
        key_of(text, (str, str, str, int, int))


@given(st.lists(st.integers(), max_size=30), st.integers(1, 40))
def test_pages_join_to_the_list(items: list[int], limit: int) -> None:
    items = sorted(set(items))
    seen: list[int] = []
    cursor: str | None = None
    while True:
        last = key_of(cursor, (int,))[0] if cursor else None
        rest = [item for item in items if last is None or item > last]  # type: ignore[operator]
        page = page_of(rest[: limit + 1], limit, lambda item: (item,))
        seen += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == items
