"""What a runner tells its supervisor: JSON lines without data, on a descriptor that no model can reach by accident."""

import asyncio
import select
import time
from functools import lru_cache
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
        self._calls: list[tuple[float, str, str | None, int, int, float, bytes]] = []  # not written as lines yet
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scheduled = False
        self.dropped = 0

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Collect lines about calls from now on, and write them from this loop."""
        self._loop = loop

    def event(self, event: str, **facts: object) -> None:
        """Write what happened to the runner itself, at once."""
        self._write_calls()
        self._add({"event": event, "at": _moment(time.time()), **facts})
        self.flush()

    def call(self, method: str, path: str | None, status: int, rows: int, seconds: float, request_id: bytes) -> None:
        """Note a call: method, path template (None for an unknown one), status, rows, seconds, request id.

        Texts are taken as they are: methods, templates and ids hold no character that JSON would write otherwise.
        """
        if len(self._calls) + len(self._lines) >= _KEPT_LINES:
            self.dropped += 1
            return
        self._calls.append((time.time(), method, path, status, rows, seconds, request_id))
        if self._loop is None:
            self.flush()
        elif not self._scheduled:
            self._scheduled = True
            self._loop.call_later(_FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what is collected, as far as the reader takes it."""
        self._scheduled = False
        self._write_calls()
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

    def _write_calls(self) -> None:
        """Make lines of the calls: together, since a line of each at its time would cost more than some answers."""
        calls, self._calls = self._calls, []
        for at, method, path, status, rows, seconds, request_id in calls:
            where = "null" if path is None else f'"{path}"'
            self._lines.append(
                f'{{"event":"call","at":"{_moment(at)}","method":"{method}","path":{where},"status":{status},'
                f'"rows":{rows},"ms":{seconds * 1000:.3f},"request_id":"{request_id.decode()}"}}\n'.encode()
            )

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


def _moment(seconds: float) -> str:
    whole, fraction = divmod(seconds, 1)
    return f"{_to_the_second(int(whole))}.{int(fraction * 1000):03}Z"


@lru_cache(maxsize=4)
def _to_the_second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
