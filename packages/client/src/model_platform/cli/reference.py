"""The reference of the verbs, from their own help: `python -m model_platform.cli.reference > docs/users/verbs.md`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import click

from model_platform.cli.main import main
from model_platform.cli.output import EXIT_STATUS, INTERRUPTED
from model_platform.grammar import CARD_OPTIONS, VERBS, Kind, Option, Verb, Word

_HEAD = """\
# Verbs

<!-- Made by `python -m model_platform.cli.reference > docs/users/verbs.md`; a test says so when it is out of date. -->

The same words everywhere: a magic in a cell (`%load_ext model_platform`, then `%mp_deploy churn`), a function
(`import model_platform as mp`, then `mp.deploy("churn")`), a command in a terminal (`mp deploy churn`). Options are
called alike: `--for-whom "…"` is `for_whom="…"` in a function. `%mp_deploy?`, `help(mp.deploy)` and `mp deploy --help` tell
the same. A verb returns an object that shows itself as a card; an error says what is wrong, which value, and what to do.

In a cell, what stands in brackets stays together, so `--example X[X.age > 30][:20]` needs no quotes.
"""

_FUNCTIONS_ONLY = """\
## load

`mp.load("churn:3")` gives back the object that was published. Its bytes are verified against the digests of the
version; loading may run the publisher's code, as unpickling does.
"""


def reference() -> str:
    """The whole page as markdown."""
    parts = [_HEAD, *(_verb(verb) for verb in VERBS.values()), _FUNCTIONS_ONLY, _card_fields(), _terminal()]
    return "\n".join(parts)


def _verb(verb: Verb) -> str:
    words = " ".join(_usage(word) for word in verb.words)
    lines = [f"## {verb.name}", "", verb.summary + (f" {verb.more}" if verb.more else ""), ""]
    lines += ["```", f"%mp_{verb.name} {words}".rstrip(), "", *verb.examples, "```", ""]
    own = [option for option in verb.options if option not in CARD_OPTIONS]
    rows = [f"| `{word.name}` | {word.help} |" for word in verb.words] + [_option(option) for option in own]
    if len(own) < len(verb.options):
        rows.append("| `--purpose` … | the fields of the [card](#the-fields-of-a-card) |")
    lines += ["| | |", "|---|---|", *rows, ""] if rows else []
    return "\n".join(lines)


def _usage(word: Word) -> str:
    name = word.name.upper()
    return f"[{name}]" if word.optional else name


def _option(option: Option) -> str:
    flags = ", ".join(f"`{flag}`" for flag in option.flags)
    value = f" `{option.metavar}`" if option.kind is not Kind.FLAG else ""
    return f"| {flags}{value} | {option.help} |".replace("token|open", "token\\|open")


def _card_fields() -> str:
    rows = [f"| `{option.flags[0]}` | {option.help.removeprefix('card: ')} |" for option in CARD_OPTIONS]
    head = (
        "## The fields of a card\n\nWhat can be found out is filled in: owner, data, code, training, metrics, resources,"
        " review date. What describes the model carries over from its last version.\n"
    )
    return "\n".join([head, "| | |", "|---|---|", *rows, ""])


def _terminal() -> str:
    lines = ["## In a terminal", ""]
    lines.append("`mp` has the verbs above, `--json` on everything that prints data, and these commands of its own:")
    lines += ["", "```"]
    for path, command in _commands(main.loaded(), "mp"):
        if path.partition(" ")[2] not in VERBS:
            lines.append(f"{path:<32}{command.get_short_help_str(120)}")
    lines += ["```", "", *_differences(), "| exit status | when |", "|---|---|", "| 0 | done |"]
    families: dict[int, list[str]] = {}
    for family, status in EXIT_STATUS.items():
        families.setdefault(status, []).append(family.replace("_", " "))
    lines += [f"| {status} | {', '.join(names)} |" for status, names in families.items()]
    lines += [f"| {INTERRUPTED} | interrupted |", ""]
    return "\n".join(lines)


def _differences() -> Iterator[str]:
    """Commands whose words differ from the magic's, because a terminal has no variables."""
    for name in ("publish", "predict", "time"):
        command = main.loaded()[name]
        words = " ".join(
            str(parameter.name).upper() for parameter in command.params if isinstance(parameter, click.Argument)
        )
        yield f"`mp {name} {words}`: {command.get_short_help_str(200)}"
        yield ""


def _commands(commands: Mapping[str, click.Command], path: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in commands.items():
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from _commands(command.commands, f"{path} {name}")


if __name__ == "__main__":
    print(reference(), end="")  # noqa: T201
