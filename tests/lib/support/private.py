"""A user whose private server keeps its state in a folder of the test; all of it is ended at the end."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from support.servers import processes_of


def bare_environment(**more: str) -> dict[str, str]:
    """This process's environment without what would change where the client connects, or what Python imports."""
    unwanted = ("MP_", "JPY_SESSION_NAME", "PAPERMILL_", "PYTHON", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(unwanted)} | more


@contextlib.contextmanager
def private_server(state: Path, programs: Path = Path(sys.executable).parent) -> Iterator[dict[str, str]]:
    """The environment to start things in; `programs` is the folder of the user's `mp`, which ends everything."""
    environment = bare_environment(MP_HOME=str(state))
    try:
        yield environment
    finally:
        ended = run([programs / "mp", "server", "stop", "--all", "--yes"], environment)
        assert ended.returncode == 0, ended.stderr
        assert processes_of(state) == []


def run(
    command: Sequence[str | Path], environment: dict[str, str], folder: Path | None = None, seconds: float = 600
) -> subprocess.CompletedProcess[str]:
    """A finished program. Its outputs go through pipes: whatever it left running with them open would hang us."""
    return subprocess.run(
        [str(part) for part in command],
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
