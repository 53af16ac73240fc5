"""Processes as the kernel counts them: whose processor time, whose memory."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A line of the table of processes: processor time in seconds, its own and that of children that have ended."""

    pid: int
    parent: int
    own: float
    ended: float


def table() -> dict[int, Process]:
    """All processes by pid."""
    found = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                own, ended = (int(fields[at]) + int(fields[at + 1]) for at in (11, 13))
                found[int(entry.name)] = Process(int(entry.name), int(fields[1]), own / TICKS, ended / TICKS)
    return found


def family(pid: int, processes: dict[int, Process] | None = None) -> set[int]:
    """A process and all its descendants."""
    processes = processes or table()
    found, waiting = set[int](), [pid]
    while waiting:
        member = waiting.pop()
        found.add(member)
        waiting += [one.pid for one in processes.values() if one.parent == member and one.pid not in found]
    return found


def marked(folder: Path) -> set[int]:
    """The processes whose temporary files go into a folder: what was started from it, whoever their parents are now."""
    mark = f"TMPDIR={folder}".encode()
    return {pid for pid in table() if mark in _fields(pid, "environ")}


def _fields(pid: int, file: str) -> list[bytes]:
    with contextlib.suppress(OSError):
        return (_PROC / str(pid) / file).read_bytes().split(b"\0")
    return []


def with_argument(argument: str, pids: Iterable[int]) -> set[int]:
    """Those that were started with an argument."""
    return {pid for pid in pids if argument.encode() in _fields(pid, "cmdline")}


def started_with(pid: int) -> tuple[list[str], dict[str, str]]:
    """The command line and the variables of a process."""
    words = [os.fsdecode(word) for word in _fields(pid, "cmdline") if word]
    variables = (os.fsdecode(line).partition("=") for line in _fields(pid, "environ") if b"=" in line)
    return words, {name: value for name, _, value in variables}


def processor_seconds(pids: Iterable[int]) -> float:
    """Processor time of processes that live, and of their children that have ended."""
    processes = table()
    return sum(processes[pid].own + processes[pid].ended for pid in pids if pid in processes)


def memory(pids: Iterable[int]) -> float:
    """Proportional set size in MB (10⁶ bytes): pages that are shared are divided among those who share them."""
    return sum(_kilobytes(pid, "smaps_rollup", "Pss") for pid in pids) * 1024 / 1e6


def anonymous(pid: int) -> float:
    """Memory of one process in MB that no file stands behind: what it has read from disk by mapping does not count."""
    return _kilobytes(pid, "status", "RssAnon") * 1024 / 1e6


def _kilobytes(pid: int, file: str, name: str) -> int:
    with contextlib.suppress(OSError):
        found = re.search(rf"^{name}:\s+(\d+)", (_PROC / str(pid) / file).read_text(), re.MULTILINE)
        return int(found[1]) if found else 0
    return 0


def end(pid: int, seconds: float = 30) -> None:
    """End a process, by force where it does not end by itself."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        with contextlib.suppress(TimeoutError):
            for _ in until(seconds, f"the end of process {pid}"):
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)  # it may be a child of ours
                if not (_PROC / str(pid)).exists():
                    return


class Watch:
    """How many cores processes took meanwhile that are not ours, and what the hypervisor gave to others."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark
        self.seconds = self.others = 0.0

    def __enter__(self) -> Watch:
        self._before, self._began = self._foreign(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._began
        # Never below 0: what others had used goes from the sum where a process of theirs ends that nobody waited for.
        self.others = max(0.0, self._foreign() - self._before) / max(self.seconds, 1e-3)

    def _foreign(self) -> float:
        processes = table()
        ours = family(os.getpid(), processes) | marked(self._mark)
        return sum(one.own + one.ended for one in processes.values() if one.pid not in ours) + _stolen()


def _stolen() -> float:
    return int((_PROC / "stat").read_text().split("\n", 1)[0].split()[8]) / TICKS


def free_port() -> int:
    """A port of the loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(seconds: float, what: str, every: float = 0.02) -> Iterator[None]:
    """Turns until a deadline: `for _ in until(60, "the start"): if there: break`.

    Raises
    ------
    TimeoutError
        When the time is over.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(every)
    raise TimeoutError(f"{what} did not happen within {seconds:g} s")
