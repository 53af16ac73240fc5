"""Whatever names are declared and however the bytes are cut: what comes out is what went in, and nothing lies outside."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from model_platform_core.errors import InvalidUploadError
from model_platform_core.models import FileEntry
from model_platform_core.refs import ModelRef
from model_platform_server.adapters.files.uploads import FileUploads

CHURN = ModelRef("dev-alice", "churn")

parts = st.one_of(
    st.text(min_size=1, max_size=12),
    st.sampled_from(["..", ".", "", "a", "A", "b", "é", "e\u0301", "~", "con", "a b", "\\", "x" * 256, "%2e%2e", "\n"]),
)
paths = st.lists(parts, min_size=1, max_size=4).map("/".join)
contents = st.binary(max_size=60)


@contextmanager
def new_uploads() -> Iterator[tuple[Path, FileUploads]]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder), FileUploads(Path(folder) / "uploads")


def declared(path: str, content: bytes) -> FileEntry:
    return FileEntry(path=path, size=len(content), sha256="sha256:" + hashlib.sha256(content).hexdigest())


def declarable(path: str) -> bool:
    try:
        declared(path, b"")
    except (ValidationError, UnicodeEncodeError):
        return False
    return True


@given(st.dictionaries(paths, contents, max_size=6))
@settings(deadline=None, max_examples=40)
def test_files_of_any_name_come_out_as_they_went_in(wanted: dict[str, bytes]) -> None:
    wanted = {path: content for path, content in wanted.items() if declarable(path)}
    with new_uploads() as (folder, uploads):
        try:
            upload = uploads.start(CHURN, "alice", [declared(*item) for item in wanted.items()]).id
        except InvalidUploadError:
            assert list((folder / "uploads").iterdir()) == []
            assume(False)
        for path, content in wanted.items():
            if content:
                assert uploads.write(upload, path, 0, iter([content])) == len(content)
        arrived, files = uploads.finish(upload)
        found = {str(p.relative_to(arrived)): p.read_bytes() for p in arrived.rglob("*") if p.is_file()}
        assert found == wanted
        assert {file.path for file in files} == set(wanted)
        assert [path.name for path in folder.iterdir()] == ["uploads"]
        assert [path.name for path in (folder / "uploads").iterdir()] == [upload]


@given(contents, st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=8), st.integers(1, 20))
@settings(deadline=None, max_examples=40)
def test_bytes_cut_and_repeated_in_any_way_come_out_whole(
    content: bytes, parts_sent: list[tuple[int, int]], piece: int
) -> None:
    with new_uploads() as (_, uploads):
        upload = uploads.start(CHURN, "alice", [declared("model", content)]).id
        have = 0
        for start, end in [*parts_sent, (0, len(content))]:
            if have == len(content):
                break
            first = min(start, have)
            sent = content[first : max(end, first)]
            pieces = (sent[at : at + piece] for at in range(0, len(sent), piece))
            have = uploads.write(upload, "model", first, pieces)
            assert have == first + len(sent)
            assert uploads.status(upload).received == {"model": have}
        folder, _ = uploads.finish(upload)
        assert (folder / "model").read_bytes() == content


@given(contents, st.lists(st.tuples(st.integers(-5, 80), st.lists(contents, max_size=3)), max_size=8))
@settings(deadline=None, max_examples=40)
def test_only_the_declared_bytes_ever_count_as_complete(content: bytes, calls: list[tuple[int, list[bytes]]]) -> None:
    with new_uploads() as (_, uploads):
        upload = uploads.start(CHURN, "alice", [declared("model", content)]).id
        for offset, pieces in calls:
            try:
                size = uploads.write(upload, "model", offset, iter(pieces))
            except InvalidUploadError:
                continue
            assert size <= len(content)
        if uploads.status(upload).complete:
            folder, _ = uploads.finish(upload)
            assert (folder / "model").read_bytes() == content
