"""Inputs and outputs as published: what the model gets behind an endpoint is what the notebook's call gave it."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from model_platform.capture.answers import encode_answers

DAYS = pd.date_range("2026-01-30", periods=4, freq="D", tz="Europe/Berlin", name="day")


def frame() -> pd.DataFrame:
    """Every kind of column, each with what is missing in its own way."""
    return pd.DataFrame(
        {
            "small": np.array([1, -128, 3, 127], dtype="int8"),
            "big": np.array([2**63, 1, 2**64 - 1, 0], dtype="uint64"),
            "half": np.array([0.5, 1.5, np.nan, 2], dtype="float16"),
            "nullable": pd.array([2**60 + 1, None, 3, 4], dtype="Int64"),
            "maybe": pd.array([True, None, False, True], dtype="boolean"),
            "text": ["a", None, "", "ä"],
            "none": np.array(["x", None, "y", None], dtype=object),
            "nan": np.array(["x", np.nan, "y", "z"], dtype=object),
            "na": np.array(["x", pd.NA, "y", "z"], dtype=object),
            "mixed": np.array([1, 2.5, None, 4], dtype=object),
            "day_of_birth": np.array([dt.date(1950, 2, 3), None, dt.date(1, 1, 1), dt.date(9999, 12, 31)], dtype=object),
            "level": pd.Categorical(["low", None, "high", "low"], categories=["low", "middle", "high"], ordered=True),
            "code": pd.Categorical([3, 1, None, 3], categories=[3, 2, 1]),
            "at": pd.DatetimeIndex(["2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z", "2026-10-25T00:30:00Z", None])
            .tz_convert("Europe/Berlin"),
            "naive": pd.to_datetime(["2026-01-01T00:00:00.000001", None, "1900-01-01T00:00:00.0", "2200-01-01T00:00:00.0"]),
            "month": pd.PeriodIndex(["2026-01", None, "2026-02", "2026-12"], freq="M"),
            7: [1.0, 2.0, 3.0, np.nan],
        },
        index=DAYS,
    )  # fmt: skip


class Witness:
    """Answers what it was given: types, values and index, so that nothing that changed stays unseen."""

    def predict(self, rows: Any) -> Any:
        dtypes = "|".join(f"{name!r}:{dtype!r}" for name, dtype in rows.dtypes.items())
        index = f"{rows.index.dtype!r}:{rows.index.name}"
        return [f"{dtypes}|{index}|{at!r}|{[repr(value) for value in row]}" for at, *row in rows.itertuples(name=None)]


def post(endpoint: Any, path: str, document: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {endpoint.token()}"}
    return httpx.post(f"{endpoint.url}{path}", json=document, headers=headers, timeout=30)


def proven(endpoint: Any) -> None:
    parity = endpoint.resource.status.deployments[0].parity
    assert parity.proven
    assert parity.deterministic
    assert parity.rows > 1


def test_a_frame_with_every_dtype_and_its_index(mp: Any) -> None:
    """Also for a model that goes through MLflow's pyfunc, which would force the signature's types upon it."""
    rows = frame()
    published = mp.publish(Witness(), "witness", data=rows, example=rows)
    endpoint = mp.deploy("witness")
    proven(endpoint)
    assert list(endpoint.predict(rows)) == Witness().predict(rows)
    assert published.details.behaviour["rows"]["index"] == ["day"]
    document = httpx.get(f"{endpoint.url}/schema", timeout=30).json()["input"]["items"]
    assert document["properties"]["small"] | {"minimum": -128, "maximum": 127} == document["properties"]["small"]
    assert "Europe/Berlin" in document["properties"]["at"]["description"]
    assert "day" in document["required"]
    endpoint.stop()


def test_texts_as_a_series_with_probabilities_by_class(mp: Any) -> None:
    texts = pd.Series(["good", "very good", "bad", "very bad", "so good", "so bad"], name="comment")
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, ["+", "+", "-", "-", "+", "-"])
    published = mp.publish(model, "tone", data=texts, example=texts, answers="predict_proba")
    assert "probability of 2 classes" in str(published.card().rows)
    answers = model.predict_proba(texts)
    endpoint = mp.deploy("tone")
    proven(endpoint)
    np.testing.assert_allclose(endpoint.predict(texts), answers, rtol=1e-9)
    np.testing.assert_allclose(endpoint.predict(list(texts)), answers, rtol=1e-9)
    by_class = [dict(zip(["+", "-"], row, strict=True)) for row in answers.tolist()]
    assert post(endpoint, "", list(texts)).json() == [pytest.approx(each) for each in by_class]
    assert post(endpoint, "", "good").json() == pytest.approx(by_class[0])
    lines = [pytest.approx(row) for row in answers.tolist()]
    assert post(endpoint, "/v1/models/tone:predict", {"instances": list(texts)}).json()["predictions"] == lines
    assert post(endpoint, "/invocations", {"inputs": list(texts)}).json()["predictions"] == lines
    tensor = {"name": "comment", "shape": [6], "datatype": "BYTES", "data": list(texts)}
    (output,) = post(endpoint, "/v2/models/tone/infer", {"inputs": [tensor]}).json()["outputs"]
    assert output["shape"] == [6, 2]
    assert post(endpoint, "", [1]).json()["code"] == "invalid_input"
    endpoint.stop()


def test_arrays_by_name_with_missing_numbers_and_several_outputs(mp: Any) -> None:
    images = np.arange(24, dtype="float32").reshape(3, 2, 4) / 7
    images[1, 0, 0] = np.nan
    inputs = {"image": images, "weight": np.array([1, 2, 3], dtype="int16")}

    def model(given: dict[str, Any]) -> Any:
        assert {name: str(array.dtype) for name, array in given.items()} == {"image": "float32", "weight": "int16"}
        return given["image"].sum(axis=1), given["weight"] * 2

    mp.publish(model, "scan", example=inputs)
    endpoint = mp.deploy("scan")
    proven(endpoint)
    for got, wanted in zip(endpoint.predict(inputs), model(inputs), strict=True):
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)
    row = {"image": images[0].tolist(), "weight": 1.0}
    assert set(post(endpoint, "", row).json()) == {"output_0", "output_1"}
    assert post(endpoint, "", row | {"weight": 1.5}).status_code == 422
    endpoint.stop()


def test_a_forest_with_two_outputs_names_the_probabilities_of_each(mp: Any) -> None:
    random = np.random.default_rng(3)
    features = random.normal(size=(60, 3))
    targets = np.column_stack([features[:, 0] > 0, np.where(features[:, 1] > 0, 2, 1)])
    model = RandomForestClassifier(10, random_state=0).fit(features, targets)
    mp.publish(model, "pair", data=features, answers="predict_proba")
    endpoint = mp.deploy("pair")
    proven(endpoint)
    for got, wanted in zip(endpoint.predict(features), model.predict_proba(features), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-9)
    answer = post(endpoint, "", features[:1].tolist()).json()
    assert [set(one) for one in answer[0].values()] == [{"0", "1"}, {"1", "2"}]
    endpoint.stop()


WEIGHTS = np.random.default_rng(5).normal(size=(26, 3)).astype("float32")


def embed(text: str) -> Any:
    """Three numbers of 32 bits, the mean of those of its letters."""
    return WEIGHTS[[ord(letter) - ord("a") for letter in text]].mean(axis=0)


@pytest.mark.parametrize(
    "model",
    [
        lambda texts: [embed(text) for text in texts],
        lambda texts: [{"score": embed(text)[0], "all": {"lines": [embed(text)]}} for text in texts],
        lambda texts: {
            "lines": pd.Series([embed(text) for text in texts]),
            "first": [{np.int64(0): embed(text)[0]} for text in texts],
        },
    ],
    ids=["arrays", "records", "columns"],
)
def test_numbers_of_32_bits_within_lists_and_objects(mp: Any, model: Any) -> None:
    """In them nobody tells orjson, JSON's writer in the runner, how many digits Python would write."""
    texts = ["ab", "xyz", "q", "hello"]
    mp.publish(model, "embed", data=texts, example=texts)
    endpoint = mp.deploy("embed")
    proven(endpoint)
    assert post(endpoint, "", texts).json() == encode_answers(model(texts), len(texts)).records
    endpoint.stop()


