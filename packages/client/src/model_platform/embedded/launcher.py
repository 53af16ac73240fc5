"""Starting and stopping the embedded server: once per user, whichever kernel comes first."""

from __future__ import annotations

import fcntl
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import model_platform
from model_platform.display.progress import Progress
from model_platform.embedded.discovery import (
    TOKEN_FILE,
    Discovery,
    check_host,
    is_running,
    prove,
    read_discovery,
)
from model_platform.embedded.interpreter import server_python
from model_platform_core.errors import ServerUnavailableError, StorageUnavailableError, UnsupportedByTargetError

START_SECONDS = 120.0
STOP_SECONDS = 30.0
LOCK_FILE = "starting.lock"
START_LOG = "start.log"
_LOOK_SECONDS = 0.01
_LOG_LINES = 15

# What a server may need of the environment it is started from. Everything else stays out: no tracking addresses, no
# tokens, no PYTHONPATH of a notebook.
_KEPT = ("HOME", "LANG", "LOGNAME", "PATH", "SHELL", "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR", "TZ", "USER")
_KEPT_PREFIXES = ("LC_", "MP_SERVER_", "PIP_", "UV_", "XDG_")
_KEPT_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")


@dataclass(frozen=True)
class Running:
    """A server that has proven itself, and the token for it."""

    discovery: Discovery
    token: str


def find(state: Path) -> Running | None:
    """The running server of a state directory; None if there is none of which we can be sure."""
    found = read_discovery(state)
    if found is None:
        return None
    check_host(state, found)
    return Running(found, _token(state)) if is_running(found) and prove(found) else None


def ensure(state: Path, progress: Progress) -> Running:
    """The running server of this version; started if there is none, restarted if it is of another version.

    Raises
    ------
    ServerUnavailableError
        If it does not come up; the message holds the end of its log.
    UnsupportedByTargetError
        On a platform where it cannot run.
    """
    running = find(state)
    if running and running.discovery.version == model_platform.__version__:
        return running
    _check_platform()
    _make_private(state)
    with ExitStack() as stack:
        with progress.step("looking for the server of this machine"):
            stack.enter_context(_locked(state / LOCK_FILE))  # another kernel may just be starting it
            running = find(state)
        if running and running.discovery.version == model_platform.__version__:
            return running
        if running:
            with progress.step(f"restarting the server: it was version {running.discovery.version}"):
                terminate(running.discovery)
        python = server_python(state, progress)
        with progress.step("starting the platform server on this machine"):
            return _start(state, python)


def terminate(found: Discovery) -> bool:
    """End the server of a discovery file; what it deployed goes on answering. False if it did not run."""
    if not is_running(found):
        return False
    os.kill(found.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while is_running(found):
        with suppress(ChildProcessError):
            os.waitpid(found.pid, os.WNOHANG)  # it may be this kernel's own child
        if time.monotonic() > deadline:
            raise ServerUnavailableError(
                f"The server (process {found.pid}) did not stop within {STOP_SECONDS:g} s.", hint="mp doctor"
            )
        time.sleep(_LOOK_SECONDS)
    return True


def stop_all(state: Path) -> None:
    """End the server, the gateway and every runner of a state directory.

    Raises
    ------
    ServerUnavailableError
        If something could not be ended.
    """
    found = read_discovery(state)
    if found is None and not (state / TOKEN_FILE).exists():
        return  # none has ever run there; no environment is made just to end nothing
    python = Path(found.interpreter) if found else server_python(state, Progress.silent())
    done = subprocess.run(
        [str(python), "-m", "model_platform_server", "stop", "--all", "--state", str(state)],
        env=server_environment(os.environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-_LOG_LINES:])
        raise ServerUnavailableError(f"Not everything could be stopped:\n{tail}", hint="mp doctor")


def server_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The explicit environment of what we start."""
    return {
        name: value
        for name, value in environment.items()
        if name in _KEPT or name.startswith(_KEPT_PREFIXES) or name.lower() in _KEPT_PROXIES
    }


def _start(state: Path, python: Path) -> Running:
    log = state / START_LOG
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as output:
        process = subprocess.Popen(
            [str(python), "-m", "model_platform_server", "--state", str(state)],
            env=server_environment(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=state,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        running = find(state)
        if running and running.discovery.pid == process.pid:
            process.returncode = 0  # it outlives us by intent; nobody waits for it
            return _of_our_version(running)
        if process.poll() is not None:
            raise _did_not_start(log, f"it ended with status {process.returncode}")
        time.sleep(_LOOK_SECONDS)
    process.terminate()
    process.wait()
    raise _did_not_start(log, f"it was not ready after {START_SECONDS:g} s")


def _of_our_version(running: Running) -> Running:
    theirs, ours = running.discovery.version, model_platform.__version__
    if theirs == ours:
        return running
    raise ServerUnavailableError(
        f"The server that was started is of version {theirs}, and this client of version {ours}.",
        hint=f"pip install model-platform-server=={ours}",
    )


def _did_not_start(log: Path, why: str) -> ServerUnavailableError:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-_LOG_LINES:]
    tail = "".join(f"\n  {line}" for line in lines)
    return ServerUnavailableError(f"The platform server did not start: {why}.{tail}", hint=f"its log: {log}")


def _token(state: Path) -> str:
    try:
        return (state / TOKEN_FILE).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ServerUnavailableError(
            f"The token of the server cannot be read: {error.strerror} ({state / TOKEN_FILE}).",
            hint="mp server stop, then try again",
        ) from None


def _make_private(state: Path) -> None:
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        (state / LOCK_FILE).touch(mode=0o600)
    except OSError as error:
        raise StorageUnavailableError(
            f"The state directory {state} cannot be written: {error.strerror}.",
            hint="set MP_HOME to a directory that is yours",
        ) from None


def _check_platform() -> None:
    if sys.platform not in {"linux", "darwin"}:
        raise UnsupportedByTargetError(
            f"The server does not run on {platform.system()} itself.",
            hint="on Windows use WSL, or connect to a server elsewhere with MP_SERVER and MP_TOKEN",
        )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
