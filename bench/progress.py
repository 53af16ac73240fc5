"""What is being measured now: a line that stays on a terminal while it lasts, and nothing in a file."""

from __future__ import annotations

import sys
import time


class Progress:
    """Tells on standard error; what is a result goes to standard output."""

    def __init__(self) -> None:
        self._shows = sys.stderr.isatty()
        self._began = time.monotonic()

    def __call__(self, words: str) -> None:
        """Replace the line."""
        if self._shows:
            passed = time.monotonic() - self._began
            sys.stderr.write(f"\r\x1b[K{passed:4.0f} s  {words}"[:150])
            sys.stderr.flush()

    def line(self, words: str) -> None:
        """Take the line away, and print one that stays."""
        if self._shows:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
        print(words, flush=True)
