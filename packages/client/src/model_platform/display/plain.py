"""A card as plain text: for terminals, logs, and `print`."""

from __future__ import annotations

from collections.abc import Callable

from model_platform.display.card import STEP_LOOKS, Card, Inline, Step, Table, spans
from model_platform_core.deployments import StepState

_ASIDE_AT = 61
_LABEL = 10
_MARGIN = 2

Paint = Callable[[str, str], str]
"""Text and look to text for a terminal."""

_COLOURS = {"ok": "32", "busy": "34", "warn": "33", "bad": "31", "quiet": "2", "strong": "1", "code": "36"}


def unpainted(text: str, _look: str) -> str:
    """Text as it is."""
    return text


def coloured(text: str, look: str) -> str:
    """Text in a terminal's colours."""
    return f"\x1b[{_COLOURS[look]}m{text}\x1b[0m" if look in _COLOURS and text else text


def plain(card: Card, paint: Paint = unpainted) -> str:
    """The card as lines of text, without an end of line at its end."""
    lines = [_head(card, paint)]
    if card.steps:
        lines.append("  ".join(_step(step, paint) for step in card.steps))
    lines += card.message
    if card.table:
        lines += _table(card.table, paint)
    lines += _rows(card, paint)
    for one in (details for details in card.details if details.in_plain):
        lines += [f"{one.summary}:", *(f"  {line}" for line in one.text.splitlines())]
    return "\n".join(lines)


def text(content: Inline, paint: Paint = unpainted) -> str:
    """Inline content."""
    return "".join(paint(span.text, span.look) for span in spans(content))


def _head(card: Card, paint: Paint) -> str:
    words = [(card.title, "strong"), (card.subtitle, "plain")]
    words += [(card.state.word, card.state.look)] if card.state else []
    shown = [(word, look) for word, look in words if word]
    painted = "  ".join(paint(word, look) for word, look in shown)
    if not card.aside:
        return painted
    wide = len("  ".join(word for word, _ in shown))
    return painted + " " * max(_MARGIN, _ASIDE_AT - wide) + card.aside


def _rows(card: Card, paint: Paint) -> list[str]:
    rows: list[tuple[str, Inline]] = list(card.rows)
    if card.next:
        rows.append(("next", "   ".join(text(one) for one in card.next)))
    wide = max([_LABEL, *(len(label) + _MARGIN for label, _ in rows)])
    lines = []
    for label, value in rows:
        first, *rest = text(value, paint).splitlines() or [""]
        lines += [paint(f"{label:<{wide}}", "quiet") + first, *(" " * wide + line for line in rest)]
    return lines


def _step(step: Step, paint: Paint) -> str:
    glyph, look = STEP_LOOKS[step.state]
    mark = "…" if step.state is StepState.RUNNING else glyph
    return " ".join(word for word in (step.name, paint(mark, look), step.detail) if word)


def _table(table: Table, paint: Paint) -> list[str]:
    heads: tuple[Inline, ...] = tuple(column.name for column in table.columns)
    cells = [heads, *table.rows]
    widths = [max(len(text(row[index])) for row in cells) for index in range(len(table.columns))]
    lines = []
    for number, row in enumerate(cells):
        parts = []
        for cell, width, column in zip(row, widths, table.columns, strict=True):
            shown = paint(text(cell), "quiet") if not number else text(cell, paint)
            space = " " * (width - len(text(cell)))
            parts.append(space + shown if column.figures else shown + space)
        lines.append("  ".join(parts).rstrip())
    return lines
