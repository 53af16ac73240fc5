"""Markers mean what `packaging` says they mean."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, Specifier

from model_platform_core.requirements import RequirementLine

HERE: dict[str, Any] = {**default_environment()}


def compare(version: str, asked: str) -> bool | None:
    try:
        return Specifier(asked).contains(version, prereleases=True)
    except InvalidSpecifier:
        return None


def test_every_requirement_of_what_is_installed_means_the_same() -> None:
    lines = {line for found in importlib.metadata.distributions() for line in found.requires or ()}
    assert len(lines) > 500
    for line in lines:
        read, known = RequirementLine.split(line), Requirement(line)
        assert str(Requirement(read.wanted)) == str(known).partition(";")[0].strip(), line
        for extra in ("", "dev", "test", *known.extras):
            means = known.marker is None or known.marker.evaluate({"extra": extra})
            assert read.applies(HERE, compare, extra) == means, (line, extra)


NAMES = [
    "python_version", "python_full_version", "os_name", "sys_platform", "platform_machine", "platform_system",
    "implementation_name", "implementation_version", "platform_python_implementation", "os.name", "sys.platform",
    "python_implementation", "platform.machine",
]  # fmt: skip
TEXTS = ["3.11", "3.8", "3.12.*", "3.10.1rc1", "linux", "win32", "posix", "cpython", "CPython", "x86_64", "", "a b"]
OPERATORS = ["<", "<=", "==", "!=", ">=", ">", "in", "not in", "not   in", "~="]


@some.composite
def comparisons(draw: Any) -> str:
    name, text, asked = (draw(some.sampled_from(each)) for each in (NAMES, TEXTS, OPERATORS))
    quote = draw(some.sampled_from("'\""))
    sides = [name, f"{quote}{text}{quote}"]
    return f"{sides[0]} {asked} {sides[1]}" if draw(some.booleans()) else f"{sides[1]} {asked} {sides[0]}"


MARKERS = some.recursive(
    comparisons() | some.sampled_from(["extra == 'dev'", 'extra!="Dev_x"', "'dev-x' == extra"]),
    lambda inner: (
        some.builds("{} {} {}".format, inner, some.sampled_from(["and", "or"]), inner) | inner.map("({})".format)
    ),
    max_leaves=6,
)


@given(MARKERS, some.sampled_from(["", "dev", "Dev.X"]))
def test_any_marker_means_the_same(marker: str, extra: str) -> None:
    line = f"package>=1; {marker}"
    means: Any
    try:
        means = Requirement(line).marker.evaluate({"extra": extra})  # type: ignore[union-attr]
    except Exception:  # noqa: BLE001 - what it does not compare, it says in several ways
        means = ValueError
    try:
        ours: Any = RequirementLine.split(line).applies(HERE, compare, extra)
    except ValueError:
        ours = ValueError
    assert ours == means


@pytest.mark.parametrize(
    ("line", "wanted", "marker"),
    [
        ("a", "a", ""),
        ("a[b,c]>=1,<2 ; extra == 'x'", "a[b,c]>=1,<2", "extra == 'x'"),
        ("a @ https://host/a;b.zip ; extra == 'x'", "a @ https://host/a;b.zip", "extra == 'x'"),
        ("a;extra == 'a@b'", "a", "extra == 'a@b'"),
        ("a @ https://host/a.zip", "a @ https://host/a.zip", ""),
    ],
)
def test_a_line_falls_into_two(line: str, wanted: str, marker: str) -> None:
    assert RequirementLine.split(line) == RequirementLine(wanted, marker)


@pytest.mark.parametrize(
    "marker",
    ["python_version", "python_version >", "x == 'y'", "'a' == 'b'", "(extra == 'a'", "extra == 'a' or", "extra == 'a'b",
     "extra == 'a", "extra not 'a'", "and", "extra == 'a')", "?", "extra 'a' =="],
)  # fmt: skip
def test_what_is_no_marker_is_refused(marker: str) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        RequirementLine("a", marker).applies(HERE, compare)
