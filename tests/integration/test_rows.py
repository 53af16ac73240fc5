"""Whatever rows a notebook holds, a runner gives its model the same: dtypes, missing values, order of columns, index."""

from __future__ import annotations

import datetime as dt
import json
import string
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from model_platform.capture.answers import encode_answers
from model_platform.capture.dtypes import describe_rows
from model_platform.capture.signature import infer_signature
from model_platform.capture.table import Table, as_called, as_table
from model_platform_core.errors import InvalidInputError
from model_platform_runner.answers import answers_from, encode
from model_platform_runner.batch import join
from model_platform_runner.contracts import input_contract
from model_platform_runner.description import read_description
from model_platform_runner.documents.describe import row_schema
from model_platform_runner.documents.example import example_rows
from model_platform_runner.errors import CallError
from model_platform_runner.predictor import prepare_for


class Runner:
    """The runner's way from JSON to the model, made from what publish writes into MLmodel."""

    def __init__(self, table: Table, folder: Any, sample: Table | None = None) -> None:
        sample = sample or table
        signature = infer_signature(table, encode_answers([0] * len(table), len(table)), sample)
        document = {
            "flavors": {},
            "signature": {"inputs": json.dumps(signature.inputs.to_dict())},
            "metadata": {"model_platform": {"schema": 1, "rows": describe_rows(table, sample)}},
        }
        (folder / "MLmodel").write_text(yaml.safe_dump(document))
        self.published = read_description(folder).published
        inputs = read_description(folder).inputs
        self.contract: Any = input_contract(inputs, 100, self.published.rows)
        self.path, self.prepare = prepare_for(self.contract, rows=self.published.rows)

    def read(self, records: Any) -> Any:
        """What the model gets for these rows."""
        return self.prepare(self.contract.read_rows(json.loads(json.dumps(records, allow_nan=False))))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tmp_path_factory.mktemp("model")


# ---------------------------------------------------------------- frames of every dtype

TEXT = st.text(string.printable + "äß€𝄞", max_size=4)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SINGLES = st.floats(allow_nan=False, allow_infinity=False, width=32)
DAYS = st.dates(dt.date(1, 1, 2), dt.date(9999, 12, 30))
MOMENTS = st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1)).map(lambda moment: moment.replace(fold=0))
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "UTC+03:00"])


def _whole(dtype: str) -> st.SearchStrategy[int]:
    limits = np.iinfo(dtype)
    return st.integers(int(limits.min), int(limits.max))


