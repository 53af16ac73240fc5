"""Completion: variables, names of models, versions, aliases, endpoints and zones, options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from model_platform.grammar import VERBS, Kind, Names, Option, Verb
from model_platform.known_names import KnownNames
from model_platform.magics.namespace import is_publishable, is_rows


class Completer:
    """Candidates for the word at the cursor."""

    def __init__(self, variables: Callable[[], Mapping[str, Any]], known: KnownNames | None = None) -> None:
        self._variables = variables
        self._known = known or KnownNames()

    def of_verb(self, verb: Verb) -> Callable[[Any, Any], list[str]]:
        """IPython's hook for the magic of a verb."""

        def complete(_shell: Any, event: Any) -> list[str]:
            typed = str(event.text_until_cursor).split(maxsplit=1)
            return self.candidates(verb, typed[1] if len(typed) > 1 else "", event.symbol)

        return complete

    def of_dispatcher(self, _shell: Any, event: Any) -> list[str]:
        """IPython's hook for `%mp`."""
        typed = str(event.text_until_cursor).split(maxsplit=2)
        if len(typed) > 1 and typed[1] in VERBS and (len(typed) > 2 or event.text_until_cursor.endswith(" ")):
            return self.candidates(VERBS[typed[1]], typed[2] if len(typed) > 2 else "", event.symbol)
        return [name for name in VERBS if name.startswith(event.symbol)]

    def candidates(self, verb: Verb, typed: str, symbol: str) -> list[str]:
        """What may stand where the cursor is: `typed` is the line behind the verb up to there."""
        before = typed.split()
        if before and not typed.endswith(" "):
            before = before[:-1]
        option = self._open_option(verb, before)
        if option is not None:
            found = list(option.choices) or self._named(option.names)
        elif symbol.startswith("-"):
            found = [flag for one in verb.options for flag in one.flags if flag.startswith("--") and flag not in before]
        else:
            place = len(self._words(verb, before))
            found = self._named(verb.words[place].names) if place < len(verb.words) else []
        return [one for one in found if one.startswith(symbol)]

    def _named(self, names: Names) -> list[str]:
        own = {name: value for name, value in self._variables().items() if not name.startswith("_")}
        if names is Names.PUBLISHABLE:
            return [name for name, value in own.items() if is_publishable(value)]
        if names is Names.VARIABLES:
            return [name for name, value in own.items() if is_rows(value)]
        return self._known.get(names)

    @staticmethod
    def _open_option(verb: Verb, before: Sequence[str]) -> Option | None:
        """The option that waits for its value."""
        if not before:
            return None
        return next((one for one in verb.options if before[-1] in one.flags and one.kind is not Kind.FLAG), None)

    @staticmethod
    def _words(verb: Verb, before: Sequence[str]) -> list[str]:
        """The words before the cursor that belong to no option."""
        found, skip = [], False
        for word in before:
            if skip:
                skip = False
            elif word.startswith("-"):
                skip = any(word in one.flags and one.kind is not Kind.FLAG for one in verb.options)
            else:
                found.append(word)
        return found
