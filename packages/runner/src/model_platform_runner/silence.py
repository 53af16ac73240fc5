"""What a model prints, warns or logs while it answers may repeat rows: it is counted and thrown away.

Only where the rows are of nobody, and somebody is still developing the model, is it told as well.
"""

import io
import os
import sys
import warnings
from collections.abc import Callable

Keep = Callable[[str], None]
_LONGEST = 1000


class Discarded(io.TextIOWrapper):
    """A text stream that keeps nothing but how often it was written to; ``keep`` gets the text where it may."""

    def __init__(self, keep: Keep | None = None) -> None:
        super().__init__(io.BufferedWriter(io.FileIO(os.devnull, "w")), encoding="utf-8", errors="replace")
        self.writes = 0
        self._keep = keep
        self._line = ""

    def write(self, text: str, /) -> int:
        """Count, and keep nothing of one's own."""
        self.writes += 1
        if self._keep is not None:
            *lines, self._line = (self._line + text).split("\n")
            self._line = self._line[:_LONGEST]
            for line in lines:
                self._keep(line[:_LONGEST])
        return len(text)


def discard_output(keep: Keep | None = None) -> list[Discarded]:
    """Send the process's output and errors to the null device, at every level, for good.

    Descriptors 1 and 2 are replaced, so that nothing written by C code passes either. Descriptors that were
    duplicated before (the journal's) stay as they are.

    Parameters
    ----------
    keep
        Gets what Python code writes, where that may be kept.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    null = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    streams = [Discarded(keep), Discarded(keep)]
    sys.stdout, sys.stderr = streams
    # Through sys.stderr, which only counts: a module that was given another hook earlier does not get around it.
    warnings.showwarning = _count_warning if keep is None else _tell_warning
    return streams


def _count_warning(*_arguments: object, **_options: object) -> None:
    sys.stderr.write("")


def _tell_warning(message: Warning | str, category: type[Warning], *_arguments: object, **_options: object) -> None:
    sys.stderr.write(f"{category.__name__}: {message}\n")
