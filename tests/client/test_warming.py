"""`import model_platform` and `%load_ext` cost nothing; what a publish needs comes in a thread that nobody notices."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "click", "cloudpickle", "httpx", "ipywidgets", "jinja2", "mlflow", "numpy", "packaging", "pandas", "pydantic", "rich",
    "skops", "sklearn", "uv", "yaml",
}  # fmt: skip

SHELL = """
import os, sys, time, threading, warnings
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.history_manager.enabled = False

def warm():
    while any(thread.name == "warming" for thread in threading.enumerate()):
        time.sleep(0.01)
"""


def python(code: str, folder: Path, *options: str) -> list[str]:
    """The lines that a fresh interpreter prints; nothing may be said beside."""
    environment = {"IPYTHONDIR": str(folder / "ipython"), "MP_HOME": str(folder / "home"), "HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, *options, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_the_import_loads_nothing_heavy(tmp_path: Path) -> None:
    [loaded] = python("import sys, model_platform; print(*{name.partition('.')[0] for name in sys.modules})", tmp_path)
    assert not HEAVY & set(loaded.split())


def test_the_extension_loads_nothing_heavy_by_itself(tmp_path: Path) -> None:
    code = SHELL + (
        "before = set(sys.modules)\n"
        "shell.run_line_magic('load_ext', 'model_platform')\n"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))\n"
        "print(*sorted(name for name in sys.modules if name.startswith('model_platform')))\n"
        "print(any(thread.name == 'warming' for thread in threading.enumerate()))"
    )
    loaded, own, warming = python(code, tmp_path, "-W", "error")
    assert not HEAVY & set(loaded.split())
    assert own.split() == [
        "model_platform", "model_platform.beside", "model_platform.grammar", "model_platform.magics",
        "model_platform.magics.register", "model_platform.warming", "model_platform_core", "model_platform_core.meanings",
    ]  # fmt: skip
    assert warming == "False"  # where a warning is an error, no import may fail half-way


def test_what_a_publish_needs_is_there_before_it_is_asked_for(tmp_path: Path) -> None:
    code = SHELL + (
        "ours = ('MLFLOW', 'KERAS', 'MPL', 'OMP', 'TF_')\n"
        "old = list(warnings.filters)  # libraries add their own when they are imported\n"
        "settings = lambda: ([name for name in os.environ if name.startswith(ours)],"
        " [one for one in warnings.filters if one in old], warnings.showwarning, threading.excepthook)\n"
        "before = settings()\n"
        "shell.run_line_magic('load_ext', 'model_platform')\n"
        "warm()\n"
        "print(settings() == before, 'compile' in vars(__import__('ast')))\n"
        "print(*(name in sys.modules for name in ('mlflow.pyfunc', 'pandas', 'model_platform.capture.variable')))\n"
        "print('sklearn' in sys.modules, 'skops' in sys.modules, 'matplotlib.pyplot' in sys.modules)\n"
        "shell.run_cell('import sklearn.linear_model', silent=False)\n"
        "warm()\n"
        "print('mlflow.sklearn' in sys.modules, 'skops.io' in sys.modules)\n"
        "print(os.path.exists(os.environ['MP_HOME']))"
    )
    unchanged, ours, library, followed, home = python(code, tmp_path)
    assert unchanged == "True False"
    assert ours == "True True True"
    assert library == "False False False"  # what the notebook does not use stays out of its memory
    assert followed == "True True"
    assert home == "False"  # who has never used a server of their own here gets none by loading magics


def test_it_ends_with_the_interpreter(tmp_path: Path) -> None:
    assert python(SHELL + "shell.run_line_magic('load_ext', 'model_platform')\nprint('over')", tmp_path) == ["over"]


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="each reading has its own counter there")
def test_a_cell_that_is_read_is_never_disturbed_by_an_import(tmp_path: Path) -> None:
    """Within the reading of a cell another thread gets its turn, and imports what reads Python itself."""
    code = SHELL + (
        "import ast, gc, inspect\n"
        "from model_platform import warming\n"
        "reading, asked = threading.Event(), threading.Event()\n"
        "def beside():\n"
        "    with warming._apart_from_readers():\n"
        "        ready.set(); reading.wait(); asked.set()\n"
        "        for _ in range(20): inspect.signature(len)\n"
        "ready = threading.Event()\n"
        "thread = threading.Thread(target=beside); thread.start(); ready.wait()\n"
        "def give_way(phase, info):\n"
        "    if phase == 'start' and not reading.is_set():\n"
        "        reading.set(); asked.wait(); time.sleep(0.02)\n"
        "gc.callbacks.append(give_way); gc.set_threshold(20)\n"
        "ast.parse('f(a)(b)(c)[d:e]+' * 200 + '1')\n"
        "gc.callbacks.clear(); thread.join(); print(reading.is_set())"
    )
    assert python(code, tmp_path) == ["True"]
