"""Files on their way in, on the server's disk.

    root/<upload id>/upload.json     model, actor and declared files; written once
                     parts/<n>       the n-th declared file while it comes: as long as what has been received
                     given/<n>       the same, laid there whole by a client of this user on this machine
                     files/<path>    the same file once it is complete, its digest right and its bytes on the disk

The last step is one rename, so there is no state that could disagree with the bytes: what lies in `files` is complete
and right, whatever was killed when. No name that came from outside is used before the bytes are proven, and every folder
on the way to it is opened without following links.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from io import FileIO
from pathlib import Path

from model_platform_core.errors import ConflictError, FieldProblem, InvalidUploadError, UploadNotFoundError
from model_platform_core.models import FileEntry
from model_platform_core.refs import ModelRef
from model_platform_core.values import Observed
from model_platform_core.wire import UploadStatus
from model_platform_server.adapters.files import disk

_ID = re.compile(r"[0-9a-f]{32}")
_STATE = "upload.json"
_CHUNK = 1 << 20
_PROBLEMS_SHOWN = 20


class _Announced(Observed):
    """What is said of an upload before its bytes come, as kept on the disk."""

    model: str
    actor: str
    files: tuple[FileEntry, ...]


@dataclass(frozen=True)
class _Upload:
    """An upload that is there; `numbers` finds a declared file by its path."""

    folder: Path
    announced: _Announced
    numbers: dict[str, int]

    @property
    def arrived(self) -> Path:
        """The folder of the files that are complete."""
        return self.folder / "files"

    def part(self, path: str) -> Path:
        """Where a file lies while it comes."""
        return self.folder / "parts" / str(self.numbers[path])

    def given(self, path: str) -> Path:
        """Where a client of the server's own user on this machine may lay a file instead of sending it."""
        return self.folder / "given" / str(self.numbers[path])

    def received(self, file: FileEntry) -> int:
        """How many bytes of a file have come."""
        if disk.lies_beneath(self.arrived, file.path):
            return file.size
        return disk.size_if_any(self.part(file.path))


@lru_cache(maxsize=64)
def _read(folder: Path) -> _Upload:
    # Written once and never changed, so it may be remembered: an upload of 10,000 files is asked for as often.
    announced = _Announced.model_validate_json((folder / _STATE).read_bytes())
    return _Upload(folder, announced, {file.path: number for number, file in enumerate(announced.files)})