COLUMNS: dict[str, tuple[Any, Any]] = {
    **{kind: (kind, _whole(kind)) for kind in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint64")},
    "float16": ("float16", st.floats(width=16, allow_infinity=False)),
    "float32": ("float32", SINGLES | st.just(np.nan)),
    "float64": ("float64", FLOATS | st.just(np.nan)),
    "bool": ("bool", st.booleans()),
    "Int64": ("Int64", _whole("int64") | st.none()),
    "UInt8": ("UInt8", _whole("uint8") | st.none()),
    "Float32": ("Float32", SINGLES | st.none()),
    "boolean": ("boolean", st.booleans() | st.none()),
    "str": ("str", TEXT | st.none()),
    "string[python]": ("string[python]", TEXT | st.none()),
    "string[pyarrow]": ("string[pyarrow]", TEXT | st.none()),
    "int64[pyarrow]": ("int64[pyarrow]", _whole("int64") | st.none()),
    "date32[day][pyarrow]": ("date32[day][pyarrow]", DAYS | st.none()),
    "text and None": ("object", TEXT | st.none()),
    "text and NaN": ("object", TEXT | st.just(np.nan)),
    "text and NA": ("object", TEXT | st.just(pd.NA)),
    "numbers and None": ("object", FLOATS | st.integers(-(2**60), 2**60) | st.none()),
    "flags and None": ("object", st.booleans() | st.none()),
    "dates and None": ("object", DAYS | st.none()),
    "stamps and NaT": ("object", MOMENTS.map(pd.Timestamp) | st.just(pd.NaT)),
    "moments": ("object", MOMENTS | st.none()),
    "datetime64[ns]": ("datetime64[ns]", MOMENTS | st.none()),
    "datetime64[us]": ("datetime64[us]", MOMENTS | st.none()),
    "datetime64[s]": ("datetime64[s]", DAYS | st.none()),
    "texts by category": ("category", TEXT | st.none()),
    "numbers by category": ("category", st.integers(-5, 5) | st.none()),
    "days by category": ("category", DAYS.map(pd.Timestamp) | st.none()),
    "lists": ("object", st.lists(FLOATS, min_size=1, max_size=3)),
}


@st.composite
def columns(draw: st.DrawFn, count: int) -> pd.Series:
    """A column of any kind."""
    kind = draw(st.sampled_from([*COLUMNS, "zone", "period", "ordered"]))
    if kind == "zone":
        moments = draw(st.lists(MOMENTS, min_size=count, max_size=count))
        return pd.Series(pd.DatetimeIndex(moments, tz="UTC").tz_convert(draw(ZONES)))
    if kind == "period":
        return pd.Series(pd.PeriodIndex(draw(st.lists(MOMENTS, min_size=count, max_size=count)), freq="M"))
    if kind == "ordered":
        levels = draw(st.lists(TEXT, min_size=1, max_size=4, unique=True))
        values = draw(st.lists(st.sampled_from(levels) | st.none(), min_size=count, max_size=count))
        return pd.Series(pd.Categorical(values, categories=levels, ordered=True))
    dtype, entries = COLUMNS[kind]
    values = draw(st.lists(entries, min_size=count, max_size=count))
    if dtype == "object":
        array = np.empty(count, dtype=object)
        array[:] = values
        return pd.Series(array, dtype=object)
    return pd.Series(values, dtype=dtype)


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    """A frame of a few columns in any order, with labels of any kind."""
    count = draw(st.integers(1, 4))
    labels = draw(st.lists(TEXT | st.integers(0, 9), min_size=1, max_size=4, unique_by=str))
    frame = pd.concat([draw(columns(count)) for _ in labels], axis=1)
    frame.columns = pd.Index(labels)
    return frame


def same(one: Any, other: Any) -> bool:
    """Whether two values are of one type and equal; what is missing equals what is missing in the same way."""
    if isinstance(one, float) and isinstance(other, int | float):
        return one == other or (one != one and other != other)
    return type(one) is type(other) and (one is other or repr(one) == repr(other))


def assert_same(got: pd.DataFrame, wanted: pd.DataFrame) -> None:
    assert [repr(name) for name in got.columns] == [repr(name) for name in wanted.columns]
    assert got.dtypes.tolist() == wanted.dtypes.tolist()
    for position, name in enumerate(wanted.columns):
        for one, other in zip(got.iloc[:, position].tolist(), wanted.iloc[:, position].tolist(), strict=True):
            assert same(one, other), (name, one, other)


@settings(max_examples=60, deadline=None)
@given(frame=frames(), data=st.data())
def test_a_frame_arrives_as_it_was(folder: Any, frame: pd.DataFrame, data: st.DataObject) -> None:
    table = as_table(frame, "--data")
    runner = Runner(table, folder)
    records = table.records()
    assert_same(runner.read(records), frame)
    order = data.draw(st.permutations(list(records[0])))
    assert_same(runner.read([{name: row[name] for name in order} for row in records]), frame)
    assert_same(runner.read([[row[name] for name in records[0]] for row in records]), frame)
    parts = [runner.contract.read_rows(json.loads(json.dumps([row]))) for row in records]
    assert_same(runner.prepare(join(parts)), frame)
    columns = {name: [row[name] for row in records] for name in records[0]}
    assert_same(runner.prepare(runner.contract.read_columns(json.loads(json.dumps(columns)))), frame)
    document = row_schema(runner.contract, {})
    assert set(document["properties"]) == set(records[0])
    example_rows(runner.contract, runner.published)


@settings(max_examples=30, deadline=None)
@given(frame=frames(), data=st.data())
def test_an_index_arrives_as_it_was(folder: Any, frame: pd.DataFrame, data: st.DataObject) -> None:
    kinds = ["day", "zone", "text", "number", "two"]
    kind = data.draw(st.sampled_from(kinds))
    count = len(frame)
    name = data.draw(st.sampled_from([None, "when"]))
    frame.columns = [f"column {position}" for position in range(len(frame.columns))]
    frame.index = {
        "day": pd.date_range("2026-03-28", periods=count, freq="D", name=name),
        "zone": pd.date_range("2026-03-28", periods=count, freq="h", tz="Europe/Berlin", name=name),
        "text": pd.Index([f"row {row}" for row in range(count)], name=name),
        "number": pd.Index(list(range(5, 5 + count)), name=name),
        "two": pd.MultiIndex.from_arrays([[1] * count, list("abcd")[:count]], names=[name, "letter"]),
    }[kind]
    table = replace(as_table(frame, "--data"), indexed=True)
    got = Runner(table, folder).read(table.records())
    assert_same(got, frame)
    pd.testing.assert_index_equal(got.index, frame.index, exact=True)
    assert getattr(got.index, "freq", None) == getattr(frame.index, "freq", None)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), name=st.none() | TEXT)
