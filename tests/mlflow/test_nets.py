"""Below the methods there are two more nets: whatever writes or reads past them is refused or narrowed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from governed_mlflow.world import ROOT, GovernedServer

REFUSED = (
    "parent's method",
    "parent's method of tracking",
    "closed",
    "unit of work",
    "unit of work elsewhere",
    "row elsewhere",
    "trace elsewhere",
    "bulk",
    "core",
    "bulk update",
)


@pytest.fixture(scope="module")
def came(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of the tries."""
    folder = tmp_path_factory.mktemp("nets")
    server = GovernedServer(folder, f"sqlite:///{folder}/platform.db")
    for zone in ("ana", "ben"):
        server.add_zone(zone)
    server.close()
    script = ROOT / "tests" / "lib" / "governed_mlflow" / "past_the_methods.py"
    command = [sys.executable, "-W", "ignore", str(script), server.url, str(Path(folder, "artifacts"))]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=folder, check=False)
    assert found.returncode == 0, found.stderr
    return dict(json.loads(found.stdout.splitlines()[-1]))


@pytest.mark.parametrize("name", REFUSED)
def test_what_writes_past_the_methods_is_refused(came: dict[str, Any], name: str) -> None:
    assert str(came[name]).startswith("PERMISSION_DENIED"), came[name]


def test_without_an_actor_nothing_is_read_or_written(came: dict[str, Any]) -> None:
    assert came["nobody reads"].startswith("UNAUTHENTICATED")
    assert came["nobody writes"].startswith("UNAUTHENTICATED")


def test_a_client_inside_the_process_is_governed_as_well(came: dict[str, Any]) -> None:
    assert came["in-process client"] == "mine"
    assert came["in-process client reads"] == ["mine"]
    assert came["parent's read"] == []


def test_children_do_not_inherit_the_databases_address(came: dict[str, Any]) -> None:
    assert came["environment"] == []


def test_bulk_statements_reach_only_what_is_ones_own(came: dict[str, Any]) -> None:
    assert came["bulk update with permit"] == 1
    assert came["bulk delete with permit"] == 0
    assert came["theirs"] == "theirs"


def test_selects_of_plain_columns_are_narrowed_too(came: dict[str, Any]) -> None:
    assert came["plain columns"] == [came["own"]]
    assert came["plain select"] == ["ana.Default"]
    assert came["plain count"] == 1


@pytest.mark.parametrize("name", ["nested", "union"])
def test_what_cannot_be_narrowed_is_refused(came: dict[str, Any], name: str) -> None:
    assert str(came[name]).startswith("PERMISSION_DENIED"), came[name]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mapped union", ["own", "own"]),
        ("mapped union inside", ["own", "own"]),
        ("alias", ["own"]),
        ("join", ["ana.Default"]),
        ("outer join", ["own"]),
        ("exists", []),
        ("get", None),
    ],
)
def test_the_mapper_narrows_every_form_of_a_select(came: dict[str, Any], name: str, expected: object) -> None:
    found = came[name]
    shown = ["own" if one == came["own"] else one for one in found] if isinstance(found, list) else found
    assert shown == expected
