"""What a file system is asked for here, done so that it holds after a power cut and follows no link out of its folder."""

from __future__ import annotations

import datetime as dt
import errno
import fcntl
import os
import shutil
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path, PurePosixPath

from model_platform_core.errors import InvalidUploadError, StorageUnavailableError, UploadNotFoundError

LONGEST_NAME = 255  # bytes of one part of a path: the limit of every common file system

_FULL = {errno.ENOSPC, errno.EDQUOT}
_STILL_WORKS = "Endpoints that are live go on answering"


@contextmanager
def translated(folder: Path, *, needed: int = 0) -> Iterator[None]:
    """Raise the platform's errors instead of the system's.

    Parameters
    ----------
    needed
        Bytes that are to be written, for the sentence that says what to free.

    Raises
    ------
    StorageUnavailableError
        If the disk is full, over its quota, read-only, broken or closed to the server's user.
    UploadNotFoundError
        If the upload was removed meanwhile.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise UploadNotFoundError("There is no such upload any more.", hint="publish again") from error
    except OSError as error:
        if error.errno in _FULL:
            raise _full(folder, needed) from error
        reason = (error.strerror or "it does not say why").lower()
        raise StorageUnavailableError(
            f"The platform's folder {folder} cannot be written: {reason}. {_STILL_WORKS}; see to it that the disk is "
            "there, can be written and belongs to the server's user, and publish again."
        ) from error


def _full(folder: Path, needed: int) -> StorageUnavailableError:
    need = f" This takes {_readable(needed)}." if needed else ""
    return StorageUnavailableError(
        f"The disk that holds {folder} is full.{need} {_STILL_WORKS}, and what has come so far is kept; free some space "
        "there, or delete versions that nobody needs, and publish again."
    )


def _readable(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{size:.1f} {unit}" if unit != "bytes" else f"{size:.0f} bytes"


def check_room(folder: Path, needed: int) -> None:
    """Raise StorageUnavailableError now if the disk has less room than `needed`: before hours of sending."""
    if shutil.disk_usage(folder).free < needed:
        raise _full(folder, needed)


def check_paths(paths: Sequence[str]) -> None:
    """Nothing if files of these names can lie beside one another on every common file system.

    Raises
    ------
    InvalidUploadError
        Says which two names clash, or which is too long.
    """
    names: dict[str, str] = {}
    for path in paths:
        if any(len(part.encode()) > LONGEST_NAME for part in path.split("/")):
            raise InvalidUploadError(f"{path[:60]!r}… has a part of more than {LONGEST_NAME} bytes; shorten the name.")
        if (other := names.get(_folded(path))) is not None:
            raise InvalidUploadError(f"{other!r} and {path!r} cannot lie beside one another; give one another name.")
        names[_folded(path)] = path
    for path in paths:
        for parent in PurePosixPath(path).parents:
            if (file := names.get(_folded(str(parent)))) is not None:
                raise InvalidUploadError(f"{file!r} is a file, so {path!r} cannot lie below it; rename one of them.")


def _folded(path: str) -> str:
    # macOS keeps names without regard to case and to how accents are composed.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


@contextmanager
def locked(path: Path) -> Iterator[FileIO | None]:
    """The file, made if it is not there, for this call alone; None if another call has it (also in another process)."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with FileIO(descriptor, "r+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield handle


def open_plain(path: Path) -> FileIO:
    """A plain file for reading; raises FileNotFoundError if there is none, or it is a link or something else."""
    try:
        handle = FileIO(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        raise FileNotFoundError(errno.ENOENT, "no plain file", str(path)) from error
    if not stat.S_ISREG(os.fstat(handle.fileno()).st_mode):
        handle.close()
        raise FileNotFoundError(errno.ENOENT, "no plain file", str(path))
    return handle


def open_own(path: Path) -> FileIO:
    """A plain file of this process' user, from now on for them alone; raises FileNotFoundError for anything else."""
    handle = open_plain(path)
    if os.fstat(handle.fileno()).st_uid != os.getuid():
        handle.close()
        raise FileNotFoundError(errno.ENOENT, "a file of somebody else", str(path))
    os.fchmod(handle.fileno(), 0o600)
    return handle


def write_whole(handle: FileIO, chunk: bytes) -> None:
    """Write all of it: a raw write may take a part only, which on a full disk is the last one."""
    left = memoryview(chunk)
    while left:
        left = left[handle.write(left) or 0 :]


def size_if_any(path: Path) -> int:
    """The size of a file in bytes, 0 if there is none."""
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


@contextmanager
def _folder_beneath(root: Path, parts: Sequence[str], *, make: bool) -> Iterator[int]:
    """A descriptor of the folder, reached step by step without following a link."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(root, flags)
    try:
        for part in parts:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, 0o700, dir_fd=descriptor)
            below = os.open(part, flags, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def lies_beneath(root: Path, path: str) -> bool:
    """Whether a plain file of that path lies below the folder, no link on the way to it."""
    *parents, name = path.split("/")
    try:
        with _folder_beneath(root, parents, make=False) as folder:
            return stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def move_beneath(source: Path, root: Path, path: str) -> None:
    """Move a file, whose bytes are on the disk already, to its path below a folder of the same disk."""
    *parents, name = path.split("/")
    with _folder_beneath(root, parents, make=True) as folder:
        os.rename(source, name, dst_dir_fd=folder)


def sync_folder(folder: Path) -> None:
    """Let a folder's entries survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(root: Path) -> None:
    """The same for a folder and every folder below it."""
    for folder, _, _ in os.walk(root):
        sync_folder(Path(folder))


def write_synced(path: Path, content: bytes) -> None:
    """A new file, its bytes on the disk, readable by the server's user alone."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with FileIO(descriptor, "w") as handle:
        write_whole(handle, content)
        os.fsync(handle.fileno())


def remove_folder(folder: Path) -> None:
    """Remove a folder with all that is in it, or a stray file; nothing if it is gone. Nobody sees half of it."""
    gone = folder.with_name(f".gone-{folder.name.removeprefix('.gone-')}")
    try:
        folder.rename(gone)
        if gone.is_symlink() or not gone.is_dir():
            gone.unlink()
        else:
            shutil.rmtree(gone)
    except FileNotFoundError:
        return


def last_change(folder: Path) -> dt.datetime:
    """When something was last written in a folder, to its files or one level below; the end of time if it is going."""
    try:
        newest = folder.lstat().st_mtime
        if stat.S_ISDIR(folder.lstat().st_mode):
            found = [*folder.glob("*"), *folder.glob("*/*")]
            newest = max([newest, *(path.lstat().st_mtime for path in found)])
    except FileNotFoundError:
        return dt.datetime.max.replace(tzinfo=dt.UTC)
    return dt.datetime.fromtimestamp(newest, dt.UTC)
