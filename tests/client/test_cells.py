"""The code as it ran and how it differs from the commit: sources alone, and no credential."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from model_platform.capture import origin
from model_platform.capture.cells import MOST_PATCH_BYTES, as_script, seeds_in
from model_platform_core.lineage import CELLS_FILE, PATCH_FILE

CELLS = ["import helper", "%load_ext model_platform", "model = fit(helper.rows())"]


def git(folder: Path, *arguments: str) -> None:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(folder), *arguments]
    subprocess.run(command, check=True, capture_output=True)


def notebook(cells: list[str], outputs: str = "", count: int = 1) -> str:
    made = [
        {"cell_type": "code", "source": cell.splitlines(keepends=True), "execution_count": count, "outputs": [outputs]}
        for cell in cells
    ]
    return json.dumps({"cells": [{"cell_type": "markdown", "source": "# Title"}, *made], "nbformat": 4})


class Work:
    """A repository with a committed notebook, the module that it uses, and cells that run."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.file, self._patch = folder, folder / "churn.ipynb", monkeypatch
        git(folder, "init")
        self.file.write_text(notebook(CELLS))
        (folder / "helper.py").write_text("def rows():\n    return 1\n")
        self.commit()
        module = SimpleNamespace(__file__=str(folder / "helper.py"))
        monkeypatch.setitem(sys.modules, "helper", module)  # type: ignore[arg-type]

    def commit(self) -> None:
        git(self.folder, "add", ".")
        git(self.folder, "commit", "-m", "work")

    def ran(self, *cells: str) -> origin.Origin:
        history = SimpleNamespace(input_hist_raw=["", *cells])
        self._patch.setattr(origin, "shell", lambda: SimpleNamespace(user_ns={}, history_manager=history))
        return origin.find_origin({"JPY_SESSION_NAME": str(self.file)})


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    return Work(tmp_path, monkeypatch)


def test_what_is_committed_is_not_dirty_whatever_was_printed(work: Work) -> None:
    found = work.ran(*CELLS, "%mp_publish model --name churn", "model?")
    assert (found.dirty, found.patch, found.notes) == (False, "", ())
    assert found.executed_cells == 5
    work.file.write_text(notebook(CELLS, outputs="somebody's row", count=7))
    assert work.ran(*CELLS).dirty is False


def test_a_changed_cell_a_cell_that_is_not_there_and_a_changed_module_are_dirty(work: Work) -> None:
    edited = [*CELLS[:2], "model = fit(helper.rows() * 2)"]
    work.file.write_text(notebook(edited, outputs="somebody's row"))
    found = work.ran(*edited)
    assert found.dirty is True
    assert "-model = fit(helper.rows())\n+model = fit(helper.rows() * 2)" in found.patch
    assert "somebody" not in found.patch
    work.commit()
    assert work.ran(*CELLS[:2], "model = fit(helper.rows())", edited[2]).dirty is False  # the same cell, run before
    found = work.ran(*edited, "model.coef_ = 0")
    assert found.dirty is True
    assert "+model.coef_ = 0" in found.patch
    (work.folder / "helper.py").write_text("def rows():\n    return 2\n")
    found = work.ran(*edited)
    assert (found.dirty, found.patch.count("--- a/")) == (True, 1)
    assert "--- a/helper.py\n+++ b/helper.py\n" in found.patch
    git(work.folder, "apply", "--check", "-R", _written(work.folder, found.patch))


def _written(folder: Path, patch: str) -> str:
    (folder / "out.patch").write_text(patch)
    return "out.patch"


def test_other_files_of_the_repository_do_not_count(work: Work) -> None:
    (work.folder / "README.md").write_text("new")
    (work.folder / "unused.py").write_text("new")
    assert work.ran(*CELLS).dirty is False


