"""What a publish needs is imported between the cells: by the kernel itself, while nobody has anything for it to do.

Not in a thread: libraries look into `sys.modules` for one another, and a cell would meet a module that is only half
there; nor may two threads read Python at once (model_platform_core.requirements). A cell waits for one import at most.
Nothing is printed, and no environment variable, logger or filter is ours.
"""

from __future__ import annotations

import functools
import importlib
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from model_platform.beside import Beside

_IDLE_SECONDS = 0.5
_PAUSE_SECONDS = 0.05
_OWN = ("model_platform.magics.run", "model_platform.magics.completion")
_MLFLOW = ("pandas", "mlflow", "mlflow.models", "mlflow.pyfunc")
_BY_LIBRARY: Mapping[str, tuple[str, ...]] = {
    "sklearn": ("scipy.stats", "mlflow.sklearn", "skops.io"),
    "xgboost": ("mlflow.xgboost",),
    "lightgbm": ("mlflow.lightgbm", "skops.io"),
}
"""What keeps the models of a library that the notebook has imported."""
_ALWAYS_NEEDED = ("numpy", "pandas", "scikit-learn", "skops")

_beside = Beside()
_begun: Warming | None = None


def begin(shell: Any) -> None:
    """Begin, once in a kernel. Where warnings are errors nothing is done: an import that fails half-way stays broken."""
    global _begun  # noqa: PLW0603
    loop = getattr(getattr(shell, "kernel", None), "io_loop", None)
    if _begun is None and loop is not None and not _raises_warnings():
        _begun = Warming(loop.call_later)
        shell.events.register("pre_run_cell", _begun.pause)
        shell.events.register("post_run_cell", _begun.go_on)


def _raises_warnings() -> bool:
    """Whether one of Python's own warnings is an error; IPython lets one of its own be one."""
    return any(kind[0] == "error" and kind[2].__module__ == "builtins" for kind in warnings.filters)


class Warming:
    """Step by step, each once the kernel has been idle for a while; after a cell that imports a library, what keeps it.

    Parameters
    ----------
    later
        Has the kernel call something so many seconds from now.
    """

    def __init__(self, later: Callable[[float, Callable[[], None]], object]) -> None:
        self._later = later
        self._idle_since: float | None = None  # None while a cell runs, as that which loads the magics does now
        self._waiting = False
        self._done: set[str] = set()
        self._first: list[Callable[[], object]] = [functools.partial(_import, name) for name in _OWN]
        self._first += [_find_server]
        # Not before the notebook itself has imported NumPy: what it sets or installs for NumPy, it does before.
        self._then: list[Callable[[], object]] = [functools.partial(_import_of_mlflow, name) for name in _MLFLOW]
        self._then += [_map_packages]

    def pause(self, *_cell: object) -> None:
        """A cell begins."""
        self._idle_since = None

    def go_on(self, *_result: object) -> None:
        """A cell has ended."""
        self._idle_since = time.monotonic()
        if not self._waiting:
            self._wait(_IDLE_SECONDS)

    def _wait(self, seconds: float) -> None:
        self._waiting = True
        self._later(seconds, self._step)

    def _step(self) -> None:
        self._waiting = False
        if self._idle_since is None:
            return
        if (left := self._idle_since + _IDLE_SECONDS - time.monotonic()) > 0:
            self._wait(left)
        elif step := self._next():
            with suppress(Exception), _unheard():  # who needs it will be told by their own import
                step()
            self._wait(_PAUSE_SECONDS)

    def _next(self) -> Callable[[], object] | None:
        if self._first:
            return self._first.pop(0)
        if "numpy" not in sys.modules:
            return None
        if self._then:
            return self._then.pop(0)
        for library, names in _BY_LIBRARY.items():
            for name in names if library in sys.modules else ():
                if name not in self._done:
                    self._done.add(name)
                    return functools.partial(_import_of_mlflow, name)
        return None


def _import(name: str) -> Any:
    return importlib.import_module(name)


def _import_of_mlflow(name: str) -> None:
    with _import("model_platform.capture.quiet").without_telemetry():
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
        silent = _import("model_platform.display.progress").Progress.silent()

        def start() -> None:
            with suppress(Exception):  # the first verb tells it
                launcher.ensure(state, silent)

        _beside.start("server", start, lambda: None)


@contextmanager
def _unheard() -> Iterator[None]:
    """Warnings are not shown. `catch_warnings` would take back the filters that libraries bring."""
    plain = warnings.showwarning
    warnings.showwarning = lambda *_given, **_named: None
    try:
        yield
    finally:
        warnings.showwarning = plain
