"""The Python that runs the server: the kernel's own if the server is installed there, else one made once for it.

The kernel's environment is the user's: nothing is installed into it. The server's own is built with `uv` from the lock
that this package carries, in a folder beside its final place, and renamed when it is complete; a build that was
interrupted goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlparse

from uv import find_uv_bin

import model_platform
from model_platform.display.progress import Progress
from model_platform_core.errors import EnvironmentFailedError

DISTRIBUTION = "model-platform"
SERVER_DISTRIBUTION = "model-platform-server"
_SIBLINGS = ("core", "runner", "server")
_OUTPUT_LINES = 12


def server_python(state: Path, progress: Progress) -> Path:
    """The interpreter for the server, made if need be.

    Raises
    ------
    EnvironmentFailedError
        If its environment cannot be built; the message holds the end of what `uv` said.
    """
    if _installed_here():
        return Path(sys.executable)
    lock = files("model_platform").joinpath("data/server.lock")
    if not lock.is_file():
        raise EnvironmentFailedError(
            "The server is not installed in this environment, and this installation carries no lock to build one from.",
            hint=f"pip install {SERVER_DISTRIBUTION}=={model_platform.__version__}",
        )
    sources = _sources()
    identity = hashlib.sha256(lock.read_bytes() + "\n".join(sources).encode() + sys.version.encode()).hexdigest()[:12]
    home = state / "environments" / f"server-{model_platform.__version__}-{identity}"
    python = home / "bin" / "python"
    if python.exists():
        return python
    with as_file(lock) as lock_path:
        _build(home, lock_path, sources, progress)
    return python


def _installed_here() -> bool:
    if find_spec("model_platform_server") is None:
        return False
    try:
        return importlib.metadata.version(SERVER_DISTRIBUTION) == model_platform.__version__
    except importlib.metadata.PackageNotFoundError:
        return True  # on the path of a checkout


def _sources() -> list[str]:
    """Our own three packages: from beside the folder that this one was installed from, else by version."""
    folder = _source_folder()
    if folder is not None:
        return [str(folder.parent / name) for name in _SIBLINGS]
    return [f"model-platform-{name}=={model_platform.__version__}" for name in _SIBLINGS]


def _source_folder() -> Path | None:
    """The local folder that this distribution was installed from, as its `direct_url.json` says."""
    try:
        text = importlib.metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return None
    url = urlparse(json.loads(text)["url"]) if text else None
    if url is None or url.scheme != "file":
        return None
    folder = Path(unquote(url.path))
    return folder if all((folder.parent / name / "pyproject.toml").is_file() for name in _SIBLINGS) else None


def _build(home: Path, lock: Path, sources: Sequence[str], progress: Progress) -> None:
    uv = find_uv_bin()
    partial = home.with_name(home.name + ".partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    python = str(partial / "bin" / "python")
    if not (partial / "pyvenv.cfg").exists():
        with progress.step("server environment, made once"):
            base = getattr(sys, "_base_executable", sys.executable)
            _run([uv, "venv", "--quiet", "--relocatable", "--clear", "--python", base, str(partial)])
    install = [uv, "pip", "install", "--quiet", "--python", python]
    with progress.step("its packages"):
        _run([*install, "--require-hashes", "-r", str(lock)])
    with progress.step("the platform itself"):
        _run([*install, "--no-deps", *sources])
    partial.rename(home)


def _run(command: Sequence[str]) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    environment = kept | {"UV_PYTHON_DOWNLOADS": "never"}
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        tail = "".join(f"\n  {line}" for line in done.stderr.strip().splitlines()[-_OUTPUT_LINES:])
        raise EnvironmentFailedError(
            f"The server's environment could not be built.{tail}",
            hint="run the cell again; it goes on where it stopped",
        )
