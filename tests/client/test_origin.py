"""Where the code came from, and what it needs."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from model_platform.capture import origin
from model_platform.capture.distributions import distributions_of
from model_platform.capture.environment import closure, record_environment
from model_platform.capture.modules import modules_of
from model_platform.capture.watching import watching_imports


def git(folder: Path, *arguments: str) -> None:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(folder), *arguments]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    """A notebook in a repository with a remote address that holds a password."""
    git(tmp_path, "init")
    git(tmp_path, "remote", "add", "origin", "https://me:secret@example.org/team/churn.git?token=secret")
    path = tmp_path / "notebooks" / "churn.ipynb"
    path.parent.mkdir()
    cells = [{"cell_type": "code", "source": one, "outputs": []} for one in ("a = 1", "b = 2")]
    path.write_text(json.dumps({"cells": cells}))
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    return path


def shell_with(monkeypatch: pytest.MonkeyPatch, cells: list[str], **names: Any) -> None:
    monkeypatch.setattr(
        origin,
        "shell",
        lambda: SimpleNamespace(user_ns=names, history_manager=SimpleNamespace(input_hist_raw=["", *cells])),
    )


def test_a_notebook_of_jupyter_in_a_repository(notebook: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell_with(monkeypatch, ["a = 1", "", "b = 2"])
    found = origin.find_origin({"JPY_SESSION_NAME": str(notebook)})
    assert found.path == "notebooks/churn.ipynb"
    assert found.sha256 is not None
    assert found.executed_cells == 2
    assert found.commit is not None
    assert len(found.commit) == 40
    assert found.dirty is False
    assert found.repository == "https://example.org/team/churn.git"
    notebook.write_text('{"cells": []}')
    assert origin.find_origin({"JPY_SESSION_NAME": str(notebook)}).dirty is True


def test_a_session_name_below_the_servers_root(notebook: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell_with(monkeypatch, ["a = 1"])
    monkeypatch.chdir(notebook.parent)
    assert origin.find_origin({"JPY_SESSION_NAME": "work/notebooks/churn.ipynb"}).path == "notebooks/churn.ipynb"


def test_vs_code_names_its_notebook_in_a_variable(notebook: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell_with(monkeypatch, ["a = 1"], __vsc_ipynb_file__=str(notebook))
    assert origin.find_origin({}).path == "notebooks/churn.ipynb"


def test_where_nobody_names_the_notebook_its_cells_stand_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(origin, "_script", lambda: None)
    shell_with(monkeypatch, ["a = 1"])
    found, again = origin.find_origin({}), origin.find_origin({})
    assert found == again
    assert (found.path, found.executed_cells, found.commit) == ("a notebook without a known name", 1, None)
    shell_with(monkeypatch, ["a = 2"])
    assert origin.find_origin({}).sha256 != found.sha256


def test_a_script(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("from model_platform.capture.origin import find_origin\nprint(find_origin())\n")
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "path='train.py'" in done.stdout
    assert "executed_cells=None" in done.stdout


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:password@host:8443/a/b.git", "https://host:8443/a/b.git"),
        ("ssh://git@host/a/b.git", "ssh://host/a/b.git"),
        ("git@host:a/b.git", "git@host:a/b.git"),
        ("/srv/git/b.git", "/srv/git/b.git"),
    ],
)
def test_addresses_lose_their_credentials(url: str, shown: str) -> None:
    assert origin.without_credentials(url) == shown


def test_modules_are_found_without_loading_anything(on_array: tuple[Any, np.ndarray]) -> None:
    assert distributions_of(modules_of(on_array[0])) == {"numpy", "scikit-learn"}


def test_imports_inside_of_a_notebooks_function_are_seen() -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec("def answer(rows):\n    import yaml\n    return [yaml.safe_load(one) for one in rows]\n", namespace)
    assert "PyYAML" in distributions_of(modules_of(namespace["answer"]))


def test_a_function_of_a_script_needs_what_it_uses_and_not_all_that_the_script_imports(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import pandas, numpy, yaml\nfrom model_platform.capture.distributions import distributions_of\nfrom model_platform.capture.modules import modules_of\n"
        "def answer(rows):\n    return numpy.array(rows)\nprint(sorted(distributions_of(modules_of(answer))))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert done.stdout == "['cloudpickle', 'numpy']\n"


def test_what_a_model_imports_while_it_answers_is_seen_loaded_before_or_not() -> None:
    import yaml  # noqa: F401 - is there already, as in a notebook

    names = {"found": "ya" + "ml"}

    def answer() -> None:
        import importlib

        import packaging.tags  # noqa: F401

        import model_platform.errors  # noqa: F401

        importlib.import_module(names["found"])

    with watching_imports() as found:
        answer()
    assert {"yaml", "packaging.tags"} <= found
    assert distributions_of(found) == {"PyYAML", "packaging"}
    answer()
    with watching_imports() as nothing:
        pass
    assert nothing == set()


def test_what_cannot_be_pickled_does_not_stop_the_search() -> None:
    class Held:
        def __init__(self) -> None:
            self.array, self.open = np.zeros(2), open(__file__)  # noqa: SIM115, PTH123

    held = Held()
    try:
        assert "numpy" in distributions_of(modules_of(held))
    finally:
        held.open.close()


def test_the_closure_holds_what_is_required_and_installed() -> None:
    found = closure(["scikit-learn"])
    assert found == sorted(found)
    assert {"scikit-learn", "numpy", "scipy", "joblib"} <= {line.partition("==")[0] for line in found}
    assert f"numpy=={importlib.metadata.version('numpy')}" in found
    assert closure(["no-such-thing"]) == []


def test_the_environment_names_its_interpreter() -> None:
    found = record_environment({"numpy"})
    assert found.interpreter == sys.executable
    assert found.packages == (f"numpy=={importlib.metadata.version('numpy')}",)
    assert all(Path(path).is_dir() for path in found.paths)
