"""Rows that are nobody's: within the edges, from values that many have, in the notebook's form."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_platform.capture.domain import MANY, describe_columns, edges
from model_platform.capture.synthetic import NotMadeUpError, make_rows
from model_platform.capture.table import Form, Table, as_table

COUNT = 20
ROWS = 2000


def observed() -> pd.DataFrame:
    """Rows in which every rare value can be recognised."""
    rng = np.random.default_rng(1)
    at = pd.to_datetime(pd.Series(rng.integers(0, 10_000, ROWS)), unit="h", origin="2020-03-05 07:13")
    frame = pd.DataFrame(
        {
            "income": 48_271.37 + rng.normal(size=ROWS) * 11_000,
            "age": rng.integers(18, 90, ROWS),
            "flag": rng.integers(0, 2, ROWS),
            "member": rng.random(ROWS) < 0.5,
            "name": [f"Person-{number}-Secret" for number in range(ROWS)],
            "colour": rng.choice(["red", "green"], ROWS),
            "level": pd.Categorical(rng.choice(["low", "high"], ROWS), categories=["low", "high"]),
            "born": at,
            "seen": at.dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin"),
            "day": [one.date() for one in at],
            "empty": [None] * ROWS,
        }
    )
    frame.loc[0, "colour"] = "magenta-of-one-person"
    frame.loc[1, "income"] = 987_654_321.12
    frame.loc[range(0, ROWS, 3), "age"] = np.nan
    return frame


def test_a_frame_keeps_its_columns_and_dtypes_and_holds_nobody() -> None:
    frame = observed()
    made = make_rows(as_table(frame, "--data"), COUNT).value
    assert list(made.columns) == list(frame.columns)
    assert list(made.dtypes) == list(frame.dtypes)
    assert len(made) == COUNT
    ordered = np.sort(frame["income"])
    assert made["income"].between(0, 100_000).all()
    assert not set(made["income"]) & set(ordered)
    assert set(made["colour"]) == {"red", "green"}
    assert set(made["level"]) == {"low", "high"}
    assert set(made["flag"]) == {0, 1}
    assert made["age"].isna().any()
    assert made["age"].dropna().between(10, 100).all()
    assert not made["name"].str.contains("Secret").any()
    for name in ("born", "seen"):
        assert not set(made[name]) & set(frame[name])
    assert all(type(day) is dt.date for day in made["day"])
    assert made["empty"].isna().all()
    pd.testing.assert_frame_equal(made, make_rows(as_table(frame, "--data"), COUNT).value)


def test_what_is_told_of_columns_holds_nobody_either() -> None:
    told = describe_columns(as_table(observed(), "--data"), personal=True)
    assert {name for name in told if "values" in told[name]} == {"member", "level"}
    assert told["income"]["maximum"] < 200_000
    assert "name" not in told
    assert "colour" not in told  # one of its values is of one person


@pytest.mark.parametrize(
    ("rows", "form"),
    [
        (np.random.default_rng(0).normal(size=(100, 3)), Form.ARRAY),
        (np.random.default_rng(0).normal(size=(50, 4, 2)).astype("float32"), Form.ARRAY),
        ({"a": np.arange(100), "b": np.ones((100, 2))}, Form.ARRAYS),
        ([f"a sentence of person {number}" for number in range(100)], Form.LIST),
        ([{"a": number, "b": "x"} for number in range(100)], Form.RECORDS),
        (pd.Series(range(100), name="n"), Form.SERIES),
    ],
)
def test_every_form_is_kept(rows: Any, form: Form) -> None:
    table = as_table(rows, "--data")
    made = make_rows(table, COUNT)
    assert made.form is form
    assert len(made) == COUNT
    assert len(made.records()) == COUNT
    assert not set(map(str, made.records())) & set(map(str, table.records()[:1]))
    if form is Form.ARRAY:
        assert (made.value.dtype, made.value.shape[1:]) == (rows.dtype, rows.shape[1:])


def test_an_index_of_dates_goes_on_by_the_same_steps() -> None:
    series = pd.Series(range(100), index=pd.date_range("2021-05-03", periods=100, freq="D", name="day"))
    made = make_rows(Table(Form.SERIES, series, indexed=True), COUNT).value
    assert made.index.name == "day"
    assert set(np.diff(made.index)) == {pd.Timedelta(days=1)}
    assert made.index[0] == pd.Timestamp("2021-01-01")


def indexed(times: Any) -> pd.DatetimeIndex:
    series = pd.Series(range(len(times)), index=pd.DatetimeIndex(times, name="at"))
    return make_rows(Table(Form.SERIES, series, indexed=True), COUNT).value.index


def test_an_index_of_few_dates_gives_nothing_of_them() -> None:
    made = indexed(["1943-07-11 03:07:13.123456", "1943-07-14 09:00:01.5", "1951-01-02 03:04:05"])
    assert made[0] == pd.Timestamp("2024-01-01")
    assert set(np.diff(made)) == {pd.Timedelta(days=1)}


def test_an_index_of_many_dates_gives_no_distance_that_few_have() -> None:
    seconds = np.random.default_rng(2).choice(10**9, ROWS, replace=False)
    made = indexed(pd.to_datetime(np.sort(seconds), unit="s", origin="1943-07-11 03:07:13.123456"))
    assert set(np.diff(made)) == {pd.Timedelta(days=1)}
    assert made[0] == made[0].normalize()
    hours = pd.date_range("2021-05-03 07:00", periods=ROWS, freq="h", tz="Europe/Berlin").delete([3, 4, 500])
    made = indexed([*hours, *hours[::-1]])
    assert str(made.tz) == "Europe/Berlin"
    assert set(np.diff(made.tz_convert("UTC"))) == {pd.Timedelta(hours=1)}


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "uint16", "int32", "int64", "uint64", "float16", "float32", "float64"]
)
def test_made_up_values_and_what_is_told_stay_within_the_dtype(dtype: str) -> None:
    kind = np.dtype(dtype)
    limits = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
    ends = np.array([limits.min, limits.max], dtype=kind)
    column = np.repeat(ends, ROWS)
    column[: ROWS // 2] = np.arange(ROWS // 2).astype(kind)
    for rows in (column, column.reshape(-1, 4), column.reshape(-1, 2, 2), pd.DataFrame({"a": column, "b": column})):
        made = make_rows(as_table(rows, "--data"), COUNT)
        values = made.value.to_numpy() if made.form is Form.FRAME else made.value
        assert values.dtype == kind
        assert np.isfinite(values).all()
    for personal in (True, False):
        told = describe_columns(as_table(pd.DataFrame({"a": column}), "--data"), personal=personal)["a"]
        assert (told["minimum"], told["maximum"]) == tuple(ends.tolist())


def test_lists_are_made_up_position_by_position() -> None:
    rows = [[number, f"secret {number}", 0.5 + number] for number in range(100)]
    made = make_rows(as_table(rows, "--data"), COUNT).value
    assert len(made) == COUNT
    assert {tuple(map(type, row)) for row in made} == {(int, str, float)}
    assert "secret" not in str(made)
    with pytest.raises(NotMadeUpError, match="different lengths"):
        make_rows(as_table([[1], [1, 2]], "--data"), COUNT)


def test_of_many_rows_some_are_looked_at_by_the_same_rules() -> None:
    count = 200_001
    levels = np.where(np.arange(count) % 5 == 0, "red", "green").astype(object)
    levels[::50_000] = "magenta-of-few-persons"
    frame = pd.DataFrame({"n": np.arange(count), "level": levels, "name": [f"person {n}" for n in range(count)]})
    for rows in (frame, frame.to_dict("records"), frame["level"].tolist()):
        table = as_table(rows, "--data")
        made = make_rows(table, COUNT)
        assert (made.form, len(made)) == (table.form, COUNT)
        assert "person" not in str(made.records())
        assert {"red", "green"} <= set(str(made.records()).replace("'", " ").split())
    assert set(describe_columns(as_table(frame, "--data"), personal=True)) == {"n"}
    assert make_rows(as_table(frame, "--data"), COUNT).value["n"].between(0, count).all()


def test_what_is_not_made_up_is_named() -> None:
    with pytest.raises(NotMadeUpError, match="scores holds list"):
        make_rows(as_table(pd.DataFrame({"scores": [[1.0], [2.0]]}), "--data"), COUNT)


@given(st.lists(st.floats(-1e9, 1e9), max_size=100), st.booleans())
def test_an_edge_follows_no_single_value(values: list[float], whole: bool) -> None:
    found = edges(values, whole=whole)
    if len(values) < 2 * MANY:
        assert found is None
        return
    assert found is not None
    low, high = found
    assert low <= high
    ordered = sorted(values)
    ordered[0], ordered[-1] = -1e12, 1e12
    assert edges(ordered, whole=whole) == found
