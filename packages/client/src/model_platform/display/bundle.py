"""A card in every form that a front end, a saved notebook or a log may want."""

from __future__ import annotations

from typing import Any

from model_platform.display.card import MIME_TYPE, Card, as_json
from model_platform.display.html import html
from model_platform.display.markdown import markdown
from model_platform.display.plain import plain


def bundle(card: Card) -> dict[str, Any]:
    """The card by MIME type."""
    return {
        MIME_TYPE: as_json(card),
        "text/html": html(card),
        "text/markdown": markdown(card),
        "text/plain": plain(card),
    }
