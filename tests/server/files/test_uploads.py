from __future__ import annotations

import datetime as dt
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from model_platform_core.errors import ConflictError, InvalidUploadError, UploadNotFoundError
from model_platform_core.models import FileEntry
from model_platform_core.refs import ModelRef
from model_platform_server.adapters.files.uploads import FileUploads

CHURN = ModelRef("dev-alice", "churn")


def declared(path: str, content: bytes) -> FileEntry:
    return FileEntry(path=path, size=len(content), sha256="sha256:" + hashlib.sha256(content).hexdigest())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "uploads"


@pytest.fixture
def uploads(root: Path) -> FileUploads:
    return FileUploads(root)


def start(uploads: FileUploads, **content: bytes) -> str:
    files = [declared(path.replace("__", "/"), data) for path, data in content.items()]
    return uploads.start(CHURN, "alice", files).id


def put(uploads: FileUploads, upload: str, path: str, content: bytes, offset: int = 0) -> int:
    return uploads.write(upload, path, offset, iter([content]))


def test_files_that_came_are_there_with_their_folders(uploads: FileUploads) -> None:
    upload = start(uploads, MLmodel=b"flavours: {}", data__deep__model=b"weights")
    assert put(uploads, upload, "data/deep/model", b"weights") == 7
    assert uploads.status(upload).received == {"MLmodel": 0, "data/deep/model": 7}
    assert not uploads.status(upload).complete
    put(uploads, upload, "MLmodel", b"flavours: {}")
    assert uploads.status(upload).complete
    folder, files = uploads.finish(upload)
    assert {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()} == {
        "MLmodel": b"flavours: {}",
        "data/deep/model": b"weights",
    }
    assert files == (declared("MLmodel", b"flavours: {}"), declared("data/deep/model", b"weights"))
    assert uploads.finish(upload) == (folder, files)
    assert uploads.owner(upload) == (CHURN, "alice")


def test_nobody_else_on_the_machine_may_look(root: Path) -> None:
    root.mkdir(mode=0o755)
    uploads = FileUploads(root)
    upload = start(uploads, data__model=b"weights")
    put(uploads, upload, "data/model", b"weights")
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (root, *root.rglob("*"))}
    assert all(mode == (0o700 if path.is_dir() else 0o600) for path, mode in modes.items())


def test_an_upload_goes_on_where_it_stopped_also_on_another_server(uploads: FileUploads, root: Path) -> None:
    upload = start(uploads, model=b"0123456789")

    def broken() -> Iterator[bytes]:
        yield b"0123"
        raise ConnectionError

    with pytest.raises(InvalidUploadError, match="broke off"):
        uploads.write(upload, "model", 0, broken())
    later = FileUploads(root)
    assert later.status(upload).received == {"model": 4}
    assert put(later, upload, "model", b"456", 4) == 7
    assert put(later, upload, "model", b"789", 7) == 10
    assert later.status(upload).complete


def test_a_part_whose_answer_was_lost_may_come_again(uploads: FileUploads) -> None:
    upload = start(uploads, model=b"0123456789")
    put(uploads, upload, "model", b"01234")
    assert put(uploads, upload, "model", b"01234") == 5
    assert put(uploads, upload, "model", b"3456789", 3) == 10
    assert put(uploads, upload, "model", b"3456789", 3) == 10
    assert put(uploads, upload, "model", b"something else") == 10
    folder, _ = uploads.finish(upload)
    assert (folder / "model").read_bytes() == b"0123456789"


@pytest.mark.parametrize("offset", [-1, 5, 10, 1 << 70])
def test_a_gap_is_refused_and_the_place_to_go_on_is_said(uploads: FileUploads, offset: int) -> None:
    upload = start(uploads, model=b"0123456789")
    put(uploads, upload, "model", b"0123")
    with pytest.raises(InvalidUploadError, match="has 4 bytes so far"):
        put(uploads, upload, "model", b"456789", offset)
    assert uploads.status(upload).received == {"model": 4}


