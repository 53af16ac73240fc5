"""Values as an application would send or get them."""

from __future__ import annotations

import datetime as dt
import decimal
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from model_platform.capture.answers import encode_answers, same_kind_as
from model_platform.capture.plain_values import plain_value
from model_platform.capture.table import as_library_takes, as_table
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
        (pd.Timestamp("2026-01-02 03:04:05"), "2026-01-02T03:04:05Z"),
        (pd.Timestamp("2026-01-02", tz="UTC"), "2026-01-02T00:00:00Z"),
        (pd.Timestamp("2026-01-02 12:00", tz="Europe/Berlin"), "2026-01-02T12:00:00+01:00"),
        (pd.Timestamp("2026-01-02 12:00:00.5"), "2026-01-02T12:00:00.500000Z"),
        (pd.Period("2026-01"), "2026-01-01T00:00:00Z"),
        (np.datetime64("2026-01-02T03:04:05"), "2026-01-02T03:04:05Z"),
        (np.datetime64("2026-01-02T03"), "2026-01-02T03:00:00Z"),
        (np.datetime64("2026-01-02"), "2026-01-02"),
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


@pytest.mark.parametrize(
    ("value", "form", "records"),
    [
        (np.array([[1.0, 2.0]]), "array", [[1.0, 2.0]]),
        (np.array([1, 2]), "array", [1, 2]),
        (np.zeros((1, 2, 1)), "array", [[[0.0], [0.0]]]),
        ([[1, 2], [3, 4]], "list", [[1, 2], [3, 4]]),
        ([[1, "a"], [2, "b"]], "list", [[1, "a"], [2, "b"]]),
        ([(1, None)], "list", [[1, None]]),
        ([np.array([1, 2]), np.array([3, 4])], "array", [[1, 2], [3, 4]]),
        ([[1], [3, 4]], "list", [[1], [3, 4]]),
        (["a", None], "list", ["a", None]),
        (pd.Series(["a", None]), "series", ["a", None]),
        ({"x": np.ones((2, 2)), "y": np.arange(2)}, "arrays", [{"x": [1, 1], "y": 0}, {"x": [1, 1], "y": 1}]),
        ({"x": 1, "y": [1]}, "records", [{"x": 1, "y": [1]}]),
        ([{"x": 1}, {}], "records", [{"x": 1}, {}]),
    ],
)
def test_forms_of_rows(value: object, form: str, records: object) -> None:
    table = as_table(value, "--data")
    assert (str(table.form), table.records()) == (form, records)
    assert len(table) == len(table.records())
    assert len(table.head(1)) == 1


@pytest.mark.parametrize(
    ("rows", "form"),
    [
        ([[1, 2], [3, 4.5]], "array"),
        ([[[1], [2]], [[3], [4]]], "array"),
        ([[1, "a"], [2, "b"]], "list"),
        ([[1, None], [2, 3]], "list"),
        ([[1], [2, 3]], "list"),
        (["a", "b"], "list"),
        ([1, 2], "list"),
    ],
)
def test_a_librarys_model_takes_lists_of_numbers_as_one_array(rows: Any, form: str) -> None:
    assert str(as_library_takes(as_table(rows, "--data")).form) == form


def test_an_index_is_a_part_of_a_row_only_where_it_matters() -> None:
    frame = pd.DataFrame({"a": [1, 2]}, index=pd.Index([7, 8], name="customer"))
    table = as_table(frame, "--data")
    assert table.has_index
    assert table.records() == [{"a": 1}, {"a": 2}]
    assert replace(table, indexed=True).records() == [{"customer": 7, "a": 1}, {"customer": 8, "a": 2}]
    assert not as_table(frame.reset_index().iloc[1:], "--data").has_index
    with pytest.raises(InvalidInputError, match="several columns called 'a'"):
        replace(as_table(frame.rename_axis("a"), "--data"), indexed=True).records()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("rows", "is a str"),
        (np.array(1), "is a ndarray"),
        ([], "is empty"),
        ({"a": np.ones(2), "b": np.ones(3)}, "different numbers of rows: a 2, b 3"),
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


def test_lists_of_arrays_are_cut_by_row_only_where_each_has_one_entry_per_row() -> None:
    two = [np.array([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7]]), np.array([[1.0, 0.0]] * 3)]
    named = encode_answers(two, 3, [["no", "yes"], ["a", "b"]])
    assert named.records[0] == {"output_0": {"no": 0.1, "yes": 0.9}, "output_1": {"a": 1.0, "b": 0.0}}
    assert encode_answers((np.array([1.0, 2.0]),) * 3, 2).names == ["output_0", "output_1", "output_2"]
    lines = [np.array([1.0, 2.0]), np.array([3.0, 4.0])]
    assert encode_answers(lines, 2).records == [{"prediction": [1.0, 2.0]}, {"prediction": [3.0, 4.0]}]
    assert encode_answers(lines, 2, as_outputs=True).records[0] == {"output_0": 1.0, "output_1": 3.0}
    assert encode_answers([np.array([1.0]), np.array([2.0, 3.0])], 2).records[1] == {"prediction": [2.0, 3.0]}


def test_dtypes_of_answers_decide_their_tolerance() -> None:
    assert encode_answers(np.array([1.0], dtype="float32"), 1).dtypes == {"prediction": "float32"}
    assert encode_answers(np.array(["a"]), 1).dtypes == {"prediction": "object"}
    assert encode_answers([1, 2.5], 2).dtypes == {"prediction": "float64"}


@pytest.mark.parametrize(
    ("result", "tolerances"),
    [
        ([np.ones(3, "float32")], {"prediction": "float32"}),
        ([np.float32(1)], {"prediction": "float32"}),
        (pd.Series([np.ones(3, "float32")]), {"prediction": "float32"}),
        ({"a": [np.ones(3, "float16")], "b": np.ones(1)}, {"a": "float16", "b": "float64"}),
        ([{"score": np.float32(1), "name": "x", "n": 1}], {"score": "float32"}),
        ([{"lines": [1.0, {"a": np.ones(2, "float32")}]}], {"lines": "float32"}),
        ([[1.0, 2.0]], {"prediction": "object"}),
    ],
)
def test_nested_values_of_arrays_have_their_own_tolerance(result: Any, tolerances: dict[str, str]) -> None:
    assert encode_answers(result, 1).tolerances == tolerances


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
        pd.Series(pd.to_datetime(["2026-01-02 12:00", None])),
        pd.Series(pd.to_datetime(["2026-01-02 12:00", "2026-07-01 12:00"])).dt.tz_localize("Europe/Berlin"),
        pd.Series([1, None], dtype="Int64"),
        np.array(["2026-01-02T12:00:00.5", "2026-01-03"], dtype="datetime64[ns]"),
    ],
)
def test_an_endpoints_answers_come_back_as_the_notebook_knows_them(result: object) -> None:
    encoded = encode_answers(result, 2)
    back = same_kind_as(encoded.kind, encoded.records, encoded.dtypes, index=pd.RangeIndex(2))
    if isinstance(result, pd.Series | pd.DataFrame):
        equal = pd.testing.assert_series_equal if isinstance(result, pd.Series) else pd.testing.assert_frame_equal
        equal(back, result.rename("prediction") if isinstance(result, pd.Series) else result)
    elif isinstance(result, np.ndarray):
        np.testing.assert_array_equal(back, result.astype(object) if result.dtype.kind == "U" else result)
    else:
        assert back == result
