"""Where the code came from: the notebook or script, the cells as run, and the git commit around it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from model_platform.display.surface import shell

_GIT_SECONDS = 2.0
_NAMELESS = "a notebook without a known name"


@dataclass(frozen=True)
class Origin:
    """`path` is as a person would write it, below the repository where there is one; None where nobody knows."""

    path: str | None = None
    sha256: str | None = None
    executed_cells: int | None = None
    commit: str | None = None
    dirty: bool | None = None
    repository: str | None = None


def find_origin(environment: Mapping[str, str] | None = None) -> Origin:
    """Look at the session, the notebook's file and the repository; what cannot be found out stays None."""
    environment = os.environ if environment is None else environment
    running = shell()
    file = notebook_file(environment) or _script()
    cells = _executed_cells(running) if running is not None else None
    if file is None:
        return Origin(_NAMELESS, _cells_digest(running), cells) if cells else Origin()
    folder = file.parent if file.parent.is_dir() else Path.cwd()
    root = _git(folder, "rev-parse", "--show-toplevel")
    shown = _relative(file, Path(root)) if root else _relative(file, Path.cwd())
    sha256 = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}" if file.is_file() else None
    if not root:
        return Origin(shown, sha256, cells)
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    remote = _git(folder, "config", "--get", "remote.origin.url")
    return Origin(
        path=shown,
        sha256=sha256,
        executed_cells=cells,
        commit=_git(folder, "rev-parse", "HEAD") or None,
        dirty=None if changed is None else bool(changed),
        repository=without_credentials(remote) if remote else None,
    )


def notebook_file(environment: Mapping[str, str] | None = None) -> Path | None:
    """The notebook's file: as Jupyter's session, VS Code or papermill name it."""
    environment = os.environ if environment is None else environment
    names = getattr(shell(), "user_ns", {})
    for name in (names.get("__vsc_ipynb_file__"), environment.get("PAPERMILL_INPUT_PATH")):
        if isinstance(name, str) and name:
            return Path(name)
    session = environment.get("JPY_SESSION_NAME", "")
    if not session.endswith(".ipynb"):
        return None
    # The session's name is a path below the server's root, or (newer servers) a whole one.
    path = Path(session)
    candidates = [path, Path.cwd() / path.name, *(folder / path for folder in (Path.cwd(), *Path.cwd().parents))]
    return next((one.absolute() for one in candidates if one.is_file()), Path(path.name))


def _script() -> Path | None:
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    if not isinstance(file, str):
        return None
    path = Path(file).absolute()
    return None if path.suffix != ".py" or "site-packages" in path.parts else path


def _executed_cells(running: Any) -> int | None:
    return len(_history(running)) or None


def _history(running: Any) -> list[str]:
    """The cells as run and as written, in order."""
    history = getattr(running, "history_manager", None)
    return [cell for cell in history.input_hist_raw if cell.strip()] if history is not None else []


def _cells_digest(running: Any) -> str:
    """Where no file is known (papermill tells none), the cells themselves are what made the model."""
    return f"sha256:{hashlib.sha256(chr(0).join(_history(running)).encode()).hexdigest()}"


def _relative(file: Path, folder: Path) -> str:
    try:
        return file.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        return file.name


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says, None if it says nothing in time. A repository's own hooks and monitors are not started."""
    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def without_credentials(url: str) -> str:
    """A repository's address without user, password and query.

    >>> without_credentials("https://me:secret@example.org/team/churn.git")
    'https://example.org/team/churn.git'
    """
    parts = urlsplit(url)
    if not parts.scheme or not parts.hostname:
        return url  # git@host:path, a local folder
    host = parts.hostname + (f":{parts.port}" if parts.port else "")
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
