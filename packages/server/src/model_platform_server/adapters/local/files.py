"""Small files that are replaced whole: a reader, or the next server after a crash, sees the old one or the new one."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from model_platform_core.errors import StorageUnavailableError

_LOG_BYTES = 5 << 20


def private_folder(path: Path) -> Path:
    """A folder of mode 0700, made if it is not there."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageUnavailableError(f"{path} cannot be made: {error.strerror}.") from error
    return path


def replace(path: Path, text: str) -> None:
    """Put a file of mode 0600 in place by a move within its folder.

    Raises
    ------
    StorageUnavailableError
        If the disk is full or the folder cannot be written.
    """
    try:
        descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
            Path(beside).replace(path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageUnavailableError(f"{path} cannot be written: {error.strerror}.") from error


def read(path: Path) -> str | None:
    """The text of a file; None if it is not there."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return path.read_text()
    return None


def size(path: Path) -> int:
    """Bytes of a file; 0 if it is not there."""
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


def rotate(log: Path) -> None:
    """Keep one file of older lines beside a log that has grown; whoever appends to it goes on at its new beginning."""
    if size(log) > _LOG_BYTES:
        shutil.copyfile(log, log.with_suffix(".log.1"))
        os.truncate(log, 0)
