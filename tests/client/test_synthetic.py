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
