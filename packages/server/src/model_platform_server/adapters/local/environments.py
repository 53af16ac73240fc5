"""Which Python runs a model: the one that made it, if that still has what the model needs, else one built for it."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from model_platform_core.environments import EnvironmentRecord
from model_platform_core.errors import EnvironmentFailedError
from model_platform_server.adapters.local import files, uv
from model_platform_server.adapters.local.interpreters import Interpreter, interpreter, own
from model_platform_server.adapters.local.requirements import Needs, needs_of
from model_platform_server.ports import RunnerPlan

_OLDEST = (3, 10)  # of the Pythons that the runner works with


@dataclass(frozen=True)
class Environment:
    """A Python that has what a model needs; `paths` are folders that it must be told to look into as well."""

    interpreter: Interpreter
    paths: tuple[str, ...] = ()


class Environments:
    """Environments of models: borrowed from where the model was made, or built once and kept by what is in them."""

    def __init__(self, folder: Path) -> None:
        self._folder = files.private_folder(folder)

    def find(self, plan: RunnerPlan) -> Environment | None:
        """The environment of a model, if it is there; nothing is built."""
        needs = needs_of(plan)
        return self._borrowed(plan.environment, needs) or self._built(needs)

    def make(self, plan: RunnerPlan, report: Callable[[str], None]) -> Environment:
        """The environment of a model; built if it is not there.

        Raises
        ------
        EnvironmentFailedError
            Says which package or Python could not be had, and what to do.
        """
        found = self.find(plan)
        if found is None:
            found = self._build(needs_of(plan), _base(plan), report)
        if found.interpreter.version < _OLDEST:
            raise EnvironmentFailedError(
                f"The model was made with Python {_minor(found.interpreter)}; models are served with Python 3.10 or later.",
                hint="train and publish it with a newer Python",
            )
        return found

    def _borrowed(self, record: EnvironmentRecord | None, needs: Needs) -> Environment | None:
        found = _maker(record)
        if record is None or found is None or _minor(found) != needs.python:
            return None
        paths = tuple(path for path in record.paths if path not in found.paths and Path(path).is_dir())
        return None if found.lacks(needs.lines, paths) else Environment(found, paths)

    def _built(self, needs: Needs) -> Environment | None:
        found = interpreter(self._folder / needs.key / "bin" / "python")
        return Environment(found) if found else None

    def _build(self, needs: Needs, base: Path | None, report: Callable[[str], None]) -> Environment:
        final = self._folder / needs.key
        with files.storing(final), self._alone(needs.key, report):
            if self._built(needs) is None:
                made = Path(tempfile.mkdtemp(dir=self._folder, prefix=".making-"))
                try:
                    uv.make_environment(made / "env", needs.python, base, report)
                    uv.install(needs.lines, made / "env" / "bin" / "python", report)
                    shutil.rmtree(final, ignore_errors=True)
                    (made / "env").rename(final)
                finally:
                    shutil.rmtree(made, ignore_errors=True)
            built = self._built(needs)
        if built is None:
            raise EnvironmentFailedError(f"The environment that was built in {final} does not run.")
        return built

    @contextmanager
    def _alone(self, key: str, report: Callable[[str], None]) -> Iterator[None]:
        """One builder at a time, in this process or another; the system lets go of the lock of a dead one."""
        descriptor = os.open(self._folder / f"{key}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                report("waiting for another build of the same environment")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _maker(record: EnvironmentRecord | None) -> Interpreter | None:
    """The Python that made a model, if that was on this machine and is still there."""
    if record is None or record.interpreter is None or record.host != platform.node():
        return None
    return interpreter(Path(record.interpreter))


def _base(plan: RunnerPlan) -> Path | None:
    """A Python of the right minor version of which we know: the one that made the model, or our own."""
    wanted = needs_of(plan).python
    known = [_maker(plan.environment), own()]
    return next((found.python for found in known if found and _minor(found) == wanted), None)


def _minor(found: Interpreter) -> str:
    return ".".join(map(str, found.version))
