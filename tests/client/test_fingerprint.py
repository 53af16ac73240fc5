"""One digest over the full content, whatever stores it."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from model_platform.capture import blocks
from model_platform.capture.fingerprint import Fingerprinting, fingerprint, fingerprinting
from model_platform.capture.table import as_table


def digest(rows: object) -> str:
    return str(
        fingerprint(
            "rows", rows, None if isinstance(rows, Path | pa.Table | pa.RecordBatch) else as_table(rows, "--data")
        ).sha256
    )


FRAME = pd.DataFrame({"n": [1, 2], "x": [0.5, np.nan], "t": ["a", None]})


def test_the_definition_can_be_computed_by_hand() -> None:
    header = json.dumps(
        {"columns": [["n", "integer"], ["x", "float"], ["t", "text"]], "rows": 2}, sort_keys=True, separators=(",", ":")
    )
    content = header.encode() + b"\0"
    content += bytes([0, 0]) + np.array([1, 2], dtype="<i8").tobytes()
    content += bytes([0, 1]) + np.array([0.5, 0.0], dtype="<f8").tobytes()
    content += bytes([0, 1]) + np.array([1, 0], dtype="<i8").tobytes() + b"a"
    assert digest(FRAME) == "sha256:" + hashlib.sha256(content).hexdigest()


def test_how_a_column_is_stored_does_not_matter() -> None:
    texts = ["a", None]
    stored = [
        pd.Series(texts, dtype=object),
        pd.Series(texts, dtype="string"),
        pd.Series(texts, dtype=pd.CategoricalDtype(["b", "a"])),
    ]
    assert len({digest(FRAME.assign(t=one)) for one in stored}) == 1
    assert digest(FRAME.assign(n=FRAME.n.astype("int32"))) == digest(FRAME)
    assert digest(FRAME.assign(x=pd.array([0.5, None], dtype="Float64"))) == digest(FRAME)
    at = pd.to_datetime(pd.Series(["2026-01-01 10:00", None]))
    assert digest(FRAME.assign(d=at.astype("datetime64[s]"))) == digest(FRAME.assign(d=at.astype("datetime64[ns]")))
    assert digest(FRAME.set_index(pd.Index([7, 8]))) == digest(FRAME)


@pytest.mark.parametrize(
    "other",
    [
        FRAME.rename(columns={"n": "m"}),
        FRAME[["x", "n", "t"]],
        FRAME.iloc[::-1],
        FRAME.assign(n=[1, 3]),
        FRAME.assign(x=[0.5, 0.0]),
        FRAME.assign(t=["a", ""]),
        FRAME.assign(n=[1.0, 2.0]),
        pd.concat([FRAME, FRAME]),
    ],
)
def test_any_change_of_content_changes_it(other: pd.DataFrame) -> None:
    assert digest(other) != digest(FRAME)


def test_texts_do_not_run_into_each_other() -> None:
    assert digest(pd.DataFrame({"t": ["ab", "c"]})) != digest(pd.DataFrame({"t": ["a", "bc"]}))


def test_arrays_by_dtype_shape_and_content() -> None:
    rows = np.arange(6.0).reshape(2, 3)
    assert digest(rows) == digest(np.asfortranarray(rows)) == digest(rows.astype(">f8"))
    assert len({digest(rows), digest(rows.astype("float32")), digest(rows.reshape(3, 2)), digest(rows + 1)}) == 4


def test_counts_are_told() -> None:
    found = fingerprint("X_train", FRAME, as_table(FRAME, "--data"))
    assert (found.name, found.rows, found.columns) == ("X_train", 2, 3)
    assert found.types == {"n": "integer", "x": "float", "t": "text"}
    rows = [{"a": 1}, {"b": 2}]
    assert fingerprint("X", rows, as_table(rows, "--data")).columns == 2


# ---------------------------------------------------------------- other holders


def many(rows: int) -> pd.DataFrame:
    at = pd.to_datetime(pd.Series(range(rows)), unit="m")
    return pd.DataFrame(
        {
            "n": range(rows),
            "x": [None if row % 7 == 0 else row / 3 for row in range(rows)],
            "b": [row % 2 == 0 for row in range(rows)],
            "t": [None if row % 5 == 0 else f"text {row} ü" for row in range(rows)],
            "c": pd.Categorical([("red", "blue")[row % 2] for row in range(rows)]),
            "d": at,
            "z": at.dt.tz_localize("Europe/Berlin", ambiguous=True, nonexistent="shift_forward"),
            "o": [[row] for row in range(rows)],
        }
    )


@pytest.mark.filterwarnings("ignore:Series.values")  # pyarrow's own
def test_arrow_gives_what_pandas_gives_also_over_blocks() -> None:
    frame = many(blocks.BLOCK_ROWS + 10)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    assert digest(table) == digest(frame)
    assert digest(table.to_batches()[0]) == digest(frame)
    halves = pa.concat_tables([table.slice(0, 1000), table.slice(1000)])
    assert digest(halves) == digest(frame)
    changed = frame.copy()
    changed.loc[blocks.BLOCK_ROWS + 3, "n"] = -1
    assert digest(changed) != digest(frame)


@pytest.mark.filterwarnings("ignore:Series.values")  # pyarrow's own
def test_polars_gives_what_pandas_gives() -> None:
    frame = many(100).drop(columns=["c"])
    assert digest_of(pl.from_pandas(frame)) == digest(frame)
    assert digest_of(pl.from_pandas(frame).lazy()) == digest(frame)


def digest_of(value: object) -> str | None:
    return fingerprint("rows", value).sha256


def test_a_file_has_the_digest_that_every_tool_gives(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(b"a,b\n1,2\n")
    found = fingerprint("rows", file)
    assert found.sha256 == "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()
    assert (found.size, found.rows, found.columns) == (8, None, None)
    assert fingerprint("rows", str(file)) == found


def test_a_folder_by_path_and_digest_of_every_file(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "2.csv").write_bytes(b"2")
    (tmp_path / "1.csv").write_bytes(b"1")
    (tmp_path / "link.csv").symlink_to(tmp_path / "1.csv")
    lines = b"".join(
        f"{path}\0{hashlib.sha256(content).hexdigest()}\n".encode()
        for path, content in [("1.csv", b"1"), ("b/2.csv", b"2")]
    )
    before = digest_of(tmp_path)
    assert before == "sha256:" + hashlib.sha256(lines).hexdigest()
    (tmp_path / "1.csv").rename(tmp_path / "3.csv")
    assert digest_of(tmp_path) != before


def test_what_has_no_content_has_no_fingerprint(tmp_path: Path) -> None:
    assert fingerprinting("X", tmp_path / "nothing", None) is None
    assert fingerprinting("X", 3, None) is None


# ---------------------------------------------------------------- while others work


class Slow(blocks.Source):
    """A data set of three pieces, each given when it is let through."""

    def __init__(self) -> None:
        self.rows, self.columns, self.types, self.total = 3, 1, {"a": "integer"}, 3
        self.go = threading.Semaphore(0)
        self.detached = False

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        for done in range(3):
            self.go.acquire()
            yield done, b"piece"

    def detach(self) -> None:
        self.detached = True


def test_it_is_pending_until_it_is_done() -> None:
    source = Slow()
    running = Fingerprinting("X", source)
    told: list[str] = []
    assert not running.wait(0.3, told.append)
    assert running.result.pending
    assert running.result.sha256 is None
    assert told[0] == "fingerprint of X 0%"
    source.go.release(3)
    assert running.wait(30)
    assert running.result.sha256 == "sha256:" + hashlib.sha256(b"piece" * 3).hexdigest()
    assert not running.result.pending


def test_an_interrupt_leaves_it_not_fingerprinted() -> None:
    source = Slow()
    running = Fingerprinting("X", source)

    def interrupt(_words: str) -> None:
        raise KeyboardInterrupt

    assert running.wait(None, interrupt)
    assert (running.result.sha256, running.result.pending, running.result.note) == (None, False, "interrupted")
    source.go.release(3)


def test_data_that_cannot_be_read_is_noted_and_stops_nobody() -> None:
    class Broken(Slow):
        def pieces(self) -> Iterator[tuple[int, bytes]]:
            raise RuntimeError("no row of anybody's")
            yield 0, b""

    running = Fingerprinting("X", Broken())
    assert running.wait(30)
    assert running.result.note == "it could not be read (RuntimeError)"


def test_a_file_that_changes_meanwhile_is_not_fingerprinted(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(b"1")
    source = blocks.File(file)
    file.write_bytes(b"12")
    running = Fingerprinting("X", source)
    assert running.wait(30)
    assert (running.result.sha256, running.result.note) == (None, "it changed while it was read")


@pytest.mark.parametrize("holder", ["frame", "array"])
def test_what_the_notebook_does_afterwards_changes_nothing(holder: str) -> None:
    frame = many(1000)[["n", "x", "t"]]
    rows = frame if holder == "frame" else np.arange(200_000.0).reshape(-1, 2)
    expected = digest(rows.copy())
    source = blocks.source_of(rows, as_table(rows, "--data"))
    assert source is not None
    pieces, content = source.pieces(), hashlib.sha256()
    content.update(next(pieces)[1])
    source.detach()
    if isinstance(rows, pd.DataFrame):
        rows.loc[:, "n"] = 0
        del rows["t"]
    else:
        rows[:] = 0
    for _, piece in pieces:
        content.update(piece)
    assert f"sha256:{content.hexdigest()}" == expected


def test_data_that_cannot_even_be_looked_at_is_noted() -> None:
    rows = as_table(pd.DataFrame([[1, 2]], columns=["a", "a"]), "--data")
    assert fingerprint("X", rows.value, rows).note == "it could not be read (InvalidInputError)"
