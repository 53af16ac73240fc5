"""What others see of a process as its command line, which lies in memory that the process may write to."""

import ctypes
import errno
import os
from collections.abc import Sequence
from pathlib import Path


def pose_as(command: Sequence[str]) -> None:
    """Write another command line over that of this process, as if it had been started so. Linux only.

    Raises
    ------
    OSError
        If it has less room than that.
    """
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    first, end = int(fields[45]), int(fields[46])  # arg_start and arg_end, counted from the state of the process
    text = b"".join(os.fsencode(argument) + b"\0" for argument in command)
    if not 0 < len(text) <= end - first:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    ctypes.memmove(first, text.ljust(end - first, b"\0"), end - first)
