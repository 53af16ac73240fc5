"""One digest over the full content, whatever stores it."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pandas as pd
import pytest

from model_platform.capture.fingerprint import fingerprint
from model_platform.capture.table import as_table


def digest(rows: object) -> str:
    return fingerprint("rows", as_table(rows, "--data")).sha256


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
    found = fingerprint("X_train", as_table(FRAME, "--data"))
    assert (found.name, found.rows, found.columns) == ("X_train", 2, 3)
    assert fingerprint("X", as_table([{"a": 1}, {"b": 2}], "--data")).columns == 2
