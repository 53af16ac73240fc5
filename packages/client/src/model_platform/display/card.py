"""A card: what a verb answers, described once. The renderers know nothing of models, the verbs nothing of HTML.

The order on the page is fixed: head, steps, message, table, rows, folded details, next steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from model_platform_core.deployments import EndpointState, StepState

MIME_TYPE = "application/vnd.model-platform.card.v1+json"


@dataclass(frozen=True)
class Span:
    """A piece of text. `look` is one of plain, code, quiet, strong, ok, busy, warn, bad; `link` makes it a link."""

    text: str
    look: str = "plain"
    link: str | None = None


Inline = str | Span | Sequence["str | Span"]


def spans(content: Inline) -> list[Span]:
    """Any inline content as a list of spans."""
    if isinstance(content, str):
        return [Span(content)]
    if isinstance(content, Span):
        return [content]
    return [Span(part) if isinstance(part, str) else part for part in content]


def code(text: str) -> Span:
    """Something to copy: a line, a variable, a commit."""
    return Span(text, "code")


def quiet(text: str) -> Span:
    """Secondary text."""
    return Span(text, "quiet")


def link(url: str, text: str | None = None) -> Span:
    """A link."""
    return Span(text or url, link=url)


@dataclass(frozen=True)
class State:
    """A state is a word; glyph and colour repeat it."""

    word: str
    glyph: str
    look: str


STATES: Mapping[str, State] = {
    EndpointState.LIVE: State("live", "●", "ok"),
    EndpointState.STARTING: State("starting", "◌", "busy"),
    EndpointState.UPDATING: State("updating", "◐", "busy"),
    EndpointState.DEGRADED: State("degraded", "▲", "warn"),
    EndpointState.ASLEEP: State("asleep", "☾", "quiet"),
    EndpointState.STOPPED: State("stopped", "□", "quiet"),
    EndpointState.FAILED: State("failed", "✕", "bad"),
}

STEP_LOOKS: Mapping[StepState, tuple[str, str]] = {
    StepState.WAITING: ("○", "quiet"),
    StepState.RUNNING: ("◌", "busy"),
    StepState.DONE: ("✓", "ok"),
    StepState.FAILED: ("✕", "bad"),
}
"""Glyph and look of a step."""


@dataclass(frozen=True)
class Step:
    """A named step, where it stands, and a few words or a time."""

    name: str
    state: StepState
    detail: str = ""


@dataclass(frozen=True)
class Column:
    """A column of a table; figures are aligned to the right."""

    name: str
    figures: bool = False


@dataclass(frozen=True)
class Table:
    """A table; every row has one cell for each column."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Inline, ...], ...]


@dataclass(frozen=True)
class Details:
    """Text that is folded away; plain text, which cannot fold, leaves it out unless `in_plain`."""

    summary: str
    text: str
    in_plain: bool = False


@dataclass(frozen=True)
class Card:
    """One output. `data` is the whole truth as JSON, for renderers of our own; it holds no secret."""

    kind: str
    title: str
    subtitle: str = ""
    state: State | None = None
    aside: str = ""
    steps: tuple[Step, ...] = ()
    message: tuple[str, ...] = ()
    table: Table | None = None
    rows: tuple[tuple[str, Inline], ...] = ()
    details: tuple[Details, ...] = ()
    next: tuple[Inline, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)


def as_json(card: Card) -> dict[str, Any]:
    """The card for renderers of our own: what is shown, in structure, and the data it was made from."""

    def inline(content: Inline) -> list[dict[str, str]]:
        return [
            {"text": span.text, "look": span.look} | ({"link": span.link} if span.link else {})
            for span in spans(content)
        ]

    table = card.table and {
        "columns": [{"name": column.name, "figures": column.figures} for column in card.table.columns],
        "rows": [[inline(cell) for cell in row] for row in card.table.rows],
    }
    return {
        "kind": card.kind,
        "title": card.title,
        "subtitle": card.subtitle,
        "state": card.state and card.state.word,
        "aside": card.aside,
        "steps": [{"name": step.name, "state": step.state, "detail": step.detail} for step in card.steps],
        "message": list(card.message),
        "table": table,
        "rows": [{"label": label, "value": inline(value)} for label, value in card.rows],
        "details": [{"summary": one.summary, "text": one.text} for one in card.details],
        "next": [inline(one) for one in card.next],
        "data": dict(card.data),
    }
