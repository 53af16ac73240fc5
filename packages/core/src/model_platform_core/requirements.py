"""Requirements of packages, as in `uvloop>=0.21; sys_platform != "win32"`, read so that any thread may do it.

`packaging` reads the texts in a marker by `ast.literal_eval`. Up to Python 3.12 all threads count the depth of such a
conversion in one place: two at a time, as where a garbage collection within one of them lets the other thread run, and
one of them raises `SystemError: AST constructor recursion depth mismatch`, be it that of the user's own cell. So the
part before the marker is `packaging`'s, and the marker is read here.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Compare = Callable[[str, str], bool | None]
"""Whether a version fulfils what is asked, as `>=3.8`; None where that is nothing to ask of a version."""

_ADDRESS = re.compile(r"[^;@]*@\s*\S+")
_TOKEN = re.compile(
    r"""\s*(?:(?P<bracket>[()])|(?P<text>'[^']*'|"[^"]*")|(?P<operator>===|[~<>=!]=|[<>])|(?P<word>[\w.]+)|(?P<end>$))"""
)
_VERSIONS = frozenset({"implementation_version", "platform_release", "python_full_version", "python_version"})
_PLAIN: Mapping[str, Callable[[str, str], bool]] = {
    "in": lambda one, other: one in other,
    "not in": lambda one, other: one not in other,
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.eq,
    ">=": operator.eq,
    "<": lambda _one, _other: False,
    ">": lambda _one, _other: False,
}


@dataclass(frozen=True)
class RequirementLine:
    """A requirement and the marker behind it, which is empty where it always counts."""

    wanted: str
    marker: str

    @classmethod
    def split(cls, line: str) -> RequirementLine:
        """The two parts of a line; an address before the marker may hold a semicolon of its own."""
        address = _ADDRESS.match(line)
        wanted, _, marker = line[(at := address.end() if address else 0) :].partition(";")
        return cls((line[:at] + wanted).strip(), marker.strip())

    def applies(self, environment: Mapping[str, str], compare: Compare, extra: str = "") -> bool:
        """Whether it counts in an environment, which says `python_version` and the like, and for an extra.

        Raises
        ------
        ValueError
            If the marker cannot be read.
        """
        return not self.marker or _Reader(self.marker, {**environment, "extra": normalized(extra)}, compare).answer()


def normalized(name: str) -> str:
    """A package's or extra's name in its canonical spelling."""
    return re.sub(r"[-_.]+", "-", name).lower()


class _Reader:
    """One pass over a marker: its parts are asked as they are read."""

    def __init__(self, marker: str, environment: Mapping[str, str], compare: Compare) -> None:
        self._marker, self._environment, self._compare = marker, environment, compare
        self._at = 0
        self._kind, self._token = self._next()

    def answer(self) -> bool:
        holds = self._any()
        if self._kind != "end":
            raise self._unreadable()
        return holds

    def _any(self) -> bool:
        holds = self._all()
        while self._took("or"):
            holds = self._all() or holds
        return holds

    def _all(self) -> bool:
        holds = self._one()
        while self._took("and"):
            holds = self._one() and holds
        return holds

    def _one(self) -> bool:
        if self._took("("):
            holds = self._any()
            if not self._took(")"):
                raise self._unreadable()
            return holds
        left_name, left = self._value()
        asked = self._operator()
        right_name, right = self._value()
        name = left_name or right_name
        if name == "extra":
            left, right = normalized(left), normalized(right)
        if name in _VERSIONS and (fulfilled := self._compare(left, f"{asked}{right}")) is not None:
            return fulfilled
        if asked not in _PLAIN or not name:
            raise self._unreadable()
        return _PLAIN[asked](left, right)

    def _value(self) -> tuple[str, str]:
        """A name and what the environment says of it, or no name and a text."""
        kind, token = self._kind, self._token
        self._kind, self._token = self._next()
        if kind == "text":
            return "", token[1:-1]
        name = token.replace(".", "_")
        name = "platform_python_implementation" if name == "python_implementation" else name
        if kind != "word" or name not in self._environment:
            raise self._unreadable()
        return name, self._environment[name]

    def _operator(self) -> str:
        if self._took("not"):
            asked = "not in" if self._took("in") else ""
        else:
            asked = self._token if self._kind == "operator" or self._token == "in" else ""  # noqa: S105 - of a marker
            self._kind, self._token = self._next()
        if not asked:
            raise self._unreadable()
        return asked

    def _took(self, token: str) -> bool:
        if self._kind in {"text", "end"} or self._token != token:
            return False
        self._kind, self._token = self._next()
        return True

    def _next(self) -> tuple[str, str]:
        found = _TOKEN.match(self._marker, self._at)
        if found is None or found.lastgroup is None:
            raise self._unreadable()
        self._at = found.end()
        return found.lastgroup, found[found.lastgroup]

    def _unreadable(self) -> ValueError:
        return ValueError(f"the marker {self._marker!r} cannot be read")
