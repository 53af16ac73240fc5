"""What a publish needs is imported while the user reads and types: in a thread that begins with `%load_ext`.

It prints nothing, changes no filter, logger or environment variable, and opens nothing. It has no lower priority than
the kernel's own thread: a thread that holds Python's lock and is not given the processor would stop the kernel. It is
kind by pausing between imports, and by Python itself, which hands over every 5 ms.
"""

from __future__ import annotations

import ast
import functools
import importlib
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from model_platform.beside import Beside

_PAUSE_SECONDS = 0.02
_OWN = ("model_platform.magics.run", "model_platform.magics.completion", "numpy", "pandas")
_MLFLOW = ("mlflow", "mlflow.models", "mlflow.pyfunc")
_BY_LIBRARY: Mapping[str, tuple[str, ...]] = {
    "sklearn": ("mlflow.sklearn", "skops.io"),
    "xgboost": ("mlflow.xgboost",),
    "lightgbm": ("mlflow.lightgbm", "skops.io"),
}
"""What keeps the models of a library that the notebook has imported."""
_ALWAYS_NEEDED = ("numpy", "pandas", "scikit-learn", "skops")
_LOOKS = 100

_beside = Beside()
_begun: Warming | None = None


def begin(shell: Any) -> None:
    """Begin, once in a process. Where warnings are errors nothing is done: an import that fails half-way stays broken."""
    global _begun  # noqa: PLW0603
    if _begun is None and not _raises_warnings():
        _begun = Warming(in_kernel=hasattr(shell, "kernel"))
        _begun.start()
        shell.events.register("post_run_cell", _begun.look_again)


def _raises_warnings() -> bool:
    """Whether one of Python's own warnings is an error; IPython lets one of its own be one."""
    return any(kind[0] == "error" and kind[2].__module__ == "builtins" for kind in warnings.filters)


class Warming:
    """The thread. When there is nothing left to import it ends, and begins again after a cell that imports a library."""

    def __init__(self, *, in_kernel: bool) -> None:
        self._over, self._turn = threading.Event(), threading.Lock()
        self._done: set[str] = set()
        self._first: list[Callable[[], object]] = [functools.partial(_import, name) for name in _OWN]
        self._first += [_find_server] if in_kernel else []
        self._first += [functools.partial(_import_of_mlflow, name) for name in _MLFLOW]
        self._first += [_map_packages]

    def start(self) -> None:
        """Begin, or go on with what is new."""
        _beside.start("warming", self._run, self._over.set)

    def look_again(self, *_result: object) -> None:
        """After a cell: go on where it has imported a library for which there is something to import."""
        if not self._turn.locked() and not self._over.is_set() and self._open():
            self.start()

    def _open(self) -> list[str]:
        return [name for name in _BY_LIBRARY if name in sys.modules and name not in self._done]

    def _run(self) -> None:
        with self._turn, _unheard(), _apart_from_readers():
            while not self._over.wait(_PAUSE_SECONDS) and (step := self._next()):
                with suppress(BaseException):  # who needs it will be told by the import in their own thread
                    step()

    def _next(self) -> Callable[[], object] | None:
        if self._first:
            return self._first.pop(0)
        for library in self._open():
            self._done.add(library)
            return functools.partial(_import_of_mlflow, *_BY_LIBRARY[library])
        return None


def _import(name: str) -> Any:
    return importlib.import_module(name)


def _import_of_mlflow(*names: str) -> None:
    with _import("model_platform.capture.quiet").without_telemetry():
        for name in names:
            _import(name)


def _map_packages() -> None:
    """Which packages hold which modules, MLflow's map and ours; and where nearly every model's packages came from."""
    environment = _import("model_platform.capture.environment")
    _import("model_platform.capture.distributions").distributions_of({"numpy"})
    environment.record_environment(_ALWAYS_NEEDED)
    _import("mlflow.utils.requirements_utils").warn_dependency_requirement_mismatches(environment.pinned(["numpy"]))


def _find_server() -> None:
    """Start the embedded server where this user has used it before, and no other is configured."""
    config, launcher = _import("model_platform.config"), _import("model_platform.embedded.launcher")
    state = config.state_directory()
    if config.find_address().server is None and (state / launcher.TOKEN_FILE).exists() and launcher.find(state) is None:
        launcher.ensure(state, _import("model_platform.display.progress").Progress.silent())


# ---------------------------------------------------------------- beside the user's own code


@contextmanager
def _unheard() -> Iterator[None]:
    """Warnings of this thread are not shown. `catch_warnings` would take back what a cell changes meanwhile."""
    ours, plain = threading.current_thread(), warnings.showwarning

    def show(*given: Any, **named: Any) -> None:
        if threading.current_thread() is not ours:
            plain(*given, **named)

    warnings.showwarning = show
    try:
        yield
    finally:
        if warnings.showwarning is show:
            warnings.showwarning = plain


@contextmanager
def _apart_from_readers() -> Iterator[None]:
    """What this thread imports reads Python (`inspect.signature` does) only while no other thread reads any.

    Else a cell might fail with a SystemError before Python 3.13; model_platform_core.requirements says why.
    """
    if sys.version_info >= (3, 13) or "compile" in vars(ast):
        yield
        return
    ours = threading.current_thread()

    def apart(*given: Any, **named: Any) -> Any:
        looks = 0
        while threading.current_thread() is ours and looks < _LOOKS and _somebody_reads():
            looks += 1
            time.sleep(0.001)
        return compile(*given, **named)

    vars(ast)["compile"] = apart
    try:
        yield
    finally:
        del vars(ast)["compile"]


def _somebody_reads() -> bool:
    """Whether another thread is within the reading of a text; a garbage collection there lets us run."""
    ours = threading.get_ident()
    return any(_reads(frame) for thread, frame in sys._current_frames().items() if thread != ours)  # noqa: SLF001


def _reads(frame: Any) -> bool:
    while frame is not None:
        if frame.f_code.co_name in {"parse", "ast_parse"} and frame.f_code.co_filename.endswith(_READERS):
            return True
        frame = frame.f_back
    return False


_READERS = ("ast.py", "compilerop.py")
