"""Files on their way to the server: digests first, then bytes, and after a break from where they stopped."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from model_platform.client import Client
from model_platform.display import words
from model_platform.display.progress import Progress
from model_platform_core.errors import ModelPlatformError, ServerUnavailableError
from model_platform_core.models import FileEntry
from model_platform_core.wire import UploadStatus

_BLOCK_BYTES = 1 << 20
_TRIES = 6
_PAUSE_SECONDS = 0.3


def list_files(folder: Path) -> list[FileEntry]:
    """Every file below a folder with size and digest, by path; symbolic links are left out."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [
        FileEntry(path=path.relative_to(folder).as_posix(), size=path.stat().st_size, sha256=_digest(path))
        for path in paths
    ]


def upload(
    client: Client, model: str, folder: Path, files: list[FileEntry], progress: Progress, *, ours: bool = False
) -> str:
    """Bring the files to the server and have them checked there; returns the upload's id.

    Whatever stops it, an interrupt too, leaves nothing on the server.

    Parameters
    ----------
    ours
        Nobody will ever write into these files: the server of this user on this machine may have them as they lie there,
        by a second name for the same bytes.

    Raises
    ------
    ServerUnavailableError
        If the connection breaks again and again.
    """
    status = client.start_upload(model, files)
    try:
        total = sum(file.size for file in files)
        place = client.rest.uploads if ours else None
        for number, file in enumerate(files):
            laid = place is not None and _laid(folder, file, place / status.id / "given" / str(number), status)
            if not laid:
                _send(client, status, folder, file)
            if file.size > _BLOCK_BYTES:
                progress.detail(f"{words.size(file.size)} of {words.size(total)}")
        client.finish_upload(status.id)
    except BaseException:
        discard(client, status.id)
        raise
    return status.id


def discard(client: Client, upload_id: str) -> None:
    """Give an upload up, if that can be told; else the server forgets it by itself."""
    with contextlib.suppress(ModelPlatformError):
        client.discard_upload(upload_id)


def _laid(folder: Path, file: FileEntry, place: Path, status: UploadStatus) -> bool:
    """Give the server the file itself; False where that cannot be, or it has another name by which it may change."""
    if status.received.get(file.path, 0) >= file.size:  # it needs no bytes, or has them
        return True
    try:
        if (folder / file.path).stat().st_nlink > 1:
            return False
        os.link(folder / file.path, place)
    except OSError:  # another disk, another file system
        return False
    return True


def _send(client: Client, status: UploadStatus, folder: Path, file: FileEntry) -> None:
    received = status.received.get(file.path, 0)
    for attempt in range(1, _TRIES + 1):
        if received >= file.size and file.size:
            return
        try:
            client.send_bytes(status.id, file.path, received, lambda at=received: _blocks(folder / file.path, at))  # type: ignore[misc]
        except ServerUnavailableError:
            if attempt == _TRIES:
                raise
            time.sleep(_PAUSE_SECONDS * 2 ** (attempt - 1))
            received = client.upload_status(status.id).received.get(file.path, 0)
        else:
            return


def _blocks(path: Path, offset: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(offset)
        while block := file.read(_BLOCK_BYTES):
            yield block


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    for block in _blocks(path, 0):
        digest.update(block)
    return f"sha256:{digest.hexdigest()}"
