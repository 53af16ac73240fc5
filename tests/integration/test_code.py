"""Code that travels: what a model imports, opens and needs is where it runs, and what is missing is told in words."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from model_platform_core.errors import FailedError

FRAME = pd.DataFrame({"a": [1.0, 2.0, 3.0]})


@pytest.fixture
def notebook(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project of the usual shape, with the notebook's folder as where we are; modules are forgotten behind it."""
    for folder in ("notebooks", "src/features", "data"):
        (project / folder).mkdir(parents=True)
    monkeypatch.chdir(project / "notebooks")
    monkeypatch.setattr(sys, "path", ["../src", *sys.path])
    before = set(sys.modules)
    yield project
    for name in set(sys.modules) - before:
        if str(project) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def answered(mp: Any, name: str) -> list[float]:
    return [float(value) for value in mp.status(name).predict(FRAME)]


def refused(mp: Any, name: str) -> str:
    """The sentence with which a deployment ends; nothing has got traffic."""
    with pytest.raises(FailedError) as failed:
        mp.deploy(name)
    assert mp.status(name).state == "failed"
    return failed.value.message


def write(path: Path, text: str) -> None:
    path.write_text(text)
    importlib.invalidate_caches()


PREP = """
class Scaled:
    def predict(self, rows):
        return rows["a"] * factor()


def factor():
    return {factor}
"""


def test_two_versions_of_one_module_answer_side_by_side(mp: Any, notebook: Path) -> None:
    write(notebook / "src" / "prep.py", PREP.format(factor=2))
    prep = importlib.import_module("prep")
    first = mp.publish(prep.Scaled(), "prep", example=FRAME)
    mp.deploy("prep", "prep-two")
    write(notebook / "src" / "prep.py", PREP.format(factor=30))
    os.utime(notebook / "src" / "prep.py", (1, 1))  # as if it had been written long after the other one
    prep = importlib.reload(prep)
    second = mp.publish(prep.Scaled(), "prep", example=FRAME)
    mp.deploy("prep:2", "prep-thirty")
    assert (first.version, second.version) == (1, 2)
    assert answered(mp, "prep-two") == [2.0, 4.0, 6.0]
    assert answered(mp, "prep-thirty") == [30.0, 60.0, 90.0]
    assert "code/prep.py" in {file.path for file in second.details.files}
    assert "src/prep.py" in str(second)


def test_what_travels_is_told_of_an_unchanged_version_too(mp: Any, notebook: Path) -> None:
    write(notebook / "data" / "rates.csv", "1.5")
    write(
        notebook / "src" / "rated.py",
        PREP.format(factor="float(__import__('pathlib').Path('../data/rates.csv').read_text())"),
    )
    rated = importlib.import_module("rated")
    again = [mp.publish(rated.Scaled(), "rated", example=FRAME, with_files="../data/rates.csv") for _ in range(2)][1]
    assert again.unchanged
    assert "src/rated.py · data/rates.csv (3 B)" in str(again)


TEXT = """
from collections.abc import Iterator
from pathlib import Path

from . import steps


class Priced:
    def predict(self, rows):
        import rounding  # a module that nobody imported before

        beside = float((Path(__file__).parents[2] / "data" / "rate.txt").read_text())
        here = float(Path("../data/rate.txt").read_text())
        assert beside == here
        return rounding.whole(steps.double(rows["a"]) * here)
"""


def test_packages_relative_imports_and_files_are_found_as_in_the_notebook(mp: Any, notebook: Path) -> None:
    write(notebook / "src" / "features" / "__init__.py", "from .text import Priced\n")
    write(notebook / "src" / "features" / "text.py", TEXT)
    write(notebook / "src" / "features" / "steps.py", "def double(values):\n    return 2 * values\n")
    write(notebook / "src" / "rounding.py", "def whole(values):\n    return values.round()\n")
    write(notebook / "data" / "rate.txt", "1.5")
    features = importlib.import_module("features")
    published = mp.publish(features.Priced(), "priced", example=FRAME, with_files="../data/rate.txt")
    mp.deploy("priced")
    assert answered(mp, "priced") == [3.0, 6.0, 9.0]
    assert "data/rate.txt" in str(published)


def test_a_module_that_is_missing_is_told_before_traffic(mp: Any, notebook: Path) -> None:
    write(notebook / "src" / "absent_one.py", "ONE = 1.0\n")
    write(
        notebook / "src" / "hidden.py",
        "import importlib\n\n\nclass Hidden:\n    def predict(self, rows):\n"
        "        return rows['a'] * importlib.import_module('absent' + '_one').ONE\n",
    )
    hidden = importlib.import_module("hidden")
    mp.publish(hidden.Hidden(), "hidden", example=FRAME)
    assert refused(mp, "hidden").endswith(": The model's environment has no module named absent_one.")


def test_a_file_that_is_missing_is_told_before_traffic(mp: Any, notebook: Path) -> None:
    write(
        notebook / "src" / "reading.py",
        "from pathlib import Path\n\n\nclass Reading:\n    def predict(self, rows):\n        return rows['a'] * float(Path('../data/rate.txt').read_text())\n",
    )
    write(notebook / "data" / "rate.txt", "1.5")
    reading = importlib.import_module("reading")
    mp.publish(reading.Reading(), "reading", example=FRAME)
    assert refused(mp, "reading").endswith(
        ": The model reads ../data/rate.txt, which did not travel with it; publish it with --with ../data/rate.txt."
    )
    mp.publish(reading.Reading(), "reading", example=FRAME, with_files=["../data"])
    mp.deploy("reading")
    assert answered(mp, "reading") == [1.5, 3.0, 4.5]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("at-load", "KEY = float(os.environ['MODEL_RATE'])\n\n\ndef rate():\n    return KEY\n"),
        ("at-call", "def rate():\n    return float(os.environ['MODEL_RATE'])\n"),
        ("or-nothing", "def rate():\n    return float(os.getenv('MODEL_RATE'))\n"),
        ("or-else", "def rate():\n    return float(os.environ.get('MODEL_RATE', '7'))\n"),
    ],
)
def test_a_variable_that_is_missing_is_told_before_traffic(
    mp: Any, notebook: Path, monkeypatch: pytest.MonkeyPatch, name: str, body: str
) -> None:
    monkeypatch.setenv("MODEL_RATE", "2")
    write(notebook / "src" / "rates.py", f"import os\n\n\n{body}")
    write(
        notebook / "src" / "rated.py",
        "import rates\n\n\nclass Rated:\n    def predict(self, rows):\n        return rows['a'] * rates.rate()\n",
    )
    rated = importlib.import_module("rated")
    mp.publish(rated.Rated(), name, example=FRAME)
    assert "reads MODEL_RATE, which the endpoint doesn't have" in refused(mp, name)
