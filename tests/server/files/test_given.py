"""Files that a client of this user on this machine lays beside an upload: taken as they lie, once they are proven."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from model_platform_core.errors import InvalidUploadError
from model_platform_core.models import FileEntry
from model_platform_core.refs import ModelRef
from model_platform_server.adapters.files.uploads import FileUploads

CHURN = ModelRef("dev-alice", "churn")


def declared(path: str, content: bytes) -> FileEntry:
    return FileEntry(path=path, size=len(content), sha256="sha256:" + hashlib.sha256(content).hexdigest())


@pytest.fixture
def uploads(tmp_path: Path) -> FileUploads:
    return FileUploads(tmp_path / "uploads")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.bin"
    path.write_bytes(bytes(range(256)) * 1000)
    path.chmod(0o644)
    return path


def given(tmp_path: Path, upload: str, number: int) -> Path:
    return tmp_path / "uploads" / upload / "given" / str(number)


def test_it_is_taken_without_a_copy(uploads: FileUploads, tmp_path: Path, weights: Path) -> None:
    content = weights.read_bytes()
    upload = uploads.start(CHURN, "alice", [declared("MLmodel", b"x"), declared("data/w", content)]).id
    uploads.write(upload, "MLmodel", 0, iter([b"x"]))
    os.link(weights, given(tmp_path, upload, 1))
    directory, files = uploads.finish(upload)
    assert [file.path for file in files] == ["MLmodel", "data/w"]
    assert (directory / "data" / "w").read_bytes() == content
    assert (directory / "data" / "w").stat().st_ino == weights.stat().st_ino
    assert (directory / "data" / "w").stat().st_mode & 0o777 == 0o600
    assert uploads.status(upload).complete
    assert not given(tmp_path, upload, 1).exists()
    assert uploads.finish(upload)[0] == directory  # asked again, nothing changes


def test_bytes_other_than_declared_are_refused(uploads: FileUploads, tmp_path: Path, weights: Path) -> None:
    upload = uploads.start(CHURN, "alice", [declared("w", weights.read_bytes()[::-1])]).id
    os.link(weights, given(tmp_path, upload, 0))
    with pytest.raises(InvalidUploadError, match="not the file that was declared"):
        uploads.finish(upload)
    assert not uploads.status(upload).complete
    assert len(weights.read_bytes()) == 256_000  # nothing was written into what is not the server's yet


def test_links_that_lead_away_and_other_things_count_as_nothing(
    uploads: FileUploads, tmp_path: Path, weights: Path
) -> None:
    content = weights.read_bytes()
    upload = uploads.start(CHURN, "alice", [declared("a", content), declared("b", content)]).id
    given(tmp_path, upload, 0).symlink_to(weights)
    given(tmp_path, upload, 1).mkdir()
    with pytest.raises(InvalidUploadError, match="2 files have not come"):
        uploads.finish(upload)


def test_a_file_of_which_bytes_were_sent_is_gone_on_with(uploads: FileUploads, tmp_path: Path, weights: Path) -> None:
    content = weights.read_bytes()
    upload = uploads.start(CHURN, "alice", [declared("w", content)]).id
    uploads.write(upload, "w", 0, iter([content[:10]]))
    os.link(weights, given(tmp_path, upload, 0))
    with pytest.raises(InvalidUploadError, match="1 file has not come"):
        uploads.finish(upload)
    assert uploads.write(upload, "w", 10, iter([content[10:]])) == len(content)
    uploads.finish(upload)
