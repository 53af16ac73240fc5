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
    kept = {name: value for name, value in os.environ.items() if name.startswith("MP_SERVER_OWN_ENVIRONMENTS")}
    unwanted = ("MP_", "JPY_SESSION_NAME", "PAPERMILL_", "JUPYTER", "PYTHON", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(unwanted)} | kept | more


@contextlib.contextmanager
def private_server(
    state: Path, programs: Path = Path(sys.executable).parent, **settings: str
) -> Iterator[dict[str, str]]:
    """The environment to start things in; `programs` is the folder of the user's `mp`, which ends everything."""
    environment = bare_environment(
        MP_HOME=str(state),
        IPYTHONDIR=str(state / "ipython"),
        JUPYTER_CONFIG_DIR=str(state / "jupyter"),
        JUPYTER_DATA_DIR=str(state / "jupyter"),
        JUPYTER_RUNTIME_DIR=str(state / "jupyter"),
        **settings,
    )
    try:
        yield environment
    finally:
        ended = run([programs / "mp", "server", "stop", "--all", "--yes"], environment)
        assert ended.returncode == 0, ended.stderr
        assert processes_of(state) == []


def run(
    command: Sequence[str | Path],
    environment: dict[str, str],
    folder: Path | None = None,
    typed: str = "",
    seconds: float = 600,
) -> subprocess.CompletedProcess[str]:
    """A finished program, with what was typed into it.

    Its outputs go through pipes, so whatever it left running with them open would hang us.
    """
    return subprocess.run(
        [str(part) for part in command],
        env=environment,
        cwd=folder,
        input=typed,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
