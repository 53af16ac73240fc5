"""What a version accepts: types, optional columns, ranges, levels."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_platform.capture.answers import encode_answers
from model_platform.capture.domain import describe_columns, round_outwards
from model_platform.capture.signature import infer_signature
from model_platform.capture.table import as_table
from model_platform_core.errors import InvalidInputError

ONE = encode_answers(np.array([1]), 1)


def inputs(rows: Any) -> dict[str, tuple[str, bool]]:
    signature = infer_signature(as_table(rows, "--data"), ONE)
    return {column["name"]: (column["type"], column["required"]) for column in signature.inputs.to_dict()}


def test_types_and_optional_columns() -> None:
    frame = pd.DataFrame(
        {
            "whole": [1, 2],
            "short": np.array([1, 2], dtype="int16"),
            "number": [1.5, np.nan],
            "single": np.array([1.5, 2], dtype="float32"),
            "flag": [True, False],
            "text": ["a", None],
            "level": pd.Categorical(["a", "b"]),
            "ranked": pd.Categorical([1, 2]),
            "at": pd.to_datetime(["2026-01-01", "2026-01-02"]),
            "day": [dt.date(2026, 1, 1), None],
            "nullable": pd.array([1, None], dtype="Int64"),
            "mixed": pd.Series([1, 2.5], dtype=object),
            "maybe": pd.Series([True, None], dtype=object),
            "empty": pd.Series([None, None], dtype=object),
        }
    )
    assert inputs(frame) == {
        "whole": ("long", True),
        "short": ("integer", True),
        "number": ("double", False),
        "single": ("float", True),
        "flag": ("boolean", True),
        "text": ("string", False),
        "level": ("string", True),
        "ranked": ("long", True),
        "at": ("datetime", True),
        "day": ("datetime", False),
        "nullable": ("long", False),
        "mixed": ("double", True),
        "maybe": ("boolean", False),
        "empty": ("string", False),
    }


def test_an_array_is_a_tensor_with_free_rows() -> None:
    signature = infer_signature(as_table(np.zeros((4, 3), dtype="float32"), "--data"), ONE)
    assert signature.inputs.to_dict() == [{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": (-1, 3)}}]


def test_outputs_have_the_names_of_the_plain_call() -> None:
    rows = as_table(np.zeros((2, 1)), "--data")

    def outputs(result: Any, classes: list[str] | None = None) -> list[tuple[str, str]]:
        found = infer_signature(rows, encode_answers(result, 2, classes)).outputs.to_dict()
        return [(one["name"], one["type"]) for one in found]

    assert outputs(np.array([0.5, 1.5])) == [("prediction", "double")]
    assert outputs(["a", "b"]) == [("prediction", "string")]
    assert outputs(np.ones((2, 2)), ["no", "yes"]) == [("no", "double"), ("yes", "double")]
    assert outputs(np.ones((2, 3))) == [("prediction", "tensor")]
    assert infer_signature(rows, encode_answers([{"a": 1}, {"b": 2}], 2)).outputs is None


def test_a_column_that_no_caller_could_send_is_named() -> None:
    with pytest.raises(InvalidInputError, match="Column 'model' holds values of type Figure"):
        inputs(pd.DataFrame({"model": [type("Figure", (), {})()]}))


def test_ranges_and_levels() -> None:
    rows = pd.DataFrame(
        {
            "age": [18] * 5 + [73] * 5,
            "share": np.linspace(-0.0312, 0.98, 10),
            "sex": ["f", "m"] * 5,
            "town": list("abcdefghij"),
            "at": pd.date_range("2026-01-01", periods=10),
            "flag": [True, False] * 5,
            "nothing": [np.nan] * 10,
        }
    )
    assert describe_columns(as_table(rows, "--data"), personal=True) == {}
    assert describe_columns(as_table(rows, "--data"), personal=False) == {
        "age": {"minimum": 18, "maximum": 73},
        "share": {"minimum": -0.032, "maximum": 0.98},
        "sex": {"values": ["f", "m"]},
        "flag": {"values": [False, True]},
    }


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300))
def test_bounds_enclose_and_have_two_digits(value: float) -> None:
    low, high = round_outwards(value, down=True), round_outwards(value, down=False)
    assert low <= value <= high
    for bound in (low, high):
        assert float(f"{bound:.1e}") == bound
