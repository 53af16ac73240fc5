"""The project that a model was made in, as far as it travelled: modules and data files, where the code expects them.

The version's own files stay as they are. Copies are laid out in a folder of the runner's own, in the shape of the
project; the code runs in the folder in which it ran, so that `open("data/rates.csv")` and `Path(__file__).parent` find
what they found in the notebook. What the code writes there is gone with the runner.
"""

import importlib.machinery
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

from model_platform_runner.errors import StartError

FOLDER = "work"  # below the folder in which the runner is started


class _ProjectFinder:
    """Finds the project's own modules before all others that lie on `sys.path`."""

    def __init__(self, entries: Sequence[str]) -> None:
        self._entries = entries

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where a top module lies; what lies within it, its own path tells."""
        return PathFinder.find_spec(name, self._entries) if path is None else None


def lay_out(directory: Path, project: Mapping[str, Any] | None) -> None:
    """Make the folder to work in, with what travelled for a model, and go there.

    Parameters
    ----------
    project
        ``files`` with the place of each file by its path in the version, ``entries`` (folders to import from) and
        ``directory`` (where the notebook ran), all relative to the project; None where nothing travelled.

    Raises
    ------
    StartError
        ``failed_start``: a path leads elsewhere, or there is no room.
    """
    work = Path.cwd() / FOLDER
    project = project or {}
    try:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        for stored, placed in project.get("files", {}).items():
            target = _below(work, placed)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(_below(directory, stored), target)
        there = _below(work, project.get("directory", "."))
        there.mkdir(parents=True, exist_ok=True)
        os.chdir(there)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StartError("failed_start", f"The model's code cannot be laid out: {reason}.") from error
    if entries := [str(_below(work, entry)) for entry in project.get("entries", ())]:
        at = next(
            (n for n, each in enumerate(sys.meta_path) if each is importlib.machinery.PathFinder), len(sys.meta_path)
        )
        sys.meta_path.insert(at, _ProjectFinder(entries))


def _below(root: Path, path: str) -> Path:
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts:
        raise StartError("failed_start", "MLmodel names a path outside of the version.")
    return root / parts
