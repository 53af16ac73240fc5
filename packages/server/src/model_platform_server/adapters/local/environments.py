"""Which Python runs a model: one that was built for it, or until then the one that made it, if that has all it needs."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from model_platform_core.environments import EnvironmentRecord
from model_platform_core.errors import EnvironmentFailedError, StorageUnavailableError
from model_platform_core.values import Observed, digest_of
from model_platform_server.adapters.local import files, locked, processes
from model_platform_server.adapters.local.interpreters import Interpreter, interpreter, own
from model_platform_server.adapters.local.requirements import Needs, named, needs_of
from model_platform_server.adapters.local.uv import Uv
from model_platform_server.ports import RunnerPlan

_OLDEST = (3, 10)  # of the Pythons that the runner works with
_MAKING = ".making-"
_DESCRIPTION = "model-platform.json"


@dataclass(frozen=True)
class Environment:
    """A Python that has what a model needs; `paths` are folders that it must be told to look into as well."""

    interpreter: Interpreter
    paths: tuple[str, ...] = ()

    def stamp(self) -> str:
        """Another one after anything was installed, removed or replaced in the folders in which modules are found."""
        return digest_of([[path, _changed(Path(path))] for path in (*self.paths, *self.interpreter.paths)])


class Description(Observed):
    """What was built, as it is written into the environment's folder."""

    python: str
    packages: tuple[str, ...]
    made_at: dt.datetime


@dataclass(frozen=True)
class KeptEnvironment:
    """An environment that was built here, by the hash of what is in it."""

    key: str
    description: Description
    bytes: int


