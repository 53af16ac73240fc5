"""A card as markdown: for exports and reviews. Whatever comes from outside is escaped."""

from __future__ import annotations

import re

from model_platform.display.card import STEP_LOOKS, Card, Inline, Span, Table, spans

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~&])")


def markdown(card: Card) -> str:
    """The card as markdown."""
    head = [f"**{_escape(card.title)}**", _escape(card.subtitle)]
    head += [f"{card.state.glyph} {card.state.word}"] if card.state else []
    head += [f"*{_escape(card.aside)}*"] if card.aside else []
    blocks = [" ".join(word for word in head if word)]
    if card.steps:
        steps = (f"{STEP_LOOKS[step.state][0]} {_escape(step.name)} {_escape(step.detail)}" for step in card.steps)
        blocks.append(" · ".join(step.strip() for step in steps))
    blocks += [_escape(line) for line in card.message]
    if card.table:
        blocks.append(_table(card.table))
    if card.rows:
        rows = "\n".join(f"| {_escape(label)} | {_inline(value)} |" for label, value in card.rows)
        blocks.append(f"| | |\n|---|---|\n{rows}")
    blocks += [f"{_escape(one.summary)}\n\n{_block(one.text)}" for one in card.details]
    if card.next:
        blocks.append("next: " + " · ".join(_inline(one) for one in card.next))
    return "\n\n".join(blocks)


def _escape(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text.replace("\n", " "))


def _inline(content: Inline) -> str:
    return "".join(_span(span) for span in spans(content)) or " "


def _span(span: Span) -> str:
    if span.link:
        return f"[{_escape(span.text)}](<{span.link.replace('>', '%3E').replace('<', '%3C')}>)"
    if span.look == "code":
        # A backtick cannot be escaped within code, and a line may hold a table's bar.
        fence = "`" * (max((len(run) for run in re.findall("`+", span.text)), default=0) + 1)
        inside = span.text.replace("\n", " ").replace("|", "\\|")
        return f"{fence} {inside} {fence}" if "`" in inside else f"{fence}{inside}{fence}"
    return _escape(span.text)


def _block(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _table(table: Table) -> str:
    head = "| " + " | ".join(_escape(column.name) or " " for column in table.columns) + " |"
    rule = "|" + "|".join("---:" if column.figures else "---" for column in table.columns) + "|"
    rows = ["| " + " | ".join(_inline(cell) for cell in row) + " |" for row in table.rows]
    return "\n".join([head, rule, *rows])
