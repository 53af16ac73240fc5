"""Runners tell which way serves, and load nothing that it does not need."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from published_models import publish, quietly, records_of, write_description, write_sample

_random = np.random.default_rng(5)
NUMBERS = pd.DataFrame(_random.normal(size=(90, 3)), columns=["a", "b", "c"])
TARGET = (NUMBERS["a"] > 0).astype(int)
MIXED = NUMBERS.assign(island=_random.choice(["Biscoe", "Dream"], 90))


def _quickstart() -> Any:
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["a", "b", "c"]), (OneHotEncoder(), ["island"])
    )
    return make_pipeline(columns, LogisticRegression())


_BLOCKING = """
import runpy, sys
class Blocked:
    def find_spec(name, path=None, target=None):
        if name in {modules}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Blocked)
runpy.run_module("model_platform_runner", run_name="__main__")
"""


def _without(*modules: str) -> list[str]:
    """A runner's command where these cannot be imported."""
    return [sys.executable, "-c", _BLOCKING.format(modules=modules)]


@pytest.fixture
def ready(tmp_path: Path, launch: Any) -> Callable[..., Any]:
    def start(model: Any, data: Any, *blocked: str, **options: Any) -> Any:
        directory = publish(tmp_path / "m", quietly(model.fit, data, TARGET), data, **options)
        runner = launch(directory, command=_without(*blocked))
        runner.wait_for_event("ready")
        return runner

    return start


def _path(runner: Any) -> str:
    info, event = runner.control.get("/info").json(), runner.wait_for_event("ready")
    assert "mlflow" not in info["libraries"]
    assert (event["path"], event["path_note"]) == (info["path"], info["path_note"])
    return str(info["path"])


@pytest.mark.parametrize("model", [LogisticRegression(), RandomForestClassifier(5)], ids=["linear", "trees"])
def test_models_of_arrays_need_neither_pandas_nor_mlflow(ready: Any, model: Any) -> None:
    data = NUMBERS.to_numpy()
    runner = ready(model, data, "pandas", "mlflow")
    assert _path(runner) == ("linear" if isinstance(model, LogisticRegression) else "trees")
    assert "pandas" not in runner.control.get("/info").json()["libraries"]
    answers = runner.calls.post("/", json=data[:30].tolist()).json()
    assert [each["prediction"] for each in answers] == model.predict(data[:30]).tolist()


def test_a_table_of_numbers_goes_as_an_array_without_mlflow(ready: Any) -> None:
    model = GaussianNB()
    runner = ready(model, NUMBERS, "mlflow", method="predict_proba")
    assert _path(runner) == "array"
    shuffled = [dict(reversed(each.items())) for each in records_of(NUMBERS[:30])]
    answers = runner.calls.post("/v1/models/churn:predict", json={"instances": shuffled}).json()["predictions"]
    np.testing.assert_allclose(answers, model.predict_proba(NUMBERS[:30]), rtol=1e-9)
    runner.stop()
    assert "feature names" not in runner.log()


def test_xgboost_needs_neither_pandas_nor_mlflow(tmp_path: Path, launch: Any) -> None:
    model = xgboost.train({}, xgboost.DMatrix(NUMBERS, TARGET), num_boost_round=4)
    directory = tmp_path / "m"
    directory.mkdir()
    model.save_model(directory / "model.ubj")
    generic = {"loader_module": "mlflow.xgboost", "data": "model.ubj"}
    flavors = {"xgboost": {"data": "model.ubj", "model_class": "xgboost.core.Booster"}, "python_function": generic}
    write_description(directory, NUMBERS, flavors)
    expected = model.predict(xgboost.DMatrix(NUMBERS))
    write_sample(directory, NUMBERS[:20], expected[:20])
    runner = launch(directory, command=_without("pandas", "mlflow"))
    runner.wait_for_event("ready")
    assert _path(runner) == "xgboost"
    answers = runner.calls.post("/", json=records_of(NUMBERS)).json()
    np.testing.assert_allclose([each["prediction"] for each in answers], expected, rtol=1e-6)


def test_what_the_compiled_way_leaves_to_the_model_the_model_answers_or_refuses(ready: Any) -> None:
    """Good, unknown, missing and misshapen rows at once: each gets its own answer."""
    runner = ready(_quickstart(), MIXED, "mlflow")
    model_path = _path(runner)
    assert model_path == "linear"
    good = records_of(MIXED)
    wrong = [
        ({**good[0], "island": "nowhere"}, 500, "failed_prediction"),
        ({**good[0], "a": "text"}, 422, "invalid_input"),
        ({**good[0], "more": 1}, 422, "invalid_input"),
    ]

    async def post_all() -> list[httpx.Response]:
        transport = httpx.AsyncHTTPTransport(uds=runner.config["socket"], limits=httpx.Limits(max_connections=32))
        async with httpx.AsyncClient(transport=transport, base_url="http://churn", timeout=60) as client:
            bodies = [wrong[at % 30][0] if at % 30 < 3 else [good[at % 90]] for at in range(300)]
            return await asyncio.gather(*(client.post("/", json=body) for body in bodies))

    answers = asyncio.run(post_all())
    expected = _quickstart().fit(MIXED, TARGET).predict(MIXED)
    for at, answer in enumerate(answers):
        if at % 30 < 3:
            _, status, code = wrong[at % 30]
            assert (answer.status_code, answer.json()["code"]) == (status, code)
        else:
            assert answer.json() == [{"prediction": int(expected[at % 90])}]
