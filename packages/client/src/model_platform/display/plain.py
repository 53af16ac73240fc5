"""A card as plain text: for terminals, logs, and `print`."""

from __future__ import annotations

from model_platform.display.card import STEP_LOOKS, Card, Inline, Step, Table, spans
from model_platform_core.deployments import StepState

_ASIDE_AT = 61
_LABEL = 10


def plain(card: Card) -> str:
    """The card as lines of text, without an end of line at its end."""
    lines = [_head(card)]
    if card.steps:
        lines.append("  ".join(_step(step) for step in card.steps))
    lines += card.message
    if card.table:
        lines += _table(card.table)
    lines += [_row(label, text(value)) for label, value in card.rows]
    for one in (details for details in card.details if details.in_plain):
        lines += [f"{one.summary}:", *(f"  {line}" for line in one.text.splitlines())]
    if card.next:
        lines.append(_row("next", "   ".join(text(one) for one in card.next)))
    return "\n".join(lines)


def text(content: Inline) -> str:
    """Inline content without its looks."""
    return "".join(span.text for span in spans(content))


def _head(card: Card) -> str:
    words = [card.title, card.subtitle, card.state.word if card.state else ""]
    left = "  ".join(word for word in words if word)
    return f"{left:<{_ASIDE_AT - 2}}  {card.aside}" if card.aside else left


def _row(label: str, value: str) -> str:
    first, *rest = value.splitlines() or [""]
    return "\n".join([f"{label:<{_LABEL}}{first}", *(" " * _LABEL + line for line in rest)])


def _step(step: Step) -> str:
    mark = "…" if step.state is StepState.RUNNING else STEP_LOOKS[step.state][0]
    return " ".join(word for word in (step.name, mark, step.detail) if word)


def _table(table: Table) -> list[str]:
    cells = [[column.name for column in table.columns], *([text(cell) for cell in row] for row in table.rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(table.columns))]
    return ["  ".join(_aligned(row, widths, table)).rstrip() for row in cells]


def _aligned(row: list[str], widths: list[int], table: Table) -> list[str]:
    return [
        f"{cell:>{width}}" if column.figures else f"{cell:<{width}}"
        for cell, width, column in zip(row, widths, table.columns, strict=True)
    ]