@pytest.mark.parametrize(
    ("model", "rows"),
    [
        (lambda rows: [row[0] * 2 for row in rows], [[1, "a"], [2, "b"]]),
        (lambda rows: [type(rows).__name__ + repr(row) for row in rows], [[1, 2], [3, 4]]),
        (lambda rows: [repr(row) for row in rows], [(1, None, ()), (True, [{"a": 2.5}], "")]),
    ],
)  # fmt: skip
def test_lists_of_lists_stay_lists_for_own_code(mp: Any, model: Any, rows: Any) -> None:
    mp.publish(model, "lists", example=rows)
    endpoint = mp.deploy("lists")
    proven(endpoint)
    assert endpoint.predict(rows) == model(json.loads(json.dumps(rows)))
    document = httpx.get(f"{endpoint.url}/schema", timeout=30).json()["input"]["items"]
    assert document["type"] == "array"
    endpoint.stop()


def test_lists_of_lists_are_an_array_for_a_library(mp: Any) -> None:
    rows = [[0.0, 1], [1, 0], [2, 1], [3, 5]]
    model = LogisticRegression().fit(rows, [0, 0, 1, 1])
    mp.publish(model, "lines", data=rows * 20, pii="none")
    endpoint = mp.deploy("lines")
    proven(endpoint)
    assert endpoint.predict(rows) == pytest.approx(model.predict(rows))
    endpoint.stop()
