"""Where the code came from: the notebook or script, the cells as run, and the git commit around it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from model_platform.capture.cells import as_script, changes_since, used_modules
from model_platform.display.surface import shell
from model_platform_core.lineage import CELLS_FILE, PATCH_FILE

_GIT_SECONDS = 2.0
_NAMELESS = "a notebook without a known name"


@dataclass(frozen=True)
class Origin:
    """`path` is as a person would write it, below the repository where there is one; None where nobody knows.

    `code` are the cells that ran, in order, or the script; `patch` is what differs from the commit; `notes` say what
    could not be found out.
    """

    path: str | None = None
    sha256: str | None = None
    executed_cells: int | None = None
    commit: str | None = None
    dirty: bool | None = None
    repository: str | None = None
    code: tuple[str, ...] = ()
    patch: str = ""
    notes: tuple[str, ...] = ()

    def write(self, folder: Path) -> None:
        """Keep the code and what differs from the commit below a version's folder."""
        for name, text in ((CELLS_FILE, as_script(self.code)), (PATCH_FILE, self.patch)):
            if text:
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8", errors="replace")


def find_origin(environment: Mapping[str, str] | None = None) -> Origin:
    """Look at the session, the notebook's file and the repository; what cannot be found out is noted, never raised."""
    environment = os.environ if environment is None else environment
    try:
        return _find_origin(environment)
    except Exception as error:  # noqa: BLE001 - a gap in the lineage stops nobody
        return Origin(notes=(f"where the code came from could not be found out ({type(error).__name__})",))


class FindingOrigin:
    """The look, in a thread of its own: git answers while the model is tried."""

    def __init__(self) -> None:
        self._found = Origin()
        self._thread = threading.Thread(target=self._find, name="origin", daemon=True)
        self._thread.start()

    def _find(self) -> None:
        self._found = find_origin()

    def wait(self) -> Origin:
        """What was found out."""
        self._thread.join()
        return self._found


def _find_origin(environment: Mapping[str, str]) -> Origin:
    running = shell()
    file = notebook_file(environment) or _script()
    ran = _history(running) if running is not None else []
    cells = len(ran) or None
    if file is None:
        return Origin(_NAMELESS, _cells_digest(running), cells, code=tuple(ran)) if cells else Origin()
    folder = file.parent if file.parent.is_dir() else Path.cwd()
    top = _git(folder, "rev-parse", "--show-toplevel")
    root = Path(top).resolve() if top else None
    content = file.read_bytes() if file.is_file() else None
    code = tuple(ran) or _script_text(file, content)
    found = Origin(
        path=_relative(file, root or Path.cwd()),
        sha256=f"sha256:{hashlib.sha256(content).hexdigest()}" if content is not None else None,
        executed_cells=cells,
        code=code,
    )
    if root is None or not file.resolve().is_relative_to(root):
        return found
    remote = _git(folder, "config", "--get", "remote.origin.url")
    found = replace(found, repository=without_credentials(remote) if remote else None)
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if not commit:
        return replace(found, notes=("the repository has no commit, or git did not answer",))
    try:
        modules = used_modules(root)
        committed = _committed(root, [one.relative_to(root) for one in (file.resolve(), *modules)])
        changes = changes_since(root, file, ran, modules, committed.get)
    except (OSError, TimeoutError, ValueError) as error:
        note = f"what differs from the commit could not be found out ({type(error).__name__})"
        return replace(found, commit=commit, notes=(note,))
    return replace(found, commit=commit, dirty=changes.dirty, patch=changes.patch, notes=changes.notes)


def _script_text(file: Path, content: bytes | None) -> tuple[str, ...]:
    """A script is its own only cell."""
    return (content.decode("utf-8", "replace"),) if content is not None and file.suffix == ".py" else ()


def _committed(root: Path, paths: Sequence[Path]) -> dict[Path, str]:
    """The texts of those files that the commit has, by path, from one process for all.

    Raises TimeoutError if git does not say so in time.
    """
    asked = [path for path in dict.fromkeys(paths) if "\n" not in path.as_posix()]
    told = _git_bytes(root, "cat-file", "--batch", given="".join(f"HEAD:{path.as_posix()}\n" for path in asked))
    if told is None:
        raise TimeoutError
    found, at = {}, 0
    for path in asked:
        end = told.index(b"\n", at)
        head, at = told[at:end], end + 1
        if head.endswith(b" missing"):
            continue
        size = int(head.rpartition(b" ")[2])
        if b" blob " in head:
            found[path] = told[at : at + size].decode("utf-8", "replace").replace("\r\n", "\n")
        at += size + 1
    return found


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
    """What git says in a line, None if it says nothing in time."""
    told = _git_bytes(folder, *arguments)
    return None if told is None else told.decode("utf-8", "replace").strip()


def _git_bytes(folder: Path, *arguments: str, given: str = "") -> bytes | None:
    """What git answers, None if not in time. A repository's own hooks and monitors are not started."""
    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"},
            input=given.encode("utf-8", "surrogateescape"),
            capture_output=True,
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


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
