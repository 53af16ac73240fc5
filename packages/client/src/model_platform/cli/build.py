"""Click commands from the table of verbs; nothing else is imported to make them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from model_platform.grammar import Kind, Names, Option, Verb, Word
from model_platform.wording import in_shell

_TYPES: Mapping[Kind, Any] = {Kind.WHOLE: click.INT, Kind.FIGURE: click.FLOAT}

JSON = click.Option(["--json", "as_json"], is_flag=True, help="print the data as JSON")


def command(verb: Verb, run: Callable[..., None], *, extra: tuple[click.Parameter, ...] = ()) -> click.Command:
    """The command of a verb. `run` takes its words and options by name, and `as_json`."""
    words = [argument(word) for word in verb.words]
    options = [option(one) for one in verb.options if one.kind is not Kind.EXPRESSION]
    return click.Command(
        verb.name,
        callback=run,
        params=[*words, *options, *extra, JSON],
        help=help_of(verb),
        short_help=verb.summary,
    )


def help_of(verb: Verb) -> str:
    """What it does, with the examples that make sense in a terminal."""
    examples = [in_shell(one) for one in verb.examples if one.startswith("%mp_") and "X_test" not in one]
    shown = "\n\n\b\nExamples:\n" + "\n".join(f"  {one}" for one in examples) if examples else ""
    return in_shell(" ".join(part for part in (verb.summary, verb.more) if part)) + shown


def argument(word: Word) -> click.Argument:
    """A word of a verb."""
    return click.Argument([word.name], required=not word.optional, shell_complete=_completer(word.names))


def option(one: Option) -> click.Option:
    """An option of a verb."""
    if one.kind is Kind.FLAG:
        return click.Option(list(one.flags), is_flag=True, help=one.help)
    kind = click.Choice(list(one.choices)) if one.choices else _TYPES.get(one.kind, click.STRING)
    return click.Option(
        list(one.flags),
        help=one.help,
        type=kind,
        metavar=one.metavar,
        multiple=one.kind is Kind.LIST,
        shell_complete=None if one.choices else _completer(one.names),
    )


def _completer(names: Names) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]] | None:
    if names in {Names.NOTHING, Names.PUBLISHABLE, Names.VARIABLES}:
        return None

    def complete(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        found = importlib.import_module("model_platform.cli.connection").known_names().get(names)
        return [CompletionItem(name) for name in found if name.startswith(begun)]

    return complete
