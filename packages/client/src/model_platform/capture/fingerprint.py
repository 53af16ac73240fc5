"""The fingerprint of a data set: one digest over its full content. The data itself stays where it is.

The definition, so that anybody can compute it again. SHA-256 over, one after the other:

1. a header: canonical JSON (sorted keys, no spaces, UTF-8) of `{"columns": [[name, kind], …], "rows": n}` and a zero
   byte; for an array `{"dtype": "float64", "shape": [...]}`, with its `name` where there are several;
2. every column in its order, in blocks of 65,536 rows; a block is one byte for each row (1 where the value is missing)
   followed by its values, all little-endian and row after row, by kind:
   - `boolean`: one byte; `integer`: int64 (uint64 where unsigned); `float`: float64; `date`: int64, microseconds since
     1970 (UTC where there is a time zone); missing values count as 0;
   - `text`: int64 with the number of code points of each value, then all values together in UTF-8; a missing one is
     empty;
   - `other`: as text, each value's canonical JSON, or its `repr` where JSON knows no such value.
   Categories count as the values they stand for. An index that only numbers the rows does not count.
3. for arrays: the values in C order.

A file's digest is that of its bytes, as `sha256sum` gives it. A folder's is over a line for each file in order of path:
path, zero byte, the file's digest in hexadecimal, line feed. So neither the library nor its version nor how it stores a
column changes the digest of the same values.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from typing import Any

from model_platform.capture.blocks import ChangedError, Source, Unreadable, source_of
from model_platform.capture.table import Table
from model_platform_core.lineage import DataFingerprint

PATIENCE_SECONDS = 2.0
_TICK_SECONDS = 0.1
INTERRUPTED = "interrupted"


class Fingerprinting:
    """The digest of one data set, computed beside other work from the moment this is made."""

    def __init__(self, name: str, source: Source) -> None:
        self._source = source
        self._known = DataFingerprint(
            name=name, rows=source.rows, columns=source.columns, size=source.size, types=source.types
        )
        self._done, self._stop = threading.Event(), threading.Event()
        self._turn, self._ending = threading.Lock(), threading.Lock()
        self._sha256: str | None = None
        self._note: str | None = None
        self._share = 0.0
        threading.Thread(target=self._run, name="fingerprint", daemon=True).start()

    @property
    def result(self) -> DataFingerprint:
        """The fingerprint as far as it is known: done, given up with a note, or pending."""
        if not self._done.is_set():
            return self._known.model_copy(update={"pending": True})
        return self._known.model_copy(update={"sha256": self._sha256, "note": self._note})

    def wait(self, seconds: float | None, report: Callable[[str], None] = lambda _: None) -> bool:
        """Whether it is done, after waiting so long at most; None waits to the end. An interrupt gives it up."""
        deadline = None if seconds is None else time.monotonic() + seconds
        try:
            while not self._done.is_set() and (deadline is None or time.monotonic() < deadline):
                report(f"fingerprint of {self._known.name} {self._share:.0%}")
                self._done.wait(_TICK_SECONDS)
        except KeyboardInterrupt:
            self.give_up(INTERRUPTED)
        return self._done.is_set()

    def give_up(self, note: str) -> None:
        """Leave it *not fingerprinted*, if it is not done."""
        with self._ending:
            if not self._done.is_set():
                self._note = note
                self._stop.set()
                self._done.set()

    def detach(self) -> None:
        """Go on with a copy of the data: the notebook goes on as well, and may change it."""
        if not self._turn.acquire(timeout=PATIENCE_SECONDS):  # a disk that does not answer
            self.give_up("it could not be read in time")
            return
        try:
            if not self._done.is_set():
                self._source.detach()
        except MemoryError:
            self.give_up("there was no memory to copy the data while its digest was computed")
        finally:
            self._turn.release()

    def _run(self) -> None:
        digest, sha256, note = hashlib.sha256(), None, None
        try:
            pieces = self._source.pieces()
            while not self._stop.is_set():
                with self._turn:  # a block is read whole before the data may be exchanged for its copy
                    piece = next(pieces, None)
                if piece is None:
                    sha256 = f"sha256:{digest.hexdigest()}"
                    break
                digest.update(piece[1])
                self._share = piece[0] / self._source.total
        except ChangedError:
            note = "it changed while it was read"
        except Exception as error:  # noqa: BLE001 - whatever a library raises for its own data: told, never in the way
            note = f"it could not be read ({type(error).__name__})"
        with self._ending:
            if not self._done.is_set():
                self._sha256, self._note = sha256, note
                self._done.set()


def fingerprinting(name: str, value: Any, rows: Table | None) -> Fingerprinting | None:
    """Begin to compute the fingerprint of a value; None where there is nothing to compute one of."""
    try:
        source = source_of(value, rows)
    except Exception as error:  # noqa: BLE001 - whatever a library raises for its own data: told, never in the way
        source = Unreadable(error)
    return Fingerprinting(name, source) if source is not None else None


def fingerprint(name: str, value: Any, rows: Table | None = None) -> DataFingerprint:
    """The fingerprint of a value, whole; raises ValueError if it is nothing that has one."""
    running = fingerprinting(name, value, rows)
    if running is None:
        raise ValueError(f"{type(value).__name__} is no data set")
    running.wait(None)
    return running.result
