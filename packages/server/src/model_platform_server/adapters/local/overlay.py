"""The runner's own packages, in a folder that is laid over any model's environment: one per kind of Python."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from packaging.utils import canonicalize_name

from model_platform_core.errors import EnvironmentFailedError
from model_platform_server.adapters.local import files, interpreters
from model_platform_server.adapters.local.interpreters import Interpreter
from model_platform_server.adapters.local.requirements import applies, required
from model_platform_server.adapters.local.uv import Uv

_DISTRIBUTION = "model-platform-runner"
_PACKAGE = "model_platform_runner"


class Overlays:
    """Folders with the runner and what it imports. A change of the runner, or of what it needs, makes a new one."""

    def __init__(self, folder: Path) -> None:
        self._folder = files.private_folder(folder)
        self._uv = Uv()

    def end(self) -> None:
        """End what is being made."""
        self._uv.end()

    def make(self, interpreter: Interpreter, report: Callable[[str], None]) -> Path:
        """The overlay for a Python; made from our own environment if that is of its kind, else by uv.

        Raises
        ------
        EnvironmentFailedError
            If its packages could not be had.
        """
        source, requirements = _source(), _requirements()
        final = self._folder / f"{interpreter.abi}-{_digest(source, requirements)}"
        if final.is_dir():
            return final
        with files.storing(final), tempfile.TemporaryDirectory(dir=self._folder, prefix=".making-") as made:
            if interpreter.abi == interpreters.own().abi:
                for distribution in _closure(requirements):
                    _lay(distribution, Path(made))
            else:
                report("fetching the runner's packages")
                self._uv.install(requirements, interpreter.python, report, target=Path(made))
            for module in _modules(source):
                at = Path(made) / _PACKAGE / module.relative_to(source)
                at.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(module, at)
            self._keep(Path(made), final)
        return final

    def _keep(self, made: Path, final: Path) -> None:
        try:
            made.rename(final)
            made.mkdir()  # what removes the temporary folder expects one
        except OSError:
            if not final.is_dir():  # else another thread was faster
                raise


def main_file(overlay: Path) -> Path:
    """What the model's Python is given to run."""
    return overlay / _PACKAGE / "__main__.py"


def _source() -> Path:
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise EnvironmentFailedError(f"The server's installation lacks {_DISTRIBUTION}: install the platform again.")
    return Path(found.submodule_search_locations[0])


def _requirements() -> list[str]:
    try:
        return sorted(metadata.requires(_DISTRIBUTION) or [])
    except metadata.PackageNotFoundError:
        raise EnvironmentFailedError(
            f"The server's installation lacks {_DISTRIBUTION}: install the platform again."
        ) from None


def _digest(source: Path, requirements: list[str]) -> str:
    digest = hashlib.sha256(repr(requirements).encode())
    for module in _modules(source):
        digest.update(str(module.relative_to(source)).encode() + b"\0" + module.read_bytes())
    return digest.hexdigest()[:12]


def _modules(source: Path) -> list[Path]:
    return sorted(path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _closure(requirements: list[str]) -> Iterator[metadata.Distribution]:
    """The distributions that requirements mean in our own environment, and what those need."""
    waiting = [required(line) for line in requirements if applies(line)]
    seen: set[tuple[str, str]] = set()
    while waiting:
        wanted = waiting.pop()
        extras = wanted.extras or {""}
        new = {(canonicalize_name(wanted.name), extra) for extra in extras} - seen
        if not new:
            continue
        distribution = metadata.distribution(wanted.name)
        if not any(name == canonicalize_name(wanted.name) for name, _ in seen):
            yield distribution
        seen |= new
        waiting += [required(line) for line in distribution.requires or [] if applies(line, extras)]


def _lay(distribution: metadata.Distribution, goal: Path) -> None:
    """Link the files of an installed distribution; copy them where a link cannot be."""
    for file in distribution.files or []:
        if file.is_absolute() or ".." in file.parts or "__pycache__" in file.parts:
            continue  # programs beside site-packages: the runner starts none
        source, at = Path(str(distribution.locate_file(file))), goal / file
        at.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, at)
        except FileExistsError:
            continue
        except OSError:
            shutil.copy2(source, at)