def test_a_series_arrives_as_it_was(folder: Any, data: st.DataObject, name: str | None) -> None:
    series = data.draw(columns(3)).rename(name)
    table = as_table(series, "--data")
    got = Runner(table, folder).read(table.records())
    assert isinstance(got, pd.Series)
    assert got.name == series.name
    assert_same(got.to_frame("value"), series.to_frame("value"))


# ---------------------------------------------------------------- arrays, lists, records


@settings(max_examples=40, deadline=None)
@given(data=st.data(), shape=st.lists(st.integers(1, 3), min_size=1, max_size=4))
def test_arrays_of_any_rank_arrive_as_they_were(folder: Any, data: st.DataObject, shape: list[int]) -> None:
    dtype, entries = data.draw(
        st.sampled_from(
            [
                ("float64", FLOATS | st.just(np.nan)),
                ("float32", SINGLES),
                ("int8", _whole("int8")),
                ("uint64", st.integers(0, 2**63)),
                ("bool", st.booleans()),
                ("str", TEXT.map(lambda text: text.rstrip("\0"))),
                ("object", TEXT | FLOATS | st.booleans() | st.none()),
                ("datetime64[us]", MOMENTS | st.none()),
            ]
        )
    )
    size = int(np.prod(shape))
    array = np.array(data.draw(st.lists(entries, min_size=size, max_size=size)), dtype=dtype).reshape(shape)
    for value in (array, {"one": array, "two": np.arange(shape[0])}):
        table = as_table(value, "--data")
        got = Runner(table, folder).read(table.records())
        got = got["one"] if isinstance(value, dict) else got
        assert got.dtype.kind == array.dtype.kind
        assert got.dtype == array.dtype or dtype == "str"
        assert got.shape == array.shape
        assert all(same(one, other) for one, other in zip(got.ravel().tolist(), array.ravel().tolist(), strict=True))


JSON = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | FLOATS | TEXT


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(TEXT | st.none(), min_size=1, max_size=4))
def test_a_list_of_texts_arrives_as_it_was(folder: Any, texts: list[str | None]) -> None:
    table = as_table(texts, "--data")
    assert Runner(table, folder).read(table.records()) == texts


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {"count": st.integers(-(2**60), 2**60)},
            optional={
                "text": TEXT | st.none(),
                "share": FLOATS | st.none(),
                "stops": st.lists(st.fixed_dictionaries({"x": FLOATS, "name": TEXT}), min_size=1, max_size=2),
            },
        ),
        min_size=1,
        max_size=4,
    )
)
def test_records_arrive_as_they_were_and_what_is_left_out_stays_out(folder: Any, rows: list[dict[str, Any]]) -> None:
    table = as_table(rows, "--data")
    assert Runner(table, folder).read(table.records()) == rows


# ---------------------------------------------------------------- what callers may send


