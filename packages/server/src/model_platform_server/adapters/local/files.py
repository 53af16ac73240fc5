"""Small files that are replaced whole: a reader, or the next server after a crash, sees the old one or the new one."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from model_platform_core.errors import StorageUnavailableError

_LOG_BYTES = 5 << 20


@contextlib.contextmanager
def storing(path: Path) -> Iterator[None]:
    """What the disk refuses in this block becomes an error that says so.

    Raises
    ------
    StorageUnavailableError
        If the disk is full, or may not be written.
    """
    try:
        yield
    except OSError as error:
        raise StorageUnavailableError(f"{path} cannot be written: {error.strerror or error}.") from error


def private_folder(path: Path) -> Path:
    """A folder of mode 0700, made if it is not there; raises as `storing` does."""
    with storing(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def replace(path: Path, content: str | bytes) -> None:
    """Put a file of mode 0600 in place by a move within its folder; raises as `storing` does."""
    with storing(path):
        descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
            Path(beside).replace(path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise


def read(path: Path) -> str | None:
    """The text of a file; None if it is not there."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return path.read_text()
    return None


def read_bytes(path: Path) -> bytes | None:
    """What a file holds; None if it is not there."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return path.read_bytes()
    return None


def size(path: Path) -> int:
    """Bytes of a file; 0 if it is not there."""
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


def rotate(log: Path) -> None:
    """Keep one file of older lines beside a log that has grown; whoever appends to it goes on at its new beginning."""
    if size(log) <= _LOG_BYTES:
        return
    with storing(log):
        shutil.copyfile(log, log.with_suffix(".log.1"))
        os.truncate(log, 0)