class FileUploads:
    """The UploadStore on disk.

    Parameters
    ----------
    root
        A folder for uploads alone, made with mode 0700 if it is not there. Best on the disk of the artifacts, where
        finished files can be moved to without copying.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        with disk.translated(root):
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            root.chmod(0o700)

    def start(self, model: ModelRef, actor: str, files: Sequence[FileEntry]) -> UploadStatus:
        """A new upload; `model` has its zone.

        Raises
        ------
        InvalidUploadError
            If two files cannot lie beside one another: the same path twice, paths that differ in case only, or a file
            where another needs a folder.
        StorageUnavailableError
            If the disk has less room than the files need.
        """
        disk.check_paths([file.path for file in files])
        upload_id = secrets.token_hex(16)
        size = sum(file.size for file in files)
        with disk.translated(self._root, needed=size):
            disk.check_room(self._root, size)
            self._make(upload_id, _Announced(model=str(model), actor=actor, files=tuple(files)))
        try:
            for file in files:
                if file.size == 0:  # nothing will come that could complete it
                    self.write(upload_id, file.path, 0, iter(()))
        except BaseException:
            self.discard(upload_id)
            raise
        return self.status(upload_id)

    def _make(self, upload_id: str, announced: _Announced) -> None:
        making = self._root / f".new-{upload_id}"
        try:
            for folder in (making, making / "parts", making / "given", making / "files"):
                folder.mkdir(mode=0o700)
            disk.write_synced(making / _STATE, announced.model_dump_json().encode())
            making.rename(self._root / upload_id)
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise
        disk.sync_folder(self._root)

    def owner(self, upload_id: str) -> tuple[ModelRef, str]:
        """Model and actor of an upload; raises UploadNotFoundError."""
        announced = self._open(upload_id).announced
        return ModelRef.parse(announced.model), announced.actor

    def write(self, upload_id: str, path: str, offset: int, data: Iterator[bytes]) -> int:
        """Write bytes of one file from `offset` on; returns how many it has now.

        An offset below what has come replaces what follows it, so a part may be sent again when its answer was lost. A
        file that is complete is left as it is. If the disk fills up, what came before stays and can be gone on from.

        Raises
        ------
        InvalidUploadError
            If the file is not of this upload, the offset leaves a gap, more comes than was declared (then what came in
            this call is dropped), or the complete file has another digest (then all of it is dropped).
        ConflictError
            If another call is writing this file.
        UploadNotFoundError, StorageUnavailableError
            If the upload is gone; if the disk is full or cannot be written.
        """
        upload = self._open(upload_id)
        if path not in upload.numbers:
            raise InvalidUploadError(f"{path!r} is not among the files of this upload; publish again to add it.")
        file = upload.announced.files[upload.numbers[path]]
        with disk.translated(self._root, needed=file.size - offset):
            if disk.lies_beneath(upload.arrived, path):
                return file.size
            with disk.locked(upload.part(path)) as handle:
                if handle is None:
                    raise ConflictError(f"Another call is writing {path} of this upload; wait until it has ended.")
                if disk.lies_beneath(upload.arrived, path):  # completed by who had the lock before
                    return file.size
                size = _receive(handle, file, offset, data)
                if size == file.size:
                    _prove(handle, file)
                    disk.move_beneath(upload.part(path), upload.arrived, path)
                return size

    def link(self, upload_id: str, path: str, source: Path) -> None:
        """Take a file that the actor may read from where it lies; nothing if it is not what was declared.

        The bytes are copied and their digest checked: two versions that shared them on the disk would both change when
        one is changed, and damaged bytes would be handed on.
        """
        try:
            with disk.open_plain(source) as origin:
                self.write(upload_id, path, 0, iter(lambda: origin.read(_CHUNK), b""))
        except (FileNotFoundError, InvalidUploadError):
            return  # the client sends it then

    def status(self, upload_id: str) -> UploadStatus:
        """What has come."""
        upload = self._open(upload_id)
        files = upload.announced.files
        with disk.translated(self._root):
            received = {file.path: upload.received(file) for file in files}
            complete = all(disk.lies_beneath(upload.arrived, file.path) for file in files)
        return UploadStatus(id=upload_id, model=upload.announced.model, received=received, complete=complete)

    def finish(self, upload_id: str) -> tuple[Path, tuple[FileEntry, ...]]:
        """Check that all is there with the right digests; the folder and its files, safe on the disk.

        Raises
        ------
        InvalidUploadError
            Names what is missing, all at once (the first 20 by field).
        """
        upload = self._open(upload_id)
        files = upload.announced.files
        with disk.translated(self._root):
            missing = [file for file in files if not disk.lies_beneath(upload.arrived, file.path)]
            for file in missing:
                if not upload.received(file):
                    self._take(upload, file)
                elif upload.received(file) == file.size:  # all came, and the server was killed before it had looked
                    self.write(upload_id, file.path, file.size, iter(()))
            missing = [file for file in missing if not disk.lies_beneath(upload.arrived, file.path)]
            if missing:
                raise _incomplete(upload, missing)
            disk.sync_tree(upload.arrived)
            (upload.folder / _STATE).touch()  # a sign of life: `sweep` leaves it to whoever takes the files now
        return upload.arrived, files

    def _take(self, upload: _Upload, file: FileEntry) -> None:
        """Take a file that was laid beside, if there is one: its bytes stay where they are on the disk.

        Only this user can lay it there, by a link to a file of their own that nobody else has a name for.
        """
        place = upload.given(file.path)
        with suppress(FileNotFoundError), disk.open_own(place) as handle:
            if (size := os.fstat(handle.fileno()).st_size) != file.size:
                raise InvalidUploadError(f"{file.path} has {size} bytes, not {file.size} as announced.")
            _prove(handle, file)
            disk.move_beneath(place, upload.arrived, file.path)

    def discard(self, upload_id: str) -> None:
        """Remove what came; nothing if it is gone."""
        if _ID.fullmatch(upload_id):
            with disk.translated(self._root):
                disk.remove_folder(self._root / upload_id)

    def sweep(self, older_than: dt.datetime) -> list[str]:
        """Remove uploads to which nothing has come since then, and what a killed server left; the uploads' ids."""
        swept = []
        with disk.translated(self._root):
            for folder in sorted(self._root.iterdir()):
                if disk.last_change(folder) < older_than:
                    disk.remove_folder(folder)
                    swept += [folder.name] if _ID.fullmatch(folder.name) else []
        return swept

    def _open(self, upload_id: str) -> _Upload:
        folder = self._root / upload_id
        with disk.translated(self._root):  # a folder that is not there is an upload that is not there
            if not _ID.fullmatch(upload_id) or not (folder / _STATE).is_file():
                raise UploadNotFoundError("There is no such upload any more.", hint="publish again")
            return _read(folder)


def _receive(handle: FileIO, file: FileEntry, offset: int, data: Iterator[bytes]) -> int:
    """Write what comes from `offset` on; how many bytes the file has then."""
    size = os.fstat(handle.fileno()).st_size
    if not 0 <= offset <= size:
        raise InvalidUploadError(f"{file.path} has {size} bytes so far; go on from there, not from {offset}.")
    handle.truncate(offset)
    handle.seek(offset)
    for chunk in _sent(data, file.path):
        if handle.tell() + len(chunk) > file.size:
            handle.truncate(offset)
            raise InvalidUploadError(f"{file.path} was declared with {file.size} bytes, and more came; publish again.")
        disk.write_whole(handle, chunk)
    return handle.tell()


def _sent(data: Iterator[bytes], path: str) -> Iterator[bytes]:
    """What comes; a line that breaks is no fault of our disk."""
    try:
        yield from data
    except OSError as error:
        raise InvalidUploadError(f"{path} broke off while it came; go on from where it stopped.") from error


def _prove(handle: FileIO, file: FileEntry) -> None:
    """Compare the digest of what lies on the disk, read in pieces, and see to it that it stays there."""
    handle.seek(0)
    found = "sha256:" + hashlib.file_digest(handle, "sha256").hexdigest()
    if found != file.sha256:
        if handle.writable():
            handle.truncate(0)
        problem = FieldProblem(field=file.path, problem=f"the digest is {found}, declared was {file.sha256}")
        raise InvalidUploadError(f"{file.path} is not the file that was declared; send it again.", fields=[problem])
    os.fsync(handle.fileno())


def _incomplete(upload: _Upload, missing: Sequence[FileEntry]) -> InvalidUploadError:
    problems = [
        FieldProblem(field=file.path, problem=f"{upload.received(file)} of {file.size} bytes have come")
        for file in missing[:_PROBLEMS_SHOWN]
    ]
    count = len(missing)
    what = "file has" if count == 1 else "files have"
    return InvalidUploadError(f"{count} {what} not come completely; send the rest and finish again.", fields=problems)