def test_whole_numbers_and_their_bounds(folder: Any) -> None:
    runner = Runner(as_table(pd.DataFrame({"n": np.array([1, 2], dtype="int8"), "x": [0.5, 1.0]}), "--data"), folder)
    assert runner.read([{"n": 30.0, "x": 2}]).to_dict("records") == [{"n": 30, "x": 2.0}]
    for wrong, said in (({"n": 128, "x": 1}, "between -128 and 127"), ({"n": 1.5, "x": 1}, "whole number")):
        with pytest.raises(CallError, match=said):
            runner.read([wrong])


def test_a_category_that_the_dtype_has_not_is_refused_without_naming_it(folder: Any) -> None:
    frame = pd.DataFrame({"level": pd.Categorical(["a", None], categories=["a", "b"])})
    runner = Runner(as_table(frame, "--data"), folder)
    assert runner.read([{"level": "b"}, {}])["level"].tolist() == ["b", np.nan]
    with pytest.raises(CallError) as refused:
        runner.read([{"level": "a"}, {"level": "secret"}])
    assert refused.value.message == 'Row 1, "level" is not one of the 2 categories that the model knows.'


def test_the_data_tells_categories_and_the_sample_the_order_and_what_may_be_missing(folder: Any) -> None:
    data = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"], "c": pd.Categorical(["p", "q", "r"])})
    sample = pd.DataFrame({"c": pd.Categorical(["p"]), "b": np.array([None], dtype=object), "a": [np.nan]})
    given, asked = as_table(data, "--data"), as_table(sample, "--example")
    described = as_called(given, asked)
    got = Runner(described, folder, asked).read([{"c": "r", "b": None, "a": None}])
    assert list(got.columns) == ["c", "b", "a"]
    assert got["a"].dtype == "float64"
    assert got["b"].tolist() == [None]
    assert got["c"].cat.categories.tolist() == ["p", "q", "r"]


def test_what_has_no_name_to_restore_it_by_is_refused_in_words() -> None:
    class Zone(dt.tzinfo):
        def utcoffset(self, _moment: Any) -> dt.timedelta:
            return dt.timedelta(hours=1)

        def dst(self, _moment: Any) -> dt.timedelta:
            return dt.timedelta(0)

    table = as_table(pd.DataFrame({"at": pd.DatetimeIndex(["2026-01-01"]).tz_localize(Zone())}), "--data")
    with pytest.raises(InvalidInputError, match="'at' has the time zone"):
        describe_rows(table, table)


# ---------------------------------------------------------------- answers


@settings(max_examples=60, deadline=None)
@given(data=st.data(), count=st.integers(1, 4))
def test_the_runner_writes_an_answer_as_the_notebook_keeps_it(data: st.DataObject, count: int) -> None:
    result = data.draw(
        st.one_of(
            columns(count),
            st.lists(columns(count), min_size=1, max_size=3).map(lambda each: pd.concat(each, axis=1)),
            st.lists(FLOATS, min_size=count, max_size=count).map(np.array),
            st.lists(FLOATS, min_size=2 * count, max_size=2 * count).map(lambda each: np.reshape(each, (count, 2))),
            st.lists(MOMENTS | st.none(), min_size=count, max_size=count).map(
                lambda each: np.array(each, dtype="datetime64[us]")
            ),
            st.lists(JSON, min_size=count, max_size=count),
            st.lists(st.dictionaries(TEXT, JSON, max_size=2), min_size=count, max_size=count),
            st.integers(1, 3).map(lambda outputs: [np.arange(2.0 * count).reshape(count, 2)] * outputs),
            st.integers(1, 3).map(lambda outputs: tuple([np.arange(count)] * outputs)),
        )
    )
    if isinstance(result, pd.DataFrame):
        result.columns = [f"out {position}" for position in range(len(result.columns))]
    classes = data.draw(st.sampled_from([None, ["no", "yes"]]))
    kept = encode_answers(result, count, classes)
    names = None if kept.kind == "outputs" else classes
    written = answers_from(result, names, rows=count, as_outputs=kept.kind == "outputs")
    assert json.loads(encode(written.records())) == kept.records
    lone = [json.loads(encode(written.part(row, row + 1).records())) for row in range(written.rows)]
    assert [record for part in lone for record in part] == kept.records
