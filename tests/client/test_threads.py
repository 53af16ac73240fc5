"""Work beside the notebook and Python's own reading of cells: up to Python 3.12 they share one counter of depth."""

from __future__ import annotations

import ast
import builtins
import gc
import importlib.metadata
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from model_platform.capture import editable, environment

CELL = "answers = [model.predict(rows[at : at + 1] + {'x': 1}['x']) for at in range(len(rows))]"
CELLS = 1500


@contextmanager
def collections_let_others_run() -> Iterator[None]:
    """Every few objects the garbage is collected, and every time another thread may run, as with JAX's callback."""

    def give_way(_phase: str, _info: dict[str, int]) -> None:
        time.sleep(0)

    before = gc.get_threshold()
    gc.callbacks.append(give_way)
    gc.set_threshold(5, 1000, 1000)  # young ones alone: the whole heap every time takes minutes
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(give_way)


class _Installed:
    requires = (
        "numpy>=1; python_version >= '3.8' and (extra == 'a' or sys_platform != 'win32' and os_name != 'nt')",
    ) * 9


def requirements() -> None:
    assert len(environment._requirements("churn", {""})) == len(_Installed.requires)


def modules_of_an_editable(folder: Path) -> Callable[[], None]:
    finder = folder / "__editable___churn_finder.py"
    finder.write_text(
        f"MAPPING: dict[str, str] = {{'churn': {str(folder)!r}, \"other\": '/nowhere'}}\nNAMESPACES = {{}}\n"
    )

    def read() -> None:
        assert editable._mapped(finder) == {"churn": folder}

    return read


@pytest.fixture(params=["requirements", "editable"])
def work(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """What a thread beside the notebook does."""
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _name: _Installed)
    return requirements if request.param == "requirements" else modules_of_an_editable(tmp_path)


def test_what_runs_beside_reads_no_python(work: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    plain = builtins.compile

    def noting(source: Any, filename: Any, mode: str, flags: int = 0, *rest: Any, **named: Any) -> Any:
        if flags & ast.PyCF_ONLY_AST:
            read.append(str(source))
        return plain(source, filename, mode, flags, *rest, **named)

    monkeypatch.setattr(builtins, "compile", noting)
    work()
    assert not read
    ast.literal_eval("'what is noted'")
    assert read


def test_what_runs_beside_never_disturbs_a_cell_that_is_read(work: Callable[[], None]) -> None:
    wrong: list[BaseException] = []
    over = threading.Event()

    def beside() -> None:
        while not over.is_set():
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - a SystemError is none of the common ones
                wrong.append(error)

    threads = [threading.Thread(target=beside) for _ in range(2)]
    with collections_let_others_run():
        for thread in threads:
            thread.start()
        try:
            for _ in range(CELLS):
                ast.parse(CELL)
        finally:
            over.set()
            for thread in threads:
                thread.join()
    assert not wrong
