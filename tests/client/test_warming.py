"""`import model_platform` and `%load_ext` cost nothing; what a publish needs is imported while the kernel is idle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HEAVY = {
    "click", "cloudpickle", "httpx", "ipywidgets", "jinja2", "mlflow", "numpy", "packaging", "pandas", "pydantic", "rich",
    "skops", "sklearn", "uv", "yaml",
}  # fmt: skip

SHELL = """
import os, sys, time, types, threading, warnings
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.history_manager.enabled = False
orders = []
shell.kernel = types.SimpleNamespace(io_loop=types.SimpleNamespace(call_later=lambda seconds, call: orders.append(call)))

def warm():
    while orders:
        orders.pop()()
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
        "shell.run_cell('%load_ext model_platform')\n"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))\n"
        "print(*sorted(name for name in sys.modules if name.startswith('model_platform')))\n"
        "print(bool(orders))"
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
        "shell.run_cell('%load_ext model_platform')\n"
        "orders[0]()\n"  # a cell has just ended
        "print('mlflow' in sys.modules, len(orders))\n"
        "from model_platform import warming; warming._IDLE_SECONDS = 0\n"
        "warm()\n"
        "print(*(name in sys.modules for name in ('numpy', 'pandas', 'mlflow')))\n"
        "shell.run_cell('import numpy', silent=False)\n"
        "warm()\n"
        "print(settings() == before)\n"
        "print(*(name in sys.modules for name in ('mlflow.pyfunc', 'pandas', 'model_platform.capture.variable')))\n"
        "print('sklearn' in sys.modules, 'skops' in sys.modules, 'matplotlib.pyplot' in sys.modules)\n"
        "shell.run_cell('import sklearn.linear_model', silent=False)\n"
        "warm()\n"
        "print('mlflow.sklearn' in sys.modules, 'skops.io' in sys.modules)\n"
        "print(os.path.exists(os.environ['MP_HOME']))"
    )
    waits, early, unchanged, ours, library, followed, home = python(code, tmp_path)
    assert waits == "False 2"  # it comes back when the kernel has been idle for longer
    assert early == "False False False"  # what the notebook sets for NumPy's threads, or installs, it does in time
    assert unchanged == "True"
    assert ours == "True True True"
    assert library == "False False False"  # what the notebook does not use stays out of its memory
    assert followed == "True True"
    assert home == "False"  # who has never used a server of their own here gets none by loading magics


def test_nothing_is_imported_while_a_cell_runs(tmp_path: Path) -> None:
    code = SHELL + (
        "shell.run_cell('%load_ext model_platform')\n"
        "from model_platform import warming; warming._IDLE_SECONDS = 0\n"
        "before = set(sys.modules)\n"
        "shell.user_ns['warm'] = warm\n"
        "shell.run_cell('warm()')\n"
        "print('mlflow' in sys.modules, 'pandas' in sys.modules)"
    )
    assert python(code, tmp_path) == ["False False"]


def test_without_a_kernel_nothing_is_done(tmp_path: Path) -> None:
    code = SHELL.replace("shell.kernel", "nothing") + "shell.run_cell('%load_ext model_platform')\nprint(len(orders))"
    assert python(code, tmp_path) == ["0"]
