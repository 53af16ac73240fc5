"""A card as HTML that stands alone: one scoped style block, no script, no SVG, readable without its style."""

from __future__ import annotations

from html import escape

from model_platform.display.card import STEP_LOOKS, Card, Column, Details, Inline, Span, State, Table, spans
from model_platform.display.style import style


def html(card: Card) -> str:
    """The card with its style block."""
    label = " ".join(word for word in (card.title, card.subtitle, card.state.word if card.state else "") if word)
    parts = [_head(card), _steps(card), _message(card), _table(card.table), _rows(card), _details(card), _next(card)]
    body = "".join(parts)
    return f'<style>{style()}</style><div class="mp-card" role="group" aria-label="{escape(label)}">{body}</div>'


def _inline(content: Inline) -> str:
    return "".join(_span(span) for span in spans(content))


def _span(span: Span) -> str:
    text = escape(span.text)
    if span.link:
        safe = span.link if span.link.startswith(("http://", "https://")) else "#"
        return f'<a href="{escape(safe)}" target="_blank" rel="noopener noreferrer">{text}</a>'
    if span.look == "code":
        return f"<code>{text}</code>"
    if span.look == "strong":
        return f"<b>{text}</b>"
    if span.look == "plain":
        return text
    look = "mp-q" if span.look == "quiet" else span.look
    return f'<span class="{escape(look)}">{text}</span>'


def _glyph(glyph: str, look: str) -> str:
    look = "mp-q" if look == "quiet" else look
    return f'<span class="mp-g {look}" aria-hidden="true">{glyph}</span>'


def _state(state: State) -> str:
    return f'<span class="mp-s">{_glyph(state.glyph, state.look)} {escape(state.word)}</span>'


def _head(card: Card) -> str:
    parts = [f"<b>{escape(card.title)}</b>"]
    parts += [f"<span>{escape(card.subtitle)}</span>"] if card.subtitle else []
    parts += [_state(card.state)] if card.state else []
    parts += [f'<span class="mp-r">{escape(card.aside)}</span>'] if card.aside else []
    return f'<div class="mp-h">{" ".join(parts)}</div>'


def _steps(card: Card) -> str:
    if not card.steps:
        return ""
    items = (
        f"<li>{_glyph(*STEP_LOOKS[step.state])} {escape(step.name)} <small>{escape(step.detail)}</small></li>"
        for step in card.steps
    )
    return f'<ul class="mp-steps">{"".join(items)}</ul>'


def _message(card: Card) -> str:
    if not card.message:
        return ""
    first, *rest = card.message
    return f'<div class="mp-p"><p><b>{escape(first)}</b></p>{"".join(f"<p>{escape(one)}</p>" for one in rest)}</div>'


def _table(table: Table | None) -> str:
    if table is None:
        return ""

    def figures(column: Column) -> str:
        return ' class="n"' if column.figures else ""

    head = "".join(f"<th{figures(column)}>{escape(column.name)}</th>" for column in table.columns)
    body = "".join(
        "<tr>"
        + "".join(f"<td{figures(at)}>{_inline(cell)}</td>" for at, cell in zip(table.columns, row, strict=True))
        + "</tr>"
        for row in table.rows
    )
    return f'<table class="mp-t"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _rows(card: Card) -> str:
    if not card.rows:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(label)}</th><td>{_inline(value).replace(chr(10), "<br>")}</td></tr>'
        for label, value in card.rows
    )
    return f'<table class="mp-kv"><tbody>{rows}</tbody></table>'


def _details(card: Card) -> str:
    def one(details: Details) -> str:
        return f"<details><summary>{escape(details.summary)}</summary><pre>{escape(details.text)}</pre></details>"

    return "".join(one(details) for details in card.details)


def _next(card: Card) -> str:
    if not card.next:
        return ""
    steps = " ".join(f"<span>{_inline(one)}</span>" for one in card.next)
    return f'<div class="mp-n"><span>next</span> {steps}</div>'