def test_more_than_declared_is_refused_and_what_came_before_stays(uploads: FileUploads) -> None:
    upload = start(uploads, model=b"0123456789")
    put(uploads, upload, "model", b"0123")
    with pytest.raises(InvalidUploadError, match="declared with 10 bytes"):
        uploads.write(upload, "model", 4, iter([b"4567", b"89X"]))
    assert uploads.status(upload).received == {"model": 4}
    assert put(uploads, upload, "model", b"456789", 4) == 10


def test_an_endless_sender_is_stopped_at_the_declared_size(uploads: FileUploads, root: Path) -> None:
    upload = start(uploads, model=b"x" * 100_000)

    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 30_000

    with pytest.raises(InvalidUploadError):
        uploads.write(upload, "model", 0, endless())
    assert max(path.stat().st_size for path in root.rglob("*") if path.is_file()) < 100_000


def test_other_bytes_of_the_same_length_are_refused_and_may_be_sent_again(uploads: FileUploads) -> None:
    upload = start(uploads, model=b"0123456789", MLmodel=b"m")
    put(uploads, upload, "model", b"01234")
    with pytest.raises(InvalidUploadError, match="model is not the file") as caught:
        put(uploads, upload, "model", b"5678X", 5)
    assert "0123456789" not in caught.value.message
    assert caught.value.fields[0].field == "model"
    assert uploads.status(upload).received["model"] == 0
    assert put(uploads, upload, "model", b"0123456789") == 10


def test_what_is_missing_is_named_at_once(uploads: FileUploads) -> None:
    upload = start(uploads, a=b"aa", b=b"bb", c=b"cc")
    put(uploads, upload, "a", b"a")
    put(uploads, upload, "c", b"cc")
    with pytest.raises(InvalidUploadError, match="2 files have not come") as caught:
        uploads.finish(upload)
    assert [(field.field, field.problem) for field in caught.value.fields] == [
        ("a", "1 of 2 bytes have come"),
        ("b", "0 of 2 bytes have come"),
    ]
    many = uploads.start(CHURN, "alice", [declared(f"f{n}", b"x") for n in range(100)]).id
    with pytest.raises(InvalidUploadError, match="100 files") as caught:
        uploads.finish(many)
    assert len(caught.value.fields) == 20


def test_empty_files_are_there_without_being_sent(uploads: FileUploads) -> None:
    upload = uploads.start(CHURN, "alice", [declared("package/__init__", b"")]).id
    assert uploads.status(upload).complete
    folder, _ = uploads.finish(upload)
    assert [path.stat().st_size for path in folder.rglob("*__init__")] == [0]


def test_an_empty_file_with_the_digest_of_another_is_refused(uploads: FileUploads, root: Path) -> None:
    wrong = FileEntry(path="empty", size=0, sha256="sha256:" + "0" * 64)
    with pytest.raises(InvalidUploadError, match="empty is not the file"):
        uploads.start(CHURN, "alice", [wrong])
    assert list(root.iterdir()) == []


def test_an_upload_of_nothing_is_complete(uploads: FileUploads) -> None:
    assert uploads.start(CHURN, "alice", []).complete


@pytest.mark.parametrize(
    "path", ["other", "../escape", "/etc/passwd", "", ".", "data", "data/../model", "model/", "\x00"]
)
def test_only_declared_paths_are_written(uploads: FileUploads, root: Path, path: str) -> None:
    upload = start(uploads, model=b"0123456789", data__file=b"x")
    before = sorted(root.rglob("*"))
    with pytest.raises(InvalidUploadError, match="not among the files"):
        put(uploads, upload, path, b"x")
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize(
    "upload", ["", "..", "../../etc", "a" * 32 + "/", "A" * 32, "a" * 31, "a" * 32, ".new-x", "é" * 32]
)
def test_an_upload_that_is_not_there_is_not_found(uploads: FileUploads, root: Path, upload: str) -> None:
    (root / "keep").mkdir()
    calls: list[Callable[[], object]] = [
        lambda: uploads.owner(upload),
        lambda: uploads.status(upload),
        lambda: uploads.finish(upload),
        lambda: put(uploads, upload, "model", b"x"),
    ]
    for call in calls:
        with pytest.raises(UploadNotFoundError):
            call()
    uploads.discard(upload)
    assert [path.name for path in root.iterdir()] == ["keep"]


