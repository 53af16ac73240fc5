"""Processes that outlive us: started detached, and known again by pid and start."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from model_platform_core.values import Observed

_ALLOWED = frozenset({"PATH", "LANG", "LANGUAGE", "HOME", "TMPDIR", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"})
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "BLIS_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
)
_BOOT_SECONDS = 60  # by how much the time of the boot may move with the clock
_children: dict[int, subprocess.Popen[bytes]] = {}  # what this process started is reaped by it


class ProcessIdentity(Observed):
    """A process, told apart from a later one that got the same pid by when it was started."""

    pid: int
    started: str


def allowed_environment() -> dict[str, str]:
    """What of our own environment a process of ours may see: nothing that could hold a secret."""
    return {name: value for name, value in os.environ.items() if name in _ALLOWED or name.startswith("LC_")}


def thread_environment(cpu: float) -> dict[str, str]:
    """The variables that tell numerical libraries how many threads to use, for a share of `cpu` cores."""
    return dict.fromkeys(_THREADS, str(max(1, round(cpu))))


def memory_environment() -> dict[str, str]:
    """The variables that let siblings share memory: Arrow's own allocator takes pages of 2 MiB, which a fork copies whole."""
    return {"ARROW_DEFAULT_MEMORY_POOL": "system"}


def start(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: Path,
    log: Path,
    descriptors: Collection[int] = (),
) -> ProcessIdentity:
    """Start a process in a session of its own, with this environment and these descriptors alone, writing to `log`.

    Raises
    ------
    OSError
        If the program cannot be started.
    """
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        process = subprocess.Popen(
            list(command),
            env=dict(environment),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
            pass_fds=descriptors,
        )
    finally:
        os.close(descriptor)
    _children[process.pid] = process
    return identity_of(process.pid)


def identity_of(pid: int) -> ProcessIdentity:
    """The process that has this pid now."""
    return ProcessIdentity(pid=pid, started=_look(pid)[0])


def identity_from(pid: int, ticks: str) -> ProcessIdentity:
    """A process by what it says of itself on Linux: its start, as field 22 of its `stat` has it."""
    return ProcessIdentity(pid=pid, started=f"{_boot()}:{ticks}")


def alive(identity: ProcessIdentity | None) -> bool:
    """Whether this very process still runs."""
    if identity is None:
        return False
    started, running = _look(identity.pid)
    if not running and (child := _children.pop(identity.pid, None)) is not None:
        child.wait()  # it has ended: this takes its place in the table of processes away
    return running and started == identity.started


def from_this_boot(identity: ProcessIdentity) -> bool:
    """Whether the machine has been up since the process was started."""
    if sys.platform == "linux":
        return identity.started.partition(":")[0] == _boot()
    return float(identity.started or 0) > psutil.boot_time() - _BOOT_SECONDS


def parent(identity: ProcessIdentity) -> int | None:
    """The pid of what started a process; None if it has ended."""
    with contextlib.suppress(psutil.Error):
        return psutil.Process(identity.pid).ppid()
    return None


def send(identity: ProcessIdentity, number: signal.Signals) -> None:
    """Send a signal, if the process still runs."""
    if alive(identity):
        with contextlib.suppress(ProcessLookupError):
            os.kill(identity.pid, number)


def kill(identity: ProcessIdentity) -> None:
    """End a process and what it started, at once."""
    for process in [*_descendants(identity), *_handle(identity)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def end(identities: Iterable[ProcessIdentity], grace: float) -> None:
    """End processes and what they started: SIGTERM, `grace` seconds to finish, then SIGKILL."""
    identities = [one for one in identities if alive(one)]
    descendants = [child for one in identities for child in _descendants(one)]
    for one in identities:
        send(one, signal.SIGTERM)
    if not wait_until(lambda: not any(map(alive, identities)), grace):
        for one in identities:
            kill(one)
        wait_until(lambda: not any(map(alive, identities)), 5)
    for child in descendants:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


def memory(identity: ProcessIdentity, enough: int) -> int:
    """Bytes of memory that a process and its children take: shared pages in parts (PSS) where the system tells.

    Counting shared pages takes milliseconds: it is left out while the plain sum is not above `enough`.
    """
    family = [*_handle(identity), *_descendants(identity)]
    plain = sum(_figure(process, "rss") for process in family)
    return plain if plain <= enough else sum(_figure(process, "pss") for process in family)


def running(*beginnings: str) -> dict[str, list[ProcessIdentity]]:
    """Processes of this user by an argument of theirs that begins as one of these."""
    wanted = tuple(os.fsencode(one) for one in beginnings)
    found: dict[str, list[ProcessIdentity]] = {}
    for pid, line in _command_lines():
        if pid != os.getpid() and any(one in line for one in wanted):
            for argument in line.split(b"\0"):
                started, lives = _look(pid) if argument.startswith(wanted) else ("", False)
                if lives:
                    found.setdefault(os.fsdecode(argument), []).append(ProcessIdentity(pid=pid, started=started))
    return found


def wait_until(true: Callable[[], bool], seconds: float, every: float = 0.01) -> bool:
    """Look until something is true or the time is over; whether it was."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


# ---------------------------------------------------------------- looking


def _look(pid: int) -> tuple[str, bool]:
    """When a process was started, as a text that no other process of this pid has; whether it runs (a zombie does not)."""
    if sys.platform == "linux":
        # psutil's create_time moves with the clock of the machine; ticks since the boot do not.
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            return "", False
        return f"{_boot()}:{fields[19]}", fields[0] not in "ZX"
    try:
        process = psutil.Process(pid)
        return str(process.create_time()), process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return "", False


def _command_lines() -> Iterator[tuple[int, bytes]]:
    """Every process of this user, with its arguments, each of which ends with a zero."""
    if sys.platform == "linux":
        for entry in Path("/proc").iterdir():  # psutil reads three times as much of each
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and entry.stat().st_uid == os.getuid():
                    yield int(entry.name), (entry / "cmdline").read_bytes()
        return
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.uids().real == os.getuid():
                yield process.pid, os.fsencode("\0".join(process.cmdline()))


@functools.cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _handle(identity: ProcessIdentity) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(identity.pid)
        if alive(identity):
            return [process]
    return []


def _descendants(identity: ProcessIdentity) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return [
            child
            for process in _handle(identity)
            if _has_children(process.pid)
            for child in process.children(recursive=True)
        ]
    return []


def _has_children(pid: int) -> bool:
    """Whether it is worth looking at all processes of the machine, which is how children are found."""
    tasks = Path(f"/proc/{pid}/task")
    try:
        return any((task / "children").read_text() for task in tasks.iterdir())
    except OSError:
        return True  # another system, or a thread that has just ended


def _figure(process: psutil.Process, name: str) -> int:
    with contextlib.suppress(psutil.Error):
        full = process.memory_info() if name == "rss" else process.memory_full_info()
        return int(getattr(full, name, 0) or getattr(full, "uss", 0))
    return 0
