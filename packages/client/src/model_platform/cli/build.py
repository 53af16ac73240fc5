"""Click commands from the table of verbs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from model_platform.client import Client, connect, current
from model_platform.config import find_address, state_directory
from model_platform.embedded.launcher import find
from model_platform.errors import in_shell
from model_platform.grammar import Kind, Names, Option, Verb, Word
from model_platform.known_names import KnownNames
from model_platform_core.errors import ModelPlatformError

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
        found = KnownNames(_running).get(names)
        return [CompletionItem(name) for name in found if name.startswith(begun)]

    return complete


def _running() -> Client | None:
    """The configured server; the embedded one only if it runs already: a Tab starts nothing."""
    try:
        address = find_address()
        if address.server is None and find(state_directory()) is None:
            return None
        return connect()
    except ModelPlatformError:
        return None


def client() -> Client:
    """The connection of this command."""
    return current()


def card_fields(given: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The card's fields among the options."""
    found = {name: given.get(name) for name in ("tier", *names)}
    return {name: value for name, value in found.items() if value is not None}