@pytest.mark.parametrize(
    "paths",
    [
        ("model", "model"),
        ("Model", "model"),
        ("caf\u00e9", "cafe\u0301"),
        ("STRASSE", "straße"),
        ("data", "data/model"),
        ("data/model", "data"),
        ("a/b/c/d", "A/b"),
        ("x" * 256,),
        ("a/" + "é" * 128,),
    ],
)
def test_files_that_cannot_lie_beside_one_another_are_refused_before_they_come(
    uploads: FileUploads, root: Path, paths: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidUploadError):
        uploads.start(CHURN, "alice", [declared(path, b"x") for path in paths])
    assert list(root.iterdir()) == []


# ---------------------------------------------------------------- links


def test_a_link_out_of_the_folder_is_not_followed(uploads: FileUploads, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "model").write_bytes(b"mine")
    upload = start(uploads, data__model=b"weights", other__model=b"weights", third=b"weights")
    folder = root / upload
    (folder / "files" / "data").symlink_to(outside, target_is_directory=True)
    (folder / "files" / "other").mkdir()
    (folder / "files" / "other" / "model").symlink_to(outside / "model")
    (folder / "parts" / "2").symlink_to(outside / "model")
    for path in ("data/model", "third"):
        with pytest.raises(Exception, match="cannot be written"):
            put(uploads, upload, path, b"weights")
    put(uploads, upload, "other/model", b"weights")
    assert (outside / "model").read_bytes() == b"mine"
    assert sorted(path.name for path in outside.iterdir()) == ["model"]
    assert not (folder / "files" / "other" / "model").is_symlink()


