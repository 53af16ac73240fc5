# ruff: noqa: ISC004 - cells that are longer than a line
"""Functions and classes of a notebook: as text where that gives what the notebook holds, else by value."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import start_new_kernel


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BlockingKernelClient]:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(tmp_path))
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    manager.cleanup_resources()


def run(kernel: BlockingKernelClient, cell: str) -> str:
    """What the cell prints; its error in words if it fails."""
    said: list[str] = []

    def hear(message: dict[str, Any]) -> None:
        content = message["content"]
        if message["msg_type"] == "stream" and content["name"] == "stdout":
            said.append(content["text"])
        elif message["msg_type"] == "error":
            said.append("\n".join(content["traceback"]))

    kernel.execute_interactive(cell, timeout=120, output_hook=hear)
    return "".join(said)


CELLS = """
import dataclasses, functools, warnings
import numpy as np
import pandas as pd
import xml.dom.minidom
from sklearn.preprocessing import StandardScaler
---
RATE = 1.5
scaler = StandardScaler().fit([[1.0], [2.0]])
X = pd.DataFrame({"a": [1.0, 2.0]})
---
def noisy(function):
    @functools.wraps(function)
    def call(*given):
        return function(*given)
    return call
---
@dataclasses.dataclass
class Config:
    factor: int = 3

config = Config(4)
---
class Base:
    # a comment that a person wants to read
    def times(self, value):
        return value * RATE
---
@noisy
def half(value):
    return value / 2
---
class Mine(Base):
    def predict(self, rows):
        xml.dom.minidom.parseString("<a/>")
        return scaler.transform(rows[["a"]].to_numpy())[:, 0] * config.factor + self.times(half(1.0))
---
from pathlib import Path
from model_platform.capture.publish import Order
from model_platform.capture.variable import variable

def save(model, name):
    found = variable(Order(model, "m", example=X))(False)
    found.write(Path(name))
    return found.code
