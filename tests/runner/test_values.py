"""Checking values: what is accepted keeps its value, what is refused is refused at the right place."""

from __future__ import annotations

import base64
import json
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_platform_runner.batch import join
from model_platform_runner.contracts import input_contract
from model_platform_runner.errors import CallError
from model_platform_runner.inputs import MlflowColumns
from model_platform_runner.predictor import frame_builder
from model_platform_runner.values import Misfit, read_values

NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**64 - 1)
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def fits(kind: str, value: Any, *, nullable: bool) -> bool:
    """What the documentation says, one value at a time and without regard to speed."""
    if value is None:
        return nullable
    if kind == "string":
        return isinstance(value, str)
    if kind == "boolean":
        return isinstance(value, bool)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if kind == "double":
        return True
    if kind == "float":
        return bool(np.isfinite(np.array(value, dtype=np.float64).astype(np.float32)))
    if value != math.floor(value):
        return False
    limit = 2**31 if kind == "integer" else 2**53 + 1 if nullable else 2**63
    return -limit < value < limit or (value == -limit and not (nullable and kind == "long"))


@pytest.mark.filterwarnings("ignore:overflow encountered")
@settings(max_examples=300, deadline=None)
@given(
    kind=st.sampled_from(["double", "float", "long", "integer", "string", "boolean"]),
    values=st.lists(ANYTHING, min_size=1, max_size=6),
    nullable=st.booleans(),
)
def test_values_are_refused_exactly_where_they_do_not_fit(kind: str, values: list[Any], nullable: bool) -> None:
    wrong = [row for row, value in enumerate(values) if not fits(kind, value, nullable=nullable)]
    try:
        array = read_values({"type": kind}, values, nullable=nullable)
    except Misfit as misfit:
        assert misfit.row in wrong  # noqa: PT017 - whether it is raised is the question
        return
    assert not wrong
    assert len(array) == len(values)
    expected_dtype = {
        "double": "float64",
        "float": "float32",
        "long": "float64" if nullable else "int64",
        "integer": "float64" if nullable else "int32",
        "string": "object",
        "boolean": "object" if nullable else "bool",
    }
    assert array.dtype == expected_dtype[kind]
    for value, read in zip(values, array.tolist(), strict=True):
        if value is None:
            assert math.isnan(read)
        elif kind in ("double", "float"):
            assert read == np.array(value, dtype=np.float64).astype(array.dtype)
        else:
            assert read == value


SIGNATURE = [
    {"type": "double", "name": "number", "required": False},
    {"type": "long", "name": "count", "required": True},
    {"type": "string", "name": "text", "optional": True},
    {"type": "boolean", "name": "flag", "required": False},
]
ROWS = st.fixed_dictionaries(
    {"count": st.integers(-(2**63), 2**63 - 1)},
    optional={
        "number": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "text": st.none() | st.text(max_size=5),
        "flag": st.none() | st.booleans(),
    },
)


@settings(max_examples=60, deadline=None)
@given(parts=st.lists(st.lists(ROWS, min_size=1, max_size=3), min_size=1, max_size=4))
def test_a_row_becomes_the_same_whatever_it_comes_with(parts: list[list[dict[str, Any]]]) -> None:
    """In one call or in several that are joined, by rows or by columns: the same table with the same dtypes."""
    contract = input_contract(SIGNATURE, 100)
    build = frame_builder(contract.fields)
    rows = [row for part in parts for row in part]
    together = build(contract.read_rows(rows))
    joined = build(join([contract.read_rows(part) for part in parts]))
    names = [each["name"] for each in SIGNATURE]
    columns = build(contract.read_columns({name: [row.get(name) for row in rows] for name in names}))
    lists = build(contract.read_rows([[row.get(name) for name in names] for row in rows]))
    for table in (joined, columns, lists):
        pd.testing.assert_frame_equal(table, together)
    assert list(together["count"]) == [row["count"] for row in rows]
    assert together["text"].dtype == pd.Series(["a"]).dtype


@settings(max_examples=100, deadline=None)
@given(rows=ANYTHING)
def test_whatever_is_sent_is_read_or_refused(rows: Any) -> None:
    for signature in (
        SIGNATURE,
        [{"type": "string"}],
        None,
        [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}],
        [{"type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": [-1]}}],
    ):
        contract = input_contract(signature, 100)
        for read, given_rows in (
            (contract.read_rows, rows if isinstance(rows, list) else [rows]),
            (contract.read_columns, rows),
        ):
            if read == contract.read_columns and not (
                isinstance(rows, dict) and all(isinstance(v, list) for v in rows.values())
            ):
                continue
            try:
                batch = read(given_rows)
            except CallError as error:
                assert error.status == 422  # noqa: PT017 - whether it is raised is the question
                json.dumps(error.document())
            else:
                assert all(len(values) == batch.rows for values in batch.columns.values())