class Environments:
    """Environments of models: borrowed from where the model was made, or built once and kept by what is in them.

    Parameters
    ----------
    folder
        Where they are kept. What an earlier server was making when it died is ended and removed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = files.private_folder(folder)
        self._uv, self._quiet_uv = Uv(), Uv(low=True)
        end_builds(self._folder)
        self._sweep()

    # ---------------------------------------------------------------- finding

    def find(self, plan: RunnerPlan) -> Environment | None:
        """The environment of a model, if it is there; nothing is built. One of its own goes before a borrowed one."""
        return self.built(plan) or self.borrowed(plan)

    def has(self, key: str) -> bool:
        """Whether the one of this hash was built and is still there."""
        return (self._folder / key / "bin" / "python").exists()

    def built(self, plan: RunnerPlan) -> Environment | None:
        """The one that was built for what the model needs."""
        return self.at(needs_of(plan).key)

    def at(self, key: str) -> Environment | None:
        """The one of this hash."""
        found = interpreter(self._folder / key / "bin" / "python")
        return Environment(found) if found else None

    def digests(self, key: str) -> Mapping[str, tuple[str, ...]]:
        """What indexes gave for the one of this hash when it was first built here, by package; empty if it was not."""
        return locked.read_digests(self._digests(key)) or {}

    def _digests(self, key: str) -> Path:
        return self._folder / f"{key}.digests"

    def borrowed(self, plan: RunnerPlan) -> Environment | None:
        """The one that made the model, if it is on this machine and fulfils every line of what the model needs."""
        record, needs = plan.environment, needs_of(plan)
        found = _maker(record)
        if record is None or found is None or _minor(found) != needs.python:
            return None
        paths = (*locked.lay_out(needs, self._folder), *_also(record, found))
        return None if found.lacks(needs.lines, needs.origins, paths) else Environment(found, paths)

    def why_not_borrowed(self, plan: RunnerPlan) -> str:
        """In a sentence, why the environment in which the model was made does not do any more."""
        record, needs = plan.environment, needs_of(plan)
        found = _maker(record)
        if record is None or found is None:
            return "The environment in which the model was made is not there any more."
        looked_for = [line for line in needs.lines if named(line) not in needs.wheels]
        lacking = found.lacks(looked_for, needs.origins, _also(record, found))
        if _minor(found) != needs.python or not lacking:
            return f"The environment in which the model was made has Python {_minor(found)} now, not {needs.python}."
        has = found.version_of(lacking[0], _also(record, found))
        there = f"is {has} now" if has else "is none now"
        if has and not found.lacks(lacking[:1], {}, _also(record, found)):
            there = "is another one of that version now"
        more = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
        return (
            f"The environment in which the model was made has changed: the model needs {lacking[0]}{more}, and there "
            f"{there}."
        )

    # ---------------------------------------------------------------- building

    def make(self, plan: RunnerPlan, report: Callable[[str], None], *, borrow: bool = True) -> Environment:
        """The environment of a model; built if it is not there and none can be borrowed.

        Raises
        ------
        EnvironmentFailedError
            Says which package or Python could not be had, and what to do.
        """
        found = self.find(plan) if borrow else self.built(plan)
        if found is None:
            found = self._build(plan, report, self._uv)
        return _not_too_old(found)

    def build(self, plan: RunnerPlan) -> None:
        """Build what the model needs, giving way to everything else; nothing if it is there.

        Raises
        ------
        EnvironmentFailedError, StorageUnavailableError
            As for `make`.
        """
        if self.built(plan) is None:
            _not_too_old(self._build(plan, lambda _words: None, self._quiet_uv))

    def end(self) -> None:
        """End what is being built; nothing half is left, and nothing is begun any more."""
        self._uv.end()
        self._quiet_uv.end()

    def _build(self, plan: RunnerPlan, report: Callable[[str], None], uv: Uv) -> Environment:
        needs = needs_of(plan)
        final = self._folder / needs.key
        with files.storing(final), self._alone(needs.key, report):
            if self.built(plan) is None:
                made = Path(tempfile.mkdtemp(dir=self._folder, prefix=_MAKING))
                try:
                    self._fill(made / "env", needs, _base(plan), report, uv)
                    shutil.rmtree(final, ignore_errors=True)
                    (made / "env").rename(final)
                finally:
                    shutil.rmtree(made, ignore_errors=True)
            built = self.built(plan)
        if built is None:
            raise EnvironmentFailedError(f"The environment that was built in {final} does not run.")
        return built

    def _fill(self, folder: Path, needs: Needs, base: Path | None, report: Callable[[str], None], uv: Uv) -> None:
        uv.make_environment(folder, needs.python, base, report)
        locked.install(needs, folder / "bin" / "python", uv, self._digests(needs.key), report)
        description = Description(python=needs.python, packages=needs.lines, made_at=dt.datetime.now(dt.UTC))
        files.replace(folder / _DESCRIPTION, description.model_dump_json())

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

    def _sweep(self) -> None:
        for folder in self._folder.glob(f"{_MAKING}*"):
            shutil.rmtree(folder, ignore_errors=True)

    # ---------------------------------------------------------------- what is kept

    def kept(self) -> list[KeptEnvironment]:
        """Every environment that was built, by its hash."""
        found = []
        for file in sorted(self._folder.glob(f"[!.]*/{_DESCRIPTION}")):
            with contextlib.suppress(OSError, ValueError):
                described = Description.model_validate_json(file.read_text())
                found.append(KeptEnvironment(file.parent.name, described, _bytes(file.parent)))
        return found

    def remove(self, key: str) -> None:
        """Remove an environment that was built; it is built again when something needs it.

        Raises
        ------
        StorageUnavailableError
            If it cannot be removed.
        """
        goes = Path(tempfile.mkdtemp(dir=self._folder, prefix=_MAKING))
        try:
            (self._folder / key).rename(goes / "env")  # at once: nobody finds half of it
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StorageUnavailableError(f"{self._folder / key} cannot be removed: {error.strerror}.") from error
        finally:
            shutil.rmtree(goes, ignore_errors=True)

    def remove_wheels(self, keep: Container[str]) -> None:
        """Remove what was laid out beside borrowed environments, but for these hashes."""
        for folder in self._folder.glob(f"{locked.LAID_OUT}*"):
            if folder.name.removeprefix(locked.LAID_OUT) not in keep:
                shutil.rmtree(folder, ignore_errors=True)


def end_builds(folder: Path) -> int:
    """End what builds environments in this folder; how many processes that were."""
    found = [one for several in processes.running(f"{folder}/{_MAKING}").values() for one in several]
    processes.end(found, grace=0)
    return len(found)


def _changed(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_mtime_ns
    return 0


def _not_too_old(found: Environment) -> Environment:
    if found.interpreter.version < _OLDEST:
        raise EnvironmentFailedError(
            f"The model was made with Python {_minor(found.interpreter)}; models are served with Python 3.10 or later.",
            hint="train and publish it with a newer Python",
        )
    return found


def _maker(record: EnvironmentRecord | None) -> Interpreter | None:
    """The Python that made a model, if that was on this machine and is still there."""
    if record is None or record.interpreter is None or record.host != platform.node():
        return None
    return interpreter(Path(record.interpreter))


def _also(record: EnvironmentRecord, found: Interpreter) -> tuple[str, ...]:
    return tuple(path for path in record.paths if path not in found.paths and Path(path).is_dir())


def _base(plan: RunnerPlan) -> Path | None:
    """A Python of the right minor version of which we know: the one that made the model, or our own.

    Not that of a conda environment, if there is another one: it goes when that environment goes.
    """
    wanted = needs_of(plan).python
    known = [found for found in (_maker(plan.environment), own()) if found and _minor(found) == wanted]
    known.sort(key=lambda found: (found.python.parent.parent / "conda-meta").is_dir())
    return known[0].python if known else None


def _minor(found: Interpreter) -> str:
    return ".".join(map(str, found.version))


def _bytes(folder: Path) -> int:
    return sum(files.size(path) for path in folder.rglob("*") if not path.is_symlink())