def test_a_notebook_that_was_never_committed_is_dirty(work: Work) -> None:
    git(work.folder, "rm", "--cached", "churn.ipynb")
    git(work.folder, "commit", "-m", "gone")
    found = work.ran(*CELLS)
    assert found.dirty is True
    assert found.patch.startswith("--- /dev/null")


def test_no_credential_is_kept(work: Work) -> None:
    secret = "Xq7-hunter2-Zk"
    key = "AKIA" + "ABCDEFGHIJKLMNOP"
    cells = [
        f'password = "{secret}"\nrows = 1',
        f"%env DB_PASSWORD={secret}",
        f'connect(\n    host="h",\n    password="{secret}",\n)',
        f'url = "postgresql://me:{secret}@host/db"',
        f"# {key}",
        "kept = 1",
    ]
    (work.folder / "helper.py").write_text(f'API_KEY = "{secret}"\n')
    found = work.ran(*CELLS, *cells)
    everything = as_script(found.code) + found.patch
    assert secret not in everything
    assert key not in everything
    assert "kept = 1" in everything
    assert "rows = 1" in everything
    assert found.dirty is True
    assert [note for note in found.notes if "helper.py" in note]


def test_a_patch_is_not_kept_beyond_its_size(work: Work) -> None:
    (work.folder / "helper.py").write_text("x = 1\n" * (MOST_PATCH_BYTES // 5))
    found = work.ran(*CELLS)
    assert (found.dirty, found.patch) == (True, "")
    assert found.notes == ("the changes are left out: they are larger than 1 MB",)


def test_where_git_fails_the_rest_is_recorded(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin, "_committed", lambda _root, _path: (_ for _ in ()).throw(TimeoutError))
    found = work.ran(*CELLS)
    assert (found.path, found.dirty) == ("churn.ipynb", None)
    assert found.notes == ("what differs from the commit could not be found out (TimeoutError)",)
    monkeypatch.setattr(origin, "_find_origin", lambda _environment: 1 / 0)
    assert work.ran(*CELLS).notes == ("where the code came from could not be found out (ZeroDivisionError)",)


def test_git_is_asked_as_often_for_many_modules_as_for_one(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def counted(command: list[str], **options: Any) -> Any:
        asked.append(command)
        return run(command, **options)

    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", counted)
    assert work.ran(*CELLS).dirty is False
    for_one = len(asked)
    for number in range(40):
        path = work.folder / "many" / f"module {number} of ümlauts.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"number = {number}\n")
        monkeypatch.setitem(sys.modules, f"many_{number}", SimpleNamespace(__file__=str(path)))  # type: ignore[arg-type]
    work.commit()
    (work.folder / "many" / "module 7 of ümlauts.py").write_text("number = 8\n")
    (work.folder / "many" / "new.py").write_text("number = 9\n")
    monkeypatch.setitem(sys.modules, "many_new", SimpleNamespace(__file__=str(work.folder / "many" / "new.py")))  # type: ignore[arg-type]
    asked.clear()
    found = work.ran(*CELLS)
    assert len(asked) == for_one
    assert (found.dirty, found.patch.count("+++ b/")) == (True, 2)
    assert "-number = 7\n+number = 8\n" in found.patch
    assert "--- /dev/null\n+++ b/many/new.py\n" in found.patch


def test_cells_are_written_in_the_order_in_which_they_ran(work: Work, tmp_path: Path) -> None:
    found: Any = work.ran("b = 1", "a = 2\n", "b = 3")
    found.write(tmp_path / "version")
    assert (tmp_path / "version" / CELLS_FILE).read_text() == "# %%\nb = 1\n\n# %%\na = 2\n\n# %%\nb = 3\n\n"
    assert (tmp_path / "version" / PATCH_FILE).read_text() == found.patch


def test_seeds_that_the_code_sets() -> None:
    cells = ["import numpy as np\nnp.random.seed(3)", "rng = np.random.default_rng(7)", "np.random.seed(4)", "seed(x)"]
    assert seeds_in(cells) == {"np.random.seed": 4, "np.random.default_rng": 7}
