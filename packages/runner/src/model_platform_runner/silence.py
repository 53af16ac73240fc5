"""What a model prints, warns or logs while it answers may repeat rows: it is counted and thrown away."""

import io
import os
import sys
import warnings


class Discarded(io.TextIOWrapper):
    """A text stream that keeps nothing but how often it was written to."""

    def __init__(self) -> None:
        super().__init__(io.BufferedWriter(io.FileIO(os.devnull, "w")), encoding="utf-8", errors="replace")
        self.writes = 0

    def write(self, text: str, /) -> int:
        """Count, and keep nothing."""
        self.writes += 1
        return len(text)


def discard_output() -> list[Discarded]:
    """Send the process's output and errors to the null device, at every level, for good.

    Descriptors 1 and 2 are replaced, so that nothing written by C code passes either. Descriptors that were
    duplicated before (the journal's) stay as they are.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    null = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    streams = [Discarded(), Discarded()]
    sys.stdout, sys.stderr = streams
    # Through sys.stderr, which only counts: a module that was given another hook earlier does not get around it.
    warnings.showwarning = _count_warning
    return streams


def _count_warning(*_arguments: object, **_options: object) -> None:
    sys.stderr.write("")
