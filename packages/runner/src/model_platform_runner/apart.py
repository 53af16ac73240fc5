"""Something tried in a process of its own: a copy of this one, which ends with it.

What it touches on the way (libraries, tables) stays shared with the fork server here, instead of becoming this runner's
own memory; and should it end the process, it has not ended this one.
"""

import contextlib
import os
import select
import signal
import warnings
from collections.abc import Callable
from pathlib import Path

_SECONDS = 30.0
_TASKS = Path("/proc/self/task")
_NOTHING, _SOMETHING = b"\0", b"\1"


def tried_apart(work: Callable[[], str | None]) -> str | None:
    """Return what `work` returns. Where threads run already, it is done here: a copy would hold their locks for good.

    An end before its time, and one that does not come, are told in a sentence.
    """
    if len(os.listdir(_TASKS)) > 1:  # noqa: PTH208 - nothing but how many
        return work()
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on: about threads, which are looked at
        pid = os.fork()
    if pid == 0:
        _tell(work, writing)
    os.close(writing)
    try:
        return _told(reading)
    finally:
        os.close(reading)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _tell(work: Callable[[], str | None], writing: int) -> None:
    signal.alarm(int(_SECONDS) + 1)  # should nobody be left to end it
    try:
        told = work()
        os.write(writing, _NOTHING if told is None else _SOMETHING + told.encode())
    finally:
        os._exit(0)  # never back into what the other process goes on with


def _told(reading: int) -> str | None:
    ready, _, _ = select.select([reading], [], [], _SECONDS)
    answer = os.read(reading, select.PIPE_BUF) if ready else _SOMETHING + b"It took too long to be tried."
    if answer == _NOTHING:
        return None
    return answer[1:].decode() or "It ended its process while it was tried."
