"""What a runner tells its supervisor: JSON lines without data, on a descriptor that no model can reach by accident."""

import asyncio
import select
from datetime import datetime, timezone
from os import write

import orjson

_CHUNK = select.PIPE_BUF  # what a pipe that is ready takes without blocking
_FLUSH_SECONDS = 0.1
_KEPT_LINES = 10_000


class Journal:
    """Writes lines to a descriptor, without ever waiting for its reader.

    Lines about calls are collected and written a few times a second. Where the reader does not keep up (a pipe
    that nobody empties), the lines that do not fit are dropped and counted: answers come before their log.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._lines: list[bytes] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scheduled = False
        self.dropped = 0

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Collect lines about calls from now on, and write them from this loop."""
        self._loop = loop

    def event(self, event: str, **facts: object) -> None:
        """Write what happened to the runner itself, at once."""
        self._add({"event": event, "at": _now(), **facts})
        self.flush()

    def call(self, **facts: object) -> None:
        """Note a call: method, path template, status, rows, milliseconds, request id."""
        self._add({"event": "call", "at": _now(), **facts})
        if self._loop is None:
            self.flush()
        elif not self._scheduled:
            self._scheduled = True
            self._loop.call_later(_FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what is collected, as far as the reader takes it."""
        self._scheduled = False
        lines, self._lines = self._lines, []
        start = 0
        while start < len(lines):
            stop, size = start, 0
            while stop < len(lines) and (stop == start or size + len(lines[stop]) <= _CHUNK):
                size += len(lines[stop])
                stop += 1
            if not self._written(b"".join(lines[start:stop])):
                self.dropped += len(lines) - start
                return
            start = stop

    def _add(self, line: dict[str, object]) -> None:
        if len(self._lines) >= _KEPT_LINES:
            self.dropped += 1
        else:
            self._lines.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def _written(self, data: bytes) -> bool:
        try:
            ready = self._poll.poll(0)
            if not ready or not ready[0][1] & select.POLLOUT:
                return False
            write(self._descriptor, data)
        except OSError:
            return False  # the reader is gone; answers go on
        return True


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