@settings(max_examples=200, deadline=None)
@given(
    moment=st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)),
    minutes=st.integers(-23 * 60, 23 * 60),
    separator=st.sampled_from(["T", "t", " "]),
)
def test_dates_are_read_in_utc(moment: datetime, minutes: int, separator: str) -> None:
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    array = read_values({"type": "datetime"}, [aware.isoformat(separator), None], nullable=True)
    expected = aware.astimezone(UTC).replace(tzinfo=None)
    assert array[0] == np.datetime64(expected)
    assert np.isnat(array[1])
    assert array.dtype == "datetime64[ns]"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2024-02-29", "2024-02-29T00:00:00"),
        ("2024-01-31T12:00:00.123456789Z", "2024-01-31T12:00:00.123456789"),
        ("2024-01-31T12:00:00", "2024-01-31T12:00:00"),
        ("2024-02-30", None),
        ("2024-01-31T25:00:00Z", None),
        ("2024-01-31T12:00:00+24:00", None),
        ("1500-01-01", None),
        ("31.1.2024", None),
        ("2024-01-31T12:00", None),
        ("٢٠٢٤-٠١-٣١", None),
        ("2024-01-31\n", None),
        ("", None),
    ],
)
def test_forms_of_dates(text: str, read: str | None) -> None:
    if read is None:
        with pytest.raises(Misfit, match="RFC 3339"):
            read_values({"type": "datetime"}, [text], nullable=False)
    else:
        assert read_values({"type": "datetime"}, [text], nullable=False)[0] == np.datetime64(read)


def test_binary_is_base64() -> None:
    data = bytes(range(256))
    values = read_values({"type": "binary"}, [base64.b64encode(data).decode(), None], nullable=True)
    assert values.tolist() == [data, None]
    with pytest.raises(Misfit, match="base64"):
        read_values({"type": "binary"}, ["no base64!"], nullable=False)


NESTED = {
    "type": "object",
    "properties": {
        "role": {"type": "string", "required": True},
        "scores": {"type": "array", "items": {"type": "double"}, "required": False},
        "marks": {"type": "map", "values": {"type": "long"}, "required": False},
        "count": {"type": "long", "required": False},
        "name": {"type": "string", "required": False},
    },
}


def test_nested_values() -> None:
    values = [
        {"role": "user", "scores": [1, 2.5], "marks": {"a": 3.0}, "count": 2, "name": "bob"},
        {"role": "tool", "scores": None, "count": None, "name": None},
    ]
    read = read_values({"type": "array", "items": NESTED}, [values, []], nullable=False)
    assert read.tolist() == [values, []]
    assert [type(score) for score in read[0][0]["scores"]] == [float, float]
    assert type(read[0][0]["marks"]["a"]) is int
    assert type(read[0][0]["count"]) is int


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"role": 1}, 'property "role" must be a string, not a number'),
        ({}, 'lacks the property "role"'),
        ({"role": "a", "rol": 1}, 'has a property "rol" that the signature does not know'),
        ({"role": "a", "scores": [1, "x"]}, 'property "scores" element 1 must be a number, not a string'),
        ({"role": "a", "marks": {"a": 1.5}}, 'property "marks" value 0 must be a whole number'),
        ("a", "must be an object, not a string"),
        (None, "must not be null"),
    ],
)
def test_nested_values_that_do_not_fit(value: Any, problem: str) -> None:
    with pytest.raises(Misfit) as caught:
        read_values(NESTED, [{"role": "a"}, value], nullable=False)
    assert (caught.value.row, caught.value.problem) == (1, problem)


def test_options_of_a_chat_that_are_left_out_stay_out() -> None:
    signature = [
        {"type": "array", "items": NESTED, "name": "messages", "required": True},
        {"type": "double", "name": "temperature", "required": False},
        {"type": "long", "name": "length", "required": False},
    ]
    contract = MlflowColumns(input_contract(signature, 100).fields, 100)
    short = contract.read_rows([{"messages": [{"role": "user"}]}])
    assert list(short.columns) == ["messages"]
    full = contract.read_rows([{"messages": [], "temperature": None, "length": 5.0}])
    assert list(full.columns) == ["messages", "temperature", "length"]
    assert full.columns["length"].dtype == "int64"
    with pytest.raises(ValueError, match="different columns"):
        join([short, full])


@pytest.mark.parametrize(
    ("dtype", "values", "read"),
    [
        ("int64", [9007199254740993, 30.0], [9007199254740993, 30]),
        ("int64", [2**63 - 1, -(2.0**63)], [2**63 - 1, -(2**63)]),
        ("uint64", [2**63 + 1, 3], [2**63 + 1, 3]),
        ("uint64", [2**64 - 1, 0.0], [2**64 - 1, 0]),
        ("int8", [127, -128.0], [127, -128]),
        ("int8", [128, 1.0], None),
        ("uint64", [2**64, 0], None),
        ("int64", [2**63, -1], None),
        ("int64", [2**63, 2**63], None),
        ("uint64", [-1, -1], None),
        ("int64", [1.5, 1], None),
        ("int64", [1e300, 1], None),
        ("int64", [None, 1], None),
        ("int64", [True, 1.0], None),
        ("int64", [{}, 1], None),
    ],
)
def test_whole_numbers_of_arrays_arrive_unchanged_or_are_refused(dtype: str, values: Any, read: Any) -> None:
    contract = input_contract([{"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": [-1, 2]}}], 10)
    if read is None:
        with pytest.raises(CallError, match=r"must hold (whole )?numbers"):
            contract.read_rows([values])
        return
    array = contract.read_rows([values]).columns[""]
    assert (array.dtype, array.tolist()) == (np.dtype(dtype), [read])
