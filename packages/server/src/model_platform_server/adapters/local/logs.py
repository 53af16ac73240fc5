"""The logs of runners: their last lines, and what comes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from model_platform_core.wire import LogLine
from model_platform_server.adapters.local import files

_EVERY = 0.2
_SILENCE = 15.0


class LogFile:
    """One runner's log, read on from where the last look ended."""

    def __init__(self, deployment: str, runner: str, path: Path) -> None:
        self._deployment = deployment
        self._runner = runner
        self._path = path
        self._read = 0
        self._begun = b""

    def last(self, lines: int) -> list[LogLine]:
        """Its last lines."""
        return list(deque(self.new(), lines))

    def new(self) -> Iterator[LogLine]:
        """The lines that were written since; from the beginning if it was emptied meanwhile."""
        if files.size(self._path) < self._read:
            self._read, self._begun = 0, b""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        self._read += len(data)
        *whole, self._begun = (self._begun + data).split(b"\n")
        for line in whole:
            yield LogLine(deployment=self._deployment, runner=self._runner, text=line.decode(errors="replace"))


def read_logs(listed: Callable[[], list[tuple[str, str, Path]]], lines: int, *, follow: bool) -> Iterator[LogLine]:
    """The end of logs and, if `follow`, what comes, also from runners that are started meanwhile.

    Where nothing comes, a line without text is given from time to time: so that whoever passes the lines on notices
    that nobody listens any more.

    Parameters
    ----------
    listed
        Deployment, runner and file of every log there is.
    """
    known: dict[Path, LogFile] = {}
    for deployment, runner, path in listed():
        known[path] = LogFile(deployment, runner, path)
        yield from known[path].last(lines)
    given = time.monotonic()
    while follow:
        time.sleep(_EVERY)
        for deployment, runner, path in listed():
            for line in known.setdefault(path, LogFile(deployment, runner, path)).new():
                yield line
                given = time.monotonic()
        if time.monotonic() - given > _SILENCE:
            yield LogLine(deployment="", runner="", text="")
            given = time.monotonic()
