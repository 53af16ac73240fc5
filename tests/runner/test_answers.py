"""Whatever a model answers becomes JSON in every protocol, and can be divided among the calls joined for it."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from model_platform.capture.answers import encode_answers
from model_platform_runner.answers import answers_from, encode
from model_platform_runner.answers import datatype as datatype_of
from model_platform_runner.errors import CallError
from model_platform_runner.protocols.inference import typed

NAN = float("nan")
TENTH = float(np.float32(0.1))
FRAME = pd.DataFrame({"a": [1, 2], "b": ["x", None], "when": pd.to_datetime(["2024-01-31T12:00:00.5", None])})


@pytest.mark.parametrize(
    ("result", "names", "records", "predictions"),
    [
        (np.array([1, 2]), None, [{"prediction": 1}, {"prediction": 2}], [1, 2]),
        (np.array([1.5, NAN, np.inf]), None, [{"prediction": 1.5}, {"prediction": None}, {"prediction": None}], [1.5, None, None]),
        (np.array(["a", "b"]), None, [{"prediction": "a"}, {"prediction": "b"}], ["a", "b"]),
        (np.array([[0.1, 0.9]]), ["no", "yes"], [{"no": 0.1, "yes": 0.9}], [[0.1, 0.9]]),
        (np.array([[0.1, 0.9]]), None, [{"prediction": [0.1, 0.9]}], [[0.1, 0.9]]),
        (np.array([[0.1, 0.9]]), ["one"], [{"prediction": [0.1, 0.9]}], [[0.1, 0.9]]),
        (np.zeros((1, 2, 2), dtype=np.float32), None, [{"prediction": [[0, 0], [0, 0]]}], [[[0, 0], [0, 0]]]),
        (np.array([[1, 2], [3, 4]])[:, 0], None, [{"prediction": 1}, {"prediction": 3}], [1, 3]),
        (np.asfortranarray([[1, 2], [3, 4]]), None, [{"prediction": [1, 2]}, {"prediction": [3, 4]}], [[1, 2], [3, 4]]),
        (np.float64(1.5), None, [{"prediction": 1.5}], [1.5]),
        (np.array(7), None, [{"prediction": 7}], [7]),
        (np.array(["2024-01-31", "NaT"], dtype="datetime64[ns]"), None, [{"prediction": "2024-01-31T00:00:00Z"}, {"prediction": None}], ["2024-01-31T00:00:00Z", None]),
        (scipy.sparse.csr_matrix([[0, 1]]), None, [{"prediction": [0, 1]}], [[0, 1]]),
        (pd.Series([1, 2], index=[5, 6]), None, [{"prediction": 1}, {"prediction": 2}], [1, 2]),
        (pd.Series([1, None], dtype="Int64"), None, [{"prediction": 1}, {"prediction": None}], [1, None]),
        (pd.Series(["a", "b"], dtype="category"), None, [{"prediction": "a"}, {"prediction": "b"}], ["a", "b"]),
        (pd.Series(pd.to_datetime(["2024-01-31T12:00:00Z"])), None, [{"prediction": "2024-01-31T12:00:00Z"}], ["2024-01-31T12:00:00Z"]),
        (
            FRAME,
            None,
            [{"a": 1, "b": "x", "when": "2024-01-31T12:00:00.500000Z"}, {"a": 2, "b": None, "when": None}],
            [{"a": 1, "b": "x", "when": "2024-01-31T12:00:00.500000Z"}, {"a": 2, "b": None, "when": None}],
        ),
        (pd.DataFrame([[1, 2]]), None, [{"0": 1, "1": 2}], [{"0": 1, "1": 2}]),
        ({"a": np.array([1, 2]), "b": ["x", "y"]}, None, [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]),
        ({"a": 1, "b": "x"}, None, [{"a": 1, "b": "x"}], [{"a": 1, "b": "x"}]),
        ({1: "x"}, None, [{"1": "x"}], [{"1": "x"}]),
        (["text", "more"], None, [{"prediction": "text"}, {"prediction": "more"}], ["text", "more"]),
        ([{"a": 1}, {"b": [1, {}]}], None, [{"a": 1}, {"b": [1, {}]}], [{"a": 1}, {"b": [1, {}]}]),
        ("text", None, [{"prediction": "text"}], ["text"]),
        (None, None, [{"prediction": None}], [None]),
        (
            [np.array([[0.1, 0.9], [0.5, 0.5]]), np.array([[0.2, 0.8], [1, 0]])],
            ["left", "right"],
            [{"left": [0.1, 0.9], "right": [0.2, 0.8]}, {"left": [0.5, 0.5], "right": [1, 0]}],
            [{"left": [0.1, 0.9], "right": [0.2, 0.8]}, {"left": [0.5, 0.5], "right": [1, 0]}],
        ),
        ([{np.int64(1): 0.5, np.str_("b"): [{np.float64(1.5): np.float32(0.1)}]}], None, [{"1": 0.5, "b": [{"1.5": TENTH}]}], [{"1": 0.5, "b": [{"1.5": TENTH}]}]),
        ([np.datetime64("2024-01-31"), np.datetime64("NaT"), np.datetime64("2024-01-31T12", "ns")], None, [{"prediction": each} for each in ["2024-01-31", None, "2024-01-31T12:00:00Z"]], ["2024-01-31", None, "2024-01-31T12:00:00Z"]),
        ([Decimal("1.5"), date(2024, 1, 31), b"\0", {1}, np.int64(3)], None, [{"prediction": each} for each in [1.5, "2024-01-31", "AA==", [1], 3]], [1.5, "2024-01-31", "AA==", [1], 3]),
    ],
)  # fmt: skip
def test_shapes(result: Any, names: list[str] | None, records: Any, predictions: Any) -> None:
    answers = answers_from(result, names)
    assert json.loads(encode(answers.records())) == records
    assert json.loads(encode(answers.predictions())) == predictions
    assert answers.rows == len(records)
    parts = [json.loads(encode(answers.part(n, n + 1).records())) for n in range(answers.rows)]
    assert [each for part in parts for each in part] == records
    for array in answers.tensors().values():
        assert len(array) == answers.rows
        encode(typed(array).reshape(-1))


@pytest.mark.parametrize(
    ("result", "datatype", "data"),
    [
        (np.array([1, 2], dtype=np.int32), "INT32", [1, 2]),
        (np.array([True]), "BOOL", [True]),
        (np.array([1.5], dtype=np.float32), "FP32", [1.5]),
        (np.array([1], dtype=np.uint8), "UINT8", [1]),
        (["a", None], "BYTES", ["a", None]),
        ([1, 2.5], "FP64", [1, 2.5]),
        ([{"a": 1}], "BYTES", ['{"a":1}']),
        (np.array(["a", NAN], dtype=object), "BYTES", ["a", None]),
        (np.array(["a"]), "BYTES", ["a"]),
    ],
)
def test_datatypes_of_the_inference_protocol(result: Any, datatype: str, data: Any) -> None:
    (array,) = answers_from(result, None).tensors().values()
    assert (datatype_of(typed(array)), json.loads(encode(typed(array)))) == (datatype, data)


HALVES = np.random.default_rng(0).random((2, 3)).astype("float32")


@pytest.mark.parametrize(
    "result",
    [
        HALVES,
        HALVES[:, 0],
        [HALVES[0], HALVES[1]],
        list(HALVES[0][:2]),
        [{"score": HALVES[0, 0]}, {"score": HALVES[0, 1]}],
        [{"lines": [HALVES, {"a": HALVES[0]}]}, {"lines": HALVES.astype("float16")}],
        {"lines": [HALVES[0], HALVES[1]]},
        {"lines": [HALVES[0], HALVES[1][:2]], "n": np.arange(2)},
        pd.Series([HALVES[0], HALVES[1]]),
        pd.DataFrame({"lines": [HALVES[0], HALVES[1]], "each": HALVES[:, 0]}),
        [pd.Series(HALVES[0]), pd.Series(HALVES[1])],
        [{np.int64(1): 0.5, True: 1, None: 2, 1.5: 3, date(2024, 1, 31): 4}, {}],
        [np.datetime64("2024-01-31"), np.datetime64("2024-01-31T12:00:00.5")],
    ],
)
def test_a_value_is_written_as_publish_writes_it(result: Any) -> None:
    """Wherever it is nested: else no such model would be proven equal."""
    answers = answers_from(result, None, rows=2)
    assert json.loads(encode(answers.records())) == encode_answers(result, 2).records


def test_what_is_no_json_is_told_by_type() -> None:
    with pytest.raises(CallError) as caught:
        encode(answers_from([object()], None).records())
    assert caught.value.message == "The model's answer cannot be written as JSON (object)."
