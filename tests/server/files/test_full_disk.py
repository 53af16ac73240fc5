"""On a real small disk that fills up: nothing half-written counts, what works is said, and it goes on from there."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from model_platform_core.errors import StorageUnavailableError
from model_platform_core.models import FileEntry
from model_platform_core.refs import ModelRef
from model_platform_server.adapters.files import disk
from model_platform_server.adapters.files.uploads import FileUploads

CHURN = ModelRef("dev-alice", "churn")
KIB = 1 << 10


def declared(path: str, content: bytes) -> FileEntry:
    return FileEntry(path=path, size=len(content), sha256="sha256:" + hashlib.sha256(content).hexdigest())


def pieces(content: bytes, size: int = 10_000) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


def check_words(error: StorageUnavailableError, folder: Path) -> None:
    assert "Endpoints that are live go on answering" in error.message
    assert str(folder) in error.message
    assert "free some space" in error.message


def test_what_does_not_fit_is_refused_before_it_is_sent(small_disk: Path) -> None:
    uploads = FileUploads(small_disk / "uploads")
    files = [declared("a", b"a" * (1200 * KIB)), declared("b", b"b" * (1200 * KIB))]
    with pytest.raises(StorageUnavailableError, match=r"takes 2\.3 MiB") as caught:
        uploads.start(CHURN, "alice", files)
    check_words(caught.value, small_disk)
    assert list((small_disk / "uploads").iterdir()) == []


def test_a_disk_that_fills_up_stops_the_upload_and_it_goes_on_when_there_is_room(
    small_disk: Path, fill_small_disk: Callable[[], Path]
) -> None:
    uploads = FileUploads(small_disk / "uploads")
    content = os.urandom(900 * KIB)
    upload = uploads.start(CHURN, "alice", [declared("MLmodel", b"small"), declared("data/model", content)]).id
    uploads.write(upload, "MLmodel", 0, iter([b"small"]))
    others: list[Path] = []

    def filling() -> Iterator[bytes]:
        for number, piece in enumerate(pieces(content)):
            if number == 30:
                others.append(fill_small_disk())
            yield piece

    with pytest.raises(StorageUnavailableError, match="is full") as caught:
        uploads.write(upload, "data/model", 0, filling())
    check_words(caught.value, small_disk)
    status = uploads.status(upload)
    assert not status.complete
    assert 300_000 <= status.received["data/model"] < len(content)
    assert status.received["MLmodel"] == 5
    others[0].unlink()
    begun = status.received["data/model"]
    assert uploads.write(upload, "data/model", begun, pieces(content[begun:])) == len(content)
    folder, _ = uploads.finish(upload)
    assert (folder / "data" / "model").read_bytes() == content


def test_no_upload_is_half_started_on_a_full_disk(small_disk: Path, fill_small_disk: Callable[[], Path]) -> None:
    uploads = FileUploads(small_disk / "uploads")
    other = fill_small_disk()
    with pytest.raises(StorageUnavailableError, match="is full") as caught:
        uploads.start(CHURN, "alice", [])
    check_words(caught.value, small_disk)
    assert list((small_disk / "uploads").iterdir()) == []
    other.unlink()
    assert uploads.start(CHURN, "alice", []).complete


def test_on_a_full_disk_uploads_can_be_given_up(small_disk: Path, fill_small_disk: Callable[[], Path]) -> None:
    uploads = FileUploads(small_disk / "uploads")
    upload = uploads.start(CHURN, "alice", [declared("model", b"x" * 1000)]).id
    fill_small_disk()
    uploads.discard(upload)
    assert list((small_disk / "uploads").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageUnavailableError, match="cannot be written") as caught:
        FileUploads(tmp_path / "file" / "uploads")
    assert "Endpoints that are live go on answering" in caught.value.message


_RECEIVER = """
import pathlib, sys
from model_platform_server.adapters.files import disk
from model_platform_server.adapters.files.uploads import FileUploads

def received():
    while chunk := sys.stdin.buffer.read(1000):
        yield chunk
        print(len(chunk), flush=True)

FileUploads(pathlib.Path(sys.argv[1])).write(sys.argv[2], "model", 0, received())
"""


def test_what_came_before_kill_9_is_there_and_the_rest_may_follow(tmp_path: Path) -> None:
    uploads = FileUploads(tmp_path)
    content = os.urandom(100_000)
    upload = uploads.start(CHURN, "alice", [declared("model", content)]).id
    receiver = [sys.executable, "-c", _RECEIVER, str(tmp_path), upload]
    with subprocess.Popen(receiver, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(content[:50_000])
        process.stdin.flush()
        for _ in range(40):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.stdin.close()
    begun = uploads.status(upload).received["model"]
    assert 40_000 <= begun <= 50_000
    uploads.write(upload, "model", begun, pieces(content[begun:]))
    folder, _ = uploads.finish(upload)
    assert (folder / "model").read_bytes() == content


_LARGE = """
import hashlib, pathlib, resource, sys
from model_platform_core.models import FileEntry
from model_platform_core.refs import ModelRef
from model_platform_server.adapters.files import disk
from model_platform_server.adapters.files.uploads import FileUploads

count, piece = 3000, bytes(100_000)
digest = hashlib.sha256()
for _ in range(count):
    digest.update(piece)
file = FileEntry(path="model", size=count * len(piece), sha256="sha256:" + digest.hexdigest())
uploads = FileUploads(pathlib.Path(sys.argv[1]))
upload = uploads.start(ModelRef("z", "m"), "alice", [file]).id
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
uploads.write(upload, "model", 0, (piece for _ in range(count)))
folder, _ = uploads.finish(upload)
assert uploads.status(upload).complete
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_stays_flat_while_300_megabytes_come(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", _LARGE, str(tmp_path)], check=True, capture_output=True, text=True)
    in_kib = 1 if sys.platform == "linux" else 1 << 10
    assert int(ran.stdout) / in_kib < 20_000


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (errno.ENOSPC, "is full"),
        (errno.EDQUOT, "is full"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "input/output error"),
    ],
)
def test_every_way_in_which_a_disk_refuses_is_told(tmp_path: Path, reason: int, words: str) -> None:
    with pytest.raises(StorageUnavailableError, match=words) as caught, disk.translated(tmp_path, needed=5 << 30):
        raise OSError(reason, os.strerror(reason))
    assert "Endpoints that are live go on answering" in caught.value.message
    assert ("5.0 GiB" in caught.value.message) == (words == "is full")
