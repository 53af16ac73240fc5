"""Making the magics from the table of verbs. What a magic needs to run is imported when the first one is run."""

from __future__ import annotations

import argparse
import difflib
import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from IPython.core.magic import needs_local_scope, no_var_expand, output_can_be_silenced
from IPython.core.magic_arguments import argument, magic_arguments

from model_platform import warming
from model_platform.grammar import VERBS, Kind, Option, Verb, Word

_TYPES: Mapping[Kind, type] = {Kind.WHOLE: int, Kind.FIGURE: float}


def load(shell: Any) -> None:
    """Register every magic and its completion with a shell. Loading again changes nothing."""

    @functools.cache
    def completer() -> Any:
        return _module("model_platform.magics.completion").Completer(lambda: shell.user_ns)

    magics = {verb.name: make_magic(verb, lambda: shell.user_ns) for verb in VERBS.values()}
    for name, magic in magics.items():
        shell.register_magic_function(magic, "line", f"mp_{name}")
        for key in (f"%mp_{name}", f"mp_{name}"):
            shell.set_hook("complete_command", _completion(completer, VERBS[name]), str_key=key)
    shell.register_magic_function(_dispatcher(magics), "line", "mp")
    for key in ("%mp", "mp"):
        shell.set_hook("complete_command", lambda _shell, event: completer().of_dispatcher(_shell, event), str_key=key)
    warming.begin(shell)


def _module(name: str) -> Any:
    return importlib.import_module(name)


def _completion(completer: Callable[[], Any], verb: Verb) -> Callable[[Any, Any], list[str]]:
    def complete(shell: Any, event: Any) -> list[str]:
        found: list[str] = completer().of_verb(verb)(shell, event)
        return found

    return complete


def _as_magic(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of a line that sees local variables, gets its line as written, and is silent before a semicolon."""

    @functools.wraps(function)
    def call(*given: Any, **named: Any) -> Any:
        errors = _module("model_platform.errors")
        return errors.explained(errors.in_notebook)(function)(*given, **named)

    magic: Callable[..., Any] = output_can_be_silenced(no_var_expand(needs_local_scope(call)))
    return magic


def make_magic(verb: Verb, names: Callable[[], Mapping[str, Any]]) -> Callable[..., Any]:
    """The line magic of a verb: `names` gives the notebook's variables."""

    @_as_magic
    def run(line: str, local_ns: Mapping[str, Any] | None = None) -> Any:
        given = parse_line(parser, verb, line.strip().removesuffix(";"))
        return _module("model_platform.magics.run").RUN[verb.name](given, {**names(), **(local_ns or {})})

    run.__name__ = run.__qualname__ = f"mp_{verb.name}"
    run.__doc__ = help_text(verb)
    for option in reversed(verb.options):
        run = argument(*option.flags, **_argument(option))(run)
    for word in reversed(verb.words):
        run = argument(word.name, **_positional(word))(run)
    magic: Callable[..., Any] = magic_arguments(f"mp_{verb.name}")(run)
    parser = magic.parser  # type: ignore[attr-defined]
    parser.error = _refusal(verb)
    return magic


def help_text(verb: Verb) -> str:
    """The help of a verb: what it does, and examples to copy."""
    examples = "\n".join(f"    {example}" for example in verb.examples)
    return "\n\n".join(part for part in (verb.summary, verb.more, f"Examples:\n\n{examples}") if part)


def parse_line(parser: Any, verb: Verb, line: str) -> argparse.Namespace:
    """The words of a line by name.

    Raises
    ------
    InvalidError
        If a word is missing, or an option is unknown; the nearest one is named.
    """
    if verb.words and verb.words[-1].rest:
        word, rest = _module("model_platform.magics.split").first_word(line)
        return parser.parse_args([part for part in (word, rest) if part])  # type: ignore[no-any-return]
    words = _module("model_platform.magics.split").split_line(line)
    known = {flag for option in verb.options for flag in option.flags}
    for given in words:
        flag = given.partition("=")[0]
        if flag.startswith("--") and not any(one.startswith(flag) for one in known):
            near = difflib.get_close_matches(flag, known, 1)
            meant = f" Did you mean {near[0]}?" if near else ""
            raise _invalid(f"%mp_{verb.name} has no option {flag}.{meant}", hint=f"%mp_{verb.name}? shows them all")
    return parser.parse_args(words)  # type: ignore[no-any-return]


def _invalid(message: str, hint: str) -> Exception:
    error: Exception = _module("model_platform_core.errors").InvalidError(message, hint=hint)
    return error


def _refusal(verb: Verb) -> Callable[[str], NoReturn]:
    def refuse(message: str) -> NoReturn:
        # IPython's own UsageError is printed aside, where papermill does not see it.
        example = verb.examples[0] if verb.examples else f"%mp_{verb.name}?"
        raise _invalid(f"%mp_{verb.name}: {message}.", hint=f"for example  {example}")

    return refuse


def _argument(option: Option) -> dict[str, Any]:
    text = option.help.replace("%", "%%")
    if option.kind is Kind.FLAG:
        return {"action": "store_true", "help": text}
    found: dict[str, Any] = {"help": text, "metavar": option.metavar, "type": _TYPES.get(option.kind, str)}
    if option.choices:
        found["choices"] = option.choices
    if option.kind is Kind.LIST:
        found["action"] = "append"
    if option.kind is Kind.PATHS:
        found |= {"nargs": "+", "action": "extend"}
    return found


def _positional(word: Word) -> dict[str, Any]:
    return {"help": word.help.replace("%", "%%")} | ({"nargs": "?"} if word.optional else {})


def _dispatcher(magics: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    @_as_magic
    def mp(line: str, local_ns: Mapping[str, Any] | None = None) -> Any:
        """`%mp VERB …`: the words of the command line. Alone it lists the verbs."""
        verb, rest = _module("model_platform.magics.split").first_word(line.strip().removesuffix(";"))
        if not verb:
            return _Overview()
        if verb in magics:
            return magics[verb](rest, local_ns)
        near = difflib.get_close_matches(verb, magics, 1)
        raise _invalid(
            f"There is no verb {verb} in a notebook.",
            hint=f"%mp {near[0]} {rest}".rstrip() if near else f"in a terminal: mp {line.strip()}",
        )

    return mp


class _Overview:
    """The list of verbs."""

    def __repr__(self) -> str:
        wide = max(len(name) for name in VERBS) + 6
        lines = [f"{'%mp_' + verb.name:<{wide}}{verb.summary}" for verb in VERBS.values()]
        return "\n".join([*lines, "", "%mp_publish? shows the options of a verb."])
