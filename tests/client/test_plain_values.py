"""Values as an application would send or get them."""

from __future__ import annotations

import datetime as dt
import decimal
import json

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from model_platform.capture.answers import encode_answers, same_kind_as
from model_platform.capture.plain_values import plain_value
from model_platform.capture.table import as_table
from model_platform_core.errors import InvalidInputError, InvalidModelError


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (float("nan"), None),
        (float("inf"), None),
        (np.float32(0.5), 0.5),
        (np.float64("nan"), None),
        (np.int8(3), 3),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (pd.NA, None),
        (pd.NaT, None),
        (np.datetime64("NaT"), None),
        (decimal.Decimal("1.5"), 1.5),
        (b"\x00\x01", "AAE="),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (pd.Timestamp("2026-01-02 03:04:05"), "2026-01-02T03:04:05"),
        (pd.Timestamp("2026-01-02", tz="UTC"), "2026-01-02T00:00:00+00:00"),
        (np.datetime64("2026-01-02T03:04:05"), "2026-01-02T03:04:05"),
        (np.array([[1.0, np.nan]]), [[1.0, None]]),
        ({"a": (1, np.int64(2))}, {"a": [1, 2]}),
    ],
)
def test_value(value: object, plain: object) -> None:
    found = plain_value(value)
    assert found == plain
    assert json.loads(json.dumps(found, allow_nan=False)) == plain


def test_records_of_a_frame_are_what_a_caller_sends() -> None:
    frame = pd.DataFrame(
        {
            "count": [1, 2],
            "share": [0.5, np.nan],
            "name": ["a", None],
            "at": pd.to_datetime(["2026-01-02", None]),
            "kind": pd.Categorical(["x", "y"]),
            "flag": [True, False],
        }
    )
    assert as_table(frame, "--data").records() == [
        {"count": 1, "share": 0.5, "name": "a", "at": "2026-01-02T00:00:00Z", "kind": "x", "flag": True},
        {"count": 2, "share": None, "name": None, "at": None, "kind": "y", "flag": False},
    ]


def test_records_of_an_array_are_lists() -> None:
    assert as_table(np.array([[1.0, 2.0]]), "--data").records() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (pd.Series([1, 2]), "is a Series"),
        (np.array([1, 2]), "one dimension"),
        ("rows", "is a str"),
        ([1, 2], "is a list"),
        ([], "is a list"),
    ],
)
def test_what_holds_no_rows_is_refused_in_words(value: object, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        as_table(value, "--data")


def test_answers_of_every_shape() -> None:
    assert encode_answers(np.array([1, 2]), 2).records == [{"prediction": 1}, {"prediction": 2}]
    assert encode_answers(pd.Series(["a", "b"]), 2).records == [{"prediction": "a"}, {"prediction": "b"}]
    assert encode_answers(["a", "b"], 2).records == [{"prediction": "a"}, {"prediction": "b"}]
    assert encode_answers(np.array([[0.1, 0.9]]), 1, ["no", "yes"]).records == [{"no": 0.1, "yes": 0.9}]
    assert encode_answers(np.array([[0.1, 0.9]]), 1).records == [{"prediction": [0.1, 0.9]}]
    assert encode_answers(csr_matrix([[0.0, 2.0]]), 1).records == [{"prediction": [0.0, 2.0]}]
    assert encode_answers(pd.DataFrame({"low": [1.0], "high": [2.0]}), 1).records == [{"low": 1.0, "high": 2.0}]
    assert encode_answers({"low": np.array([1.0])}, 1).records == [{"low": 1.0}]
    assert encode_answers([{"route": ["a", "b"]}], 1).records == [{"route": ["a", "b"]}]
    assert encode_answers([np.ones((1, 2)), np.zeros((1, 2))], 1).records == [
        {"output_0": [1.0, 1.0], "output_1": [0.0, 0.0]}
    ]


def test_dtypes_of_answers_decide_their_tolerance() -> None:
    assert encode_answers(np.array([1.0], dtype="float32"), 1).dtypes == {"prediction": "float32"}
    assert encode_answers(np.array(["a"]), 1).dtypes == {"prediction": "object"}
    assert encode_answers([1, 2.5], 2).dtypes == {"prediction": "float64"}


def test_a_missing_or_spare_answer_is_refused() -> None:
    with pytest.raises(InvalidModelError, match="3 rows with 2 answers"):
        encode_answers(np.array([1, 2]), 3)
    with pytest.raises(InvalidModelError, match="answered with a int"):
        encode_answers(1, 1)


@pytest.mark.parametrize(
    "result",
    [
        np.array([1, 2]),
        np.array([1.5, np.nan], dtype="float32"),
        np.array(["a", "longer"]),
        pd.Series([1.0, 2.0]),
        pd.DataFrame({"low": [1.0, 2.0], "kind": ["a", "b"]}),
        ["a", "b"],
        [{"a": 1}, {"a": 2}],
    ],
)
def test_an_endpoints_answers_come_back_as_the_notebook_knows_them(result: object) -> None:
    encoded = encode_answers(result, 2)
    back = same_kind_as(encoded.kind, encoded.records, encoded.dtypes, index=pd.RangeIndex(2))
    if isinstance(result, pd.Series | pd.DataFrame):
        assert type(back) is type(result)
        assert back.to_numpy().tolist() == result.to_numpy().tolist()
    elif isinstance(result, np.ndarray):
        np.testing.assert_array_equal(back, result.astype(object) if result.dtype.kind == "U" else result)
    else:
        assert back == result
