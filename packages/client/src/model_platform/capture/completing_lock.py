"""The lock of custom code, completed after the publish: the saved model is loaded once in a process of its own.

What code imports only while it is loaded, by a name that it puts together, is in no text; and in the notebook it was
loaded long ago.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path

from model_platform.capture import probe
from model_platform.capture.distributions import distributions_of
from model_platform.capture.environment import not_required_by, record_environment
from model_platform.capture.subject import PYFUNC, Subject
from model_platform.client import Client
from model_platform_core.environments import EnvironmentRecord
from model_platform_core.errors import ModelPlatformError
from model_platform_core.refs import VersionRef
from model_platform_core.wire import LineageCompletion

_LARGEST = 1 << 30
_SECONDS = 180


def is_worth_completing(subject: Subject, folder: Path) -> bool:
    """Whether a saved model is custom code, and not too large to be loaded a second time."""
    sizes = (path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return subject.flavour == PYFUNC and sum(sizes) <= _LARGEST


def complete_lock_later(client: Client, ref: VersionRef, folder: Path, known: EnvironmentRecord) -> None:
    """Load the saved model in a process of its own, and complete the lock of its version with what that imported.

    When the interpreter ends before, the lock stays as it was at publish.

    Parameters
    ----------
    folder
        The saved model; a copy is looked at, so it may go.
    known
        The environment as it was recorded, as pending.
    """
    probing = _Probing(folder)

    def complete() -> None:
        record = completed(known, probing.imported())
        with contextlib.suppress(ModelPlatformError):  # then it stays pending: a gap in the lineage stops nobody
            client.complete_lineage(ref, LineageCompletion(environment=record))

    client.beside.start("lock", complete, probing.end)


class _Probing:
    """A process that loads a copy of a saved model."""

    def __init__(self, folder: Path) -> None:
        self._place = tempfile.mkdtemp(prefix="model-platform-")
        self._folder = Path(self._place) / "model"
        self._turn, self._ended = threading.Lock(), False
        self._process: subprocess.Popen[str] | None = None
        shutil.copytree(folder, self._folder, copy_function=_link)

    def imported(self) -> list[str]:
        """The modules that it imports; none if it does not load, or was ended."""
        try:
            with self._turn:
                self._process = None if self._ended else self._started()
            said = self._process.communicate(timeout=_SECONDS)[0] if self._process else ""
            return list(json.loads(said.splitlines()[-1]))
        except (OSError, subprocess.TimeoutExpired, IndexError, ValueError):
            return []
        finally:
            self.end()
            if self._process is not None and self._process.stdout is not None:
                self._process.stdout.close()
            shutil.rmtree(self._place, ignore_errors=True)

    def end(self) -> None:
        """Give it up."""
        with self._turn:
            self._ended = True
            if self._process is not None:
                self._process.kill()
                self._process.wait()

    def _started(self) -> subprocess.Popen[str]:
        nice = shutil.which("nice")
        path = os.pathsep.join(each or str(Path.cwd()) for each in sys.path)
        return subprocess.Popen(
            [*([nice, "-n", "19"] if nice else []), sys.executable, "-P", probe.__file__, str(self._folder)],
            env=os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "MLFLOW_DISABLE_TELEMETRY": "true"},
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )


def completed(known: EnvironmentRecord, modules: Iterable[str]) -> EnvironmentRecord:
    """The record with what holds these modules too. What only this machine has cannot travel any more, and says so."""
    names = [package.partition("==")[0] for package in known.packages]
    if more := not_required_by(
        names, distributions_of(name for name in modules if not name.startswith("model_platform"))
    ):
        found = record_environment({*names, *more})
        packages = tuple(sorted({*found.packages, *known.packages}))
        return known.model_copy(
            update={"packages": packages, "origins": found.origins | known.origins, "pending": False}
        )
    return known.model_copy(update={"pending": False})


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