def test_removing_an_upload_removes_nothing_that_a_link_in_it_names(
    uploads: FileUploads, root: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").write_bytes(b"")
    upload = start(uploads, model=b"weights")
    (root / upload / "files" / "link").symlink_to(outside, target_is_directory=True)
    uploads.discard(upload)
    (root / ("b" * 32)).symlink_to(outside, target_is_directory=True)
    uploads.discard("b" * 32)
    assert list(root.iterdir()) == []
    assert (outside / "keep").exists()


# ---------------------------------------------------------------- files that are known


def test_a_known_file_is_taken_from_where_it_lies_and_shares_nothing_with_it(
    uploads: FileUploads, tmp_path: Path
) -> None:
    source = tmp_path / "model"
    source.write_bytes(b"weights" * 500_000)
    upload = uploads.start(CHURN, "alice", [declared("model", source.read_bytes())]).id
    uploads.link(upload, "model", source)
    assert uploads.status(upload).complete
    folder, _ = uploads.finish(upload)
    assert not (folder / "model").samefile(source)
    source.write_bytes(b"changed")
    assert (folder / "model").read_bytes() == b"weights" * 500_000


@pytest.mark.parametrize("kind", ["missing", "damaged", "longer", "shorter", "link", "folder", "pipe"])
def test_a_known_file_that_is_not_what_was_declared_is_left_to_be_sent(
    uploads: FileUploads, tmp_path: Path, kind: str
) -> None:
    source = tmp_path / "model"
    (tmp_path / "real").write_bytes(b"weights")
    make: dict[str, Callable[[], object]] = {
        "missing": lambda: None,
        "damaged": lambda: source.write_bytes(b"weightz"),
        "longer": lambda: source.write_bytes(b"weights and more"),
        "shorter": lambda: source.write_bytes(b"weig"),
        "link": lambda: source.symlink_to(tmp_path / "real"),
        "folder": source.mkdir,
        "pipe": lambda: os.mkfifo(source),
    }
    make[kind]()
    upload = start(uploads, model=b"weights")
    uploads.link(upload, "model", source)
    assert not uploads.status(upload).complete
    assert put(uploads, upload, "model", b"weights") == 7


# ---------------------------------------------------------------- several at once


def test_two_who_write_one_file_do_not_mix(uploads: FileUploads) -> None:
    upload = start(uploads, model=b"0123456789", other=b"x")
    began, go_on = threading.Event(), threading.Event()

    def slow() -> Iterator[bytes]:
        yield b"0123"
        began.set()
        go_on.wait()
        yield b"456789"

    first = threading.Thread(target=uploads.write, args=(upload, "model", 0, slow()))
    first.start()
    began.wait()
    with pytest.raises(ConflictError, match="Another call is writing model"):
        put(uploads, upload, "model", b"abcdefghij")
    assert put(uploads, upload, "other", b"x") == 1
    go_on.set()
    first.join()
    folder, _ = uploads.finish(upload)
    assert (folder / "model").read_bytes() == b"0123456789"


def test_an_upload_that_is_discarded_while_it_comes_is_gone(uploads: FileUploads, root: Path) -> None:
    upload = start(uploads, model=b"0123456789")

    def discarded() -> Iterator[bytes]:
        yield b"01234"
        uploads.discard(upload)
        yield b"56789"

    with pytest.raises(UploadNotFoundError):
        uploads.write(upload, "model", 0, discarded())
    assert list(root.iterdir()) == []


# ---------------------------------------------------------------- what is left over


def test_what_came_completely_before_the_server_was_killed_counts(uploads: FileUploads, root: Path) -> None:
    upload = start(uploads, model=b"0123456789", wrong=b"0123456789")
    (root / upload / "parts" / "0").write_bytes(b"0123456789")
    assert not uploads.status(upload).complete
    (root / upload / "parts" / "1").write_bytes(b"0123456780")
    with pytest.raises(InvalidUploadError, match="wrong is not the file"):
        uploads.finish(upload)
    put(uploads, upload, "wrong", b"0123456789")
    folder, _ = uploads.finish(upload)
    assert (folder / "model").read_bytes() == b"0123456789"


def test_abandoned_uploads_are_swept_and_living_ones_stay(uploads: FileUploads, root: Path) -> None:
    now = dt.datetime.now(dt.UTC)
    old, alive, finished = (start(uploads, model=b"0123456789") for _ in range(3))
    put(uploads, old, "model", b"0123")
    put(uploads, finished, "model", b"0123456789")
    (root / ".new-killed").mkdir()
    (root / ".gone-killed").mkdir()
    (root / "stray").write_bytes(b"x")
    long_ago = (now - dt.timedelta(days=3)).timestamp()
    for path in (*root.rglob("*"), *root.glob("*")):
        os.utime(path, (long_ago, long_ago))
    put(uploads, alive, "model", b"0123")
    uploads.finish(finished)
    assert uploads.sweep(now - dt.timedelta(days=4)) == []
    assert uploads.sweep(now - dt.timedelta(days=1)) == [old]
    assert {path.name for path in root.iterdir()} == {alive, finished}
    assert uploads.status(alive).received == {"model": 4}
    uploads.discard(alive)
    uploads.discard(alive)
    with pytest.raises(UploadNotFoundError):
        uploads.status(alive)


def test_an_upload_whose_files_were_taken_is_not_complete_any_more(uploads: FileUploads, tmp_path: Path) -> None:
    upload = start(uploads, model=b"weights")
    put(uploads, upload, "model", b"weights")
    folder, _ = uploads.finish(upload)
    folder.rename(tmp_path / "taken")
    assert not uploads.status(upload).complete
    with pytest.raises(InvalidUploadError, match="not come completely"):
        uploads.finish(upload)
    uploads.discard(upload)