""".strip().split("\n---\n")

ANSWERS = (
    "import sys, json, warnings; warnings.simplefilter('ignore')\n"
    "import mlflow.pyfunc, pandas as pd\nmodel = mlflow.pyfunc.load_model(sys.argv[1])\n"
    "print(json.dumps(list(map(float, model.predict(pd.DataFrame({'a': [1.0, 2.0]}))))))"
)


def answers_elsewhere(folder: Path) -> list[float]:
    """What a process answers that knows nothing of the notebook."""
    done = subprocess.run(
        [sys.executable, "-c", ANSWERS, str(folder)], capture_output=True, text=True, timeout=120, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def test_classes_of_a_notebook_travel_as_text_that_a_person_can_read(
    kernel: BlockingKernelClient, tmp_path: Path
) -> None:
    for cell in CELLS:
        assert run(kernel, cell) == ""
    told = run(kernel, "code = save(Mine(), 'first')\nprint(code.by_value, sorted(code.written.defined))")
    assert told == "() ['Base', 'Config', 'Mine', 'half', 'noisy']\n"
    (written,) = (tmp_path / "first" / "code").glob("notebook_*.py")
    source = written.read_text()
    assert "    # a comment that a person wants to read\n" in source
    assert "RATE = 1.5\n" in source
    assert "import numpy" not in source
    assert "@noisy\ndef half(value):" in source
    assert b"code" not in (tmp_path / "first" / "python_model.pkl").read_bytes()  # it refers to the text, and no more
    assert answers_elsewhere(tmp_path / "first") == json.loads(run(kernel, "print(Mine().predict(X).tolist())"))
    assert run(kernel, "print(Mine.__module__, half.__module__)") == "__main__ __main__\n"


def test_the_definition_that_answers_is_the_one_that_travels(kernel: BlockingKernelClient, tmp_path: Path) -> None:
    for cell in CELLS:
        run(kernel, cell)
    run(kernel, "def answer(rows):\n    return rows['a'] * 2")
    run(kernel, "first = answer")
    run(kernel, "def answer(rows):\n    return rows['a'] * 30")
    assert run(kernel, "print(save(answer, 'new').by_value)") == "()\n"
    assert run(kernel, "print(save(first, 'old').by_value)") == "('answer',)\n"
    assert answers_elsewhere(tmp_path / "new") == [30.0, 60.0]
    assert answers_elsewhere(tmp_path / "old") == [2.0, 4.0]


def test_what_has_no_text_of_its_own_travels_by_value(kernel: BlockingKernelClient, tmp_path: Path) -> None:
    for cell in CELLS:
        run(kernel, cell)
    run(kernel, "def maker(factor):\n    def inner(rows):\n        return rows['a'] * factor\n    return inner")
    assert run(kernel, "print(save(maker(5), 'made').by_value)") == "('maker.<locals>.inner',)\n"
    assert run(kernel, "print(save(lambda rows: rows['a'] + 1, 'small').by_value)") == "('<lambda>',)\n"
    assert answers_elsewhere(tmp_path / "made") == [5.0, 10.0]
    assert answers_elsewhere(tmp_path / "small") == [2.0, 3.0]


def test_what_a_notebook_must_not_send(kernel: BlockingKernelClient) -> None:
    for cell in CELLS:
        run(kernel, cell)
    run(kernel, "API_KEY = 'sk-0123456789abcdef0123456789'\ndef secretive(rows):\n    return rows['a'] * len(API_KEY)")
    assert "uses API_KEY, which looks like a credential" in run(kernel, "save(secretive, 'no')")
    run(
        kernel,
        "import sqlite3\ndatabase = sqlite3.connect(':memory:')\ndef asking(rows):\n    return rows['a'] if database else 0",
    )
    assert "uses database: an open Connection" in run(kernel, "save(asking, 'no')")
    run(kernel, "big = pd.DataFrame(np.zeros((1000, 2000)))\ndef dragging(rows):\n    return rows['a'] * len(big)")
    assert "The function dragging drags big along, 16.0 MB" in run(kernel, "save(dragging, 'no')")
    run(kernel, "class Dragging:\n    def predict(self, rows):\n        return rows['a'] * len(big)")
    assert "drags big along, 16.0 MB" in run(kernel, "save(Dragging(), 'no')")


def published(kernel: BlockingKernelClient, cells: list[str], folder: Path) -> str:
    """What the card lists by value for `model` of these cells; it answers elsewhere as it does in the notebook."""
    for cell in cells:
        assert run(kernel, cell) == ""
    by_value = run(kernel, f"print(*save(model, {folder.name!r}).by_value)").strip()
    here = run(kernel, "print([float(one) for one in (model.predict(X) if hasattr(model, 'predict') else model(X))])")
    assert answers_elsewhere(folder) == json.loads(here)
    return by_value


CHANGED = {
    "an attribute of a class": (
        "A",
        "class A:\n    threshold = 0.5\n    def predict(self, rows):\n        return rows['a'] * self.threshold",
        "A.threshold = 0.9\nmodel = A()",
    ),
    "a class without code": (
        "A",
        "class A:\n    threshold = 0.5\n\ndef model(rows):\n    return rows['a'] * A.threshold",
        "A.threshold = 0.9",
    ),
    "a method of a class": (
        "<lambda> A",
        "class A:\n    @property\n    def rate(self):\n        return 1\n    def predict(self, rows):\n        return rows['a'] * self.rate",
        "A.rate = property(lambda self: 5)\nmodel = A()",
    ),
    "what a default was": ("model", "T = 0.5\ndef model(rows, t=T):\n    return rows['a'] * t", "T = 0.9"),
    "a default by name": ("model", "T = 0.5\ndef model(rows, *, t=T):\n    return rows['a'] * t", "T = 0.9"),
    "defaults afterwards": ("model", "def model(rows, t=1):\n    return rows['a'] * t", "model.__defaults__ = (7,)"),
    "an attribute of a function": (
        "model",
        "def model(rows):\n    return rows['a'] * getattr(model, 'rate', 1)",
        "model.rate = 4",
    ),
    "a base class": (
        "A B",
        "class B:\n    rate = 2\nclass A(B):\n    def predict(self, rows):\n        return rows['a'] * self.rate\nmodel = A()",
        "class B:\n    rate = 3",
    ),
    "a decorator": (
        "model",
        "def doubled(function):\n    @functools.wraps(function)\n    def call(rows):\n        return function(rows) * 2\n"
        "    return call\n@doubled\ndef model(rows):\n    return rows['a']",
        "def doubled(function):\n    @functools.wraps(function)\n    def call(rows):\n        return function(rows) * 3\n"
        "    return call",
    ),
    "what a decorator was given": (
        "model",
        "K = 2\ndef times(factor):\n    def around(function):\n        @functools.wraps(function)\n        def call(rows):\n"
        "            return function(rows) * factor\n        return call\n    return around\n@times(K)\ndef model(rows):\n    return rows['a']",
        "K = 3",
    ),
    "a wrapper put around it later": (
        "model",
        "def doubled(function):\n    @functools.wraps(function)\n    def call(rows):\n        return function(rows) * 2\n"
        "    return call\ndef model(rows):\n    return rows['a']",
        "model = doubled(model)",
    ),
}


def test_what_is_not_as_its_text_says_travels_by_value(kernel: BlockingKernelClient, tmp_path: Path) -> None:
    for cell in (*CELLS[:2], CELLS[-1]):
        run(kernel, cell)
    found = {}
    for number, (what, (_, *cells)) in enumerate(CHANGED.items()):
        found[what] = published(kernel, cells, tmp_path / f"changed{number}")
    assert found == {what: names for what, (names, *_) in CHANGED.items()}


AS_WRITTEN = [
    "RATES = {'a': 2}\n@functools.cache\ndef rate(name='a'):\n    return RATES[name]",
    "@functools.lru_cache(maxsize=4)\ndef other():\n    return rate() + 1",
    "def times(factor=3):\n    def around(function):\n        @functools.wraps(function)\n        def call(*given):\n"
    "            return function(*given) * factor\n        return call\n    return around",
    "import enum, abc, typing, contextlib\n@times()\ndef third(value, by=config.factor if False else 1):\n    return value / by",
    "@contextlib.contextmanager\ndef opened():\n    yield 1.0",
    "class Kind(enum.Enum):\n    LOW = 1\n    HIGH = 2\n    @property\n    def weight(self):\n        return self.value * 10",
    "class Pair(typing.NamedTuple):\n    left: int = 1\n    right: int = 2",
    "class Plain:\n    low, high = 1, [1.0, float('nan')]\n    made = np.arange(3)\n    kind = Kind.HIGH",
    "class Ruled(abc.ABC):\n    __slots__ = ('x',)\n    @abc.abstractmethod\n    def rule(self): ...",
    "@dataclasses.dataclass\nclass Options:\n    names: list = dataclasses.field(default_factory=list)\n    limit: float = 2.0",
    "from sklearn.base import BaseEstimator, TransformerMixin\nclass Step(TransformerMixin, BaseEstimator):\n"
    "    def fit(self, X, y=None, sample_weight=None):\n        return self\n    def transform(self, X):\n        return X * 2",
    "@functools.singledispatch\ndef alone(value):\n    return value",
    "class Model:\n    @functools.cached_property\n    def kept(self):\n        return 5\n"
    "    @functools.lru_cache\n    def cached(self):\n        return 7\n"
    "    @staticmethod\n    def fixed(value, by=Kind.LOW):\n        return value * by.weight\n"
    "    @functools.singledispatchmethod\n    def told(self, value):\n        return 1\n"
    "    @told.register\n    def _(self, value: str):\n        return 2\n"
    "    def predict(self, rows):\n        with opened() as one:\n"
    "            return (alone(rate()) + other() + third(1.0) + one + Kind.HIGH.weight + Pair().right + Plain.made.sum()\n"
    "                    + issubclass(Ruled, abc.ABC) + Options().limit + self.kept + self.cached() + self.fixed(2)\n"
    "                    + self.told('a') + Step().transform(rows['a']))\nmodel = Model()",
]


def test_what_is_as_its_text_says_travels_as_text(kernel: BlockingKernelClient, tmp_path: Path) -> None:
    for cell in CELLS:
        run(kernel, cell)
    assert published(kernel, AS_WRITTEN, tmp_path / "written") == ""
    (written,) = (tmp_path / "written" / "code").glob("notebook_*.py")
    assert "@functools.cache\ndef rate(name='a'):\n" in written.read_text()


def test_wrappers_of_functools_whose_text_is_not_known_are_refused(kernel: BlockingKernelClient) -> None:
    for cell in (*CELLS[:2], CELLS[-1]):
        run(kernel, cell)
    run(
        kernel,
        "@functools.singledispatch\ndef told(value):\n    return 1\ndef answer(rows):\n    return rows['a'] * told(1)",
    )
    run(kernel, "@told.register\ndef _(value: int):\n    return 2")
    said = run(kernel, "save(answer, 'no')")
    assert "told is wrapped by functools.singledispatch, and what it does by now stands in no single cell" in said
    run(
        kernel,
        "def made(factor):\n    @functools.cache\n    def inner():\n        return factor\n    return inner\nlater = made(3)",
    )
    run(kernel, "def answer(rows):\n    return rows['a'] * later()")
    assert "inner is wrapped by functools.cache" in run(kernel, "save(answer, 'no')")


def test_nothing_of_the_notebook_changes_while_its_text_is_run_again(kernel: BlockingKernelClient) -> None:
    for cell in (*CELLS[:2], CELLS[-1]):
        run(kernel, cell)
    run(kernel, "KNOWN = []\ndef known(one):\n    KNOWN.append(one.__name__)\n    return one")
    run(kernel, "class Base:\n    def __init_subclass__(cls):\n        KNOWN.append(cls.__name__)")
    run(kernel, "@known\nclass One:\n    def predict(self, rows):\n        return rows['a']")
    run(kernel, "class Two(Base):\n    def predict(self, rows):\n        return rows['a']")
    assert run(kernel, "print(save(One(), 'one').by_value, len(KNOWN))") == "() 2\n"
    assert run(kernel, "print(save(Two(), 'two').by_value, len(KNOWN))") == "('Two',) 2\n"
    run(kernel, "class Three:\n    KNOWN.append('three')\n    def predict(self, rows):\n        return rows['a']")
    assert run(kernel, "print(save(Three(), 'three').by_value, len(KNOWN))") == "('Three',) 3\n"
    run(kernel, "COUNT = iter(range(9))\ndef four(rows, first=next(COUNT)):\n    return rows['a'] + first")
    assert run(kernel, "print(save(four, 'four').by_value, next(COUNT))") == "('four',) 1\n"
