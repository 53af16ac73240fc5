"""XGBoost and LightGBM by their own files and calls, where the sample proves it; by way of MLflow where not."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from published_models import agree, loaded, quietly, records_of, write_description, write_sample

_random = np.random.default_rng(5)
TABLE = pd.DataFrame(
    {
        "a": _random.normal(size=200),
        "b": _random.normal(size=200),
        "c": _random.integers(-9, 9, 200),
        "d": _random.normal(size=200).astype("float32"),
    }
)
TABLE["b"] = TABLE["b"].where(TABLE.index % 5 != 0)
TWO = (TABLE["a"] + TABLE["c"] > 0).astype(int)
THREE = pd.Series(np.digitize(TABLE["a"], [-0.5, 0.5]))
NUMBER = TABLE["a"] * 3 + TABLE["c"]
QUIET = {"verbose": -1, "min_child_samples": 5}


def _xgboost(folder: Path, model: Any, data: Any, kind: str) -> Path:
    folder.mkdir()
    model.save_model(folder / "model.ubj")
    flavor = {"data": "model.ubj", "model_class": f"xgboost.{kind}"}
    write_description(folder, data, {"xgboost": flavor, "python_function": _by("mlflow.xgboost", "model.ubj")})
    return folder


def _lightgbm(folder: Path, model: Any, data: Any, kind: str) -> Path:
    folder.mkdir()
    if kind == "basic.Booster":
        model.save_model(folder / "model.lgb")
    else:
        (folder / "model.lgb").write_bytes(pickle.dumps(model))
    flavor = {"data": "model.lgb", "model_class": f"lightgbm.{kind}", "serialization_format": "pickle"}
    write_description(folder, data, {"lightgbm": flavor, "python_function": _by("mlflow.lightgbm", "model.lgb")})
    return folder


def _by(loader: str, data: str) -> dict[str, str]:
    return {"loader_module": loader, "data": data}


def _xgboost_trained(target: Any, **parameters: Any) -> Any:
    return xgboost.train(parameters, xgboost.DMatrix(TABLE, target), num_boost_round=7)


def _lightgbm_trained(target: Any, **parameters: Any) -> Any:
    return lightgbm.train(QUIET | parameters, lightgbm.Dataset(TABLE, target), num_boost_round=7)


KINDS: dict[str, tuple[Any, Any, str]] = {
    "xgboost-number": (_xgboost, lambda: _xgboost_trained(NUMBER), "core.Booster"),
    "xgboost-several": (
        _xgboost,
        lambda: _xgboost_trained(THREE, objective="multi:softprob", num_class=3),
        "core.Booster",
    ),
    "xgboost-dart": (
        _xgboost,
        lambda: _xgboost_trained(TWO, booster="dart", objective="binary:logistic"),
        "core.Booster",
    ),
    "XGBClassifier": (
        _xgboost,
        lambda: xgboost.XGBClassifier(n_estimators=7).fit(TABLE, THREE),
        "sklearn.XGBClassifier",
    ),
    "XGBRegressor": (_xgboost, lambda: xgboost.XGBRegressor(n_estimators=7).fit(TABLE, NUMBER), "sklearn.XGBRegressor"),
    "lightgbm-number": (_lightgbm, lambda: _lightgbm_trained(NUMBER), "basic.Booster"),
    "lightgbm-several": (
        _lightgbm,
        lambda: _lightgbm_trained(THREE, objective="multiclass", num_class=3),
        "basic.Booster",
    ),
    "LGBMClassifier": (
        _lightgbm,
        lambda: lightgbm.LGBMClassifier(n_estimators=7, **QUIET).fit(TABLE, TWO.map({0: "no", 1: "yes"})),
        "sklearn.LGBMClassifier",
    ),
    "LGBMClassifier-several": (
        _lightgbm,
        lambda: lightgbm.LGBMClassifier(n_estimators=7, **QUIET).fit(TABLE, THREE),
        "sklearn.LGBMClassifier",
    ),
    "LGBMRegressor": (
        _lightgbm,
        lambda: lightgbm.LGBMRegressor(n_estimators=7, **QUIET).fit(TABLE, NUMBER),
        "sklearn.LGBMRegressor",
    ),
}

numbers = st.floats(-1e6, 1e6, allow_nan=False, width=32) | st.sampled_from([0.0, -0.0, 1e-30])
wide = numbers | st.sampled_from([1e39, -1e300])


def _answers(model: Any, rows: Any) -> Any:
    """What the notebook gets."""
    return quietly(model.predict, xgboost.DMatrix(rows) if isinstance(model, xgboost.Booster) else rows)


@pytest.mark.parametrize("name", KINDS)
def test_by_the_librarys_own_call(tmp_path: Path, name: str) -> None:
    save, make, kind = KINDS[name]
    model = make()
    directory = save(tmp_path / "m", model, TABLE, kind)
    write_sample(directory, TABLE[:20], _answers(model, TABLE[:20]))
    predictor = loaded(directory)
    assert (predictor.path, predictor.flavor) == (save.__name__[1:], save.__name__[1:])
    got = predictor.predict(predictor.contract.read_rows(records_of(TABLE[20:]))).tensors()["prediction"]
    expected = _answers(model, TABLE[20:])
    assert got.dtype == expected.dtype or got.dtype.kind == expected.dtype.kind == "U"
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    else:
        np.testing.assert_array_equal(got, expected)

    @settings(max_examples=30, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(
        rows=st.lists(
            st.fixed_dictionaries({"d": numbers, "b": st.none() | wide, "a": wide, "c": st.integers(-50, 50)}),
            min_size=1,
            max_size=7,
        ),
        size=st.sampled_from([1, 2, 255, 257]),
    )
    def holds(rows: list[Any], size: int) -> None:
        agree(predictor, (rows * size)[:size])

    holds()


@pytest.mark.parametrize("kind", ["xgboost", "lightgbm"])
def test_models_of_arrays(tmp_path: Path, kind: str) -> None:
    data = TABLE.drop(columns="b").to_numpy()
    if kind == "xgboost":
        model = xgboost.XGBRegressor(n_estimators=5).fit(data, NUMBER)
        directory = _xgboost(tmp_path / "m", model, data, "sklearn.XGBRegressor")
    else:
        model = lightgbm.LGBMRegressor(n_estimators=5, **QUIET).fit(data, NUMBER)
        directory = _lightgbm(tmp_path / "m", model, data, "sklearn.LGBMRegressor")
    write_sample(directory, data[:20], _answers(model, data[:20]))
    predictor = loaded(directory)
    assert predictor.path == kind
    got = predictor.predict(predictor.contract.read_rows(data[:50].tolist())).tensors()["prediction"]
    np.testing.assert_allclose(got, _answers(model, data[:50]), rtol=1e-6)


@pytest.fixture
def declined(tmp_path: Path) -> Any:
    """A version that MLflow must load: its predictor."""

    def load(save: Any, model: Any, data: Any, kind: str, answers: Any) -> Any:
        directory = save(tmp_path / "m", model, data, kind)
        if answers is not None:
            write_sample(directory, data[:20], answers)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            predictor = loaded(directory)
        assert (predictor.flavor, predictor.path, predictor.fast) == ("pyfunc", "frame", None)
        return predictor

    return load


def test_without_a_sample(declined: Any) -> None:
    model = xgboost.XGBRegressor(n_estimators=3).fit(TABLE, NUMBER)
    predictor = declined(_xgboost, model, TABLE, "sklearn.XGBRegressor", None)
    assert "no sample" in predictor.note


@pytest.mark.parametrize("kind", ["xgboost", "lightgbm"])
def test_a_sample_that_does_not_agree(declined: Any, kind: str) -> None:
    if kind == "xgboost":
        model: Any = xgboost.XGBRegressor(n_estimators=3).fit(TABLE, NUMBER)
        predictor = declined(_xgboost, model, TABLE, "sklearn.XGBRegressor", _answers(model, TABLE[:20]) * 1.01)
    else:
        model = _lightgbm_trained(NUMBER)
        predictor = declined(_lightgbm, model, TABLE, "basic.Booster", _answers(model, TABLE[:20]) * 1.01)
    assert predictor.note == "It differs from the sample's answers."


def test_categories_of_pandas(declined: Any) -> None:
    data = TABLE.assign(c=TABLE["c"].astype("category"))
    model = lightgbm.LGBMRegressor(n_estimators=3, **QUIET).fit(data, NUMBER)
    predictor = declined(_lightgbm, model, data, "sklearn.LGBMRegressor", _answers(model, data[:20]))
    assert predictor.note == "The column c is not one of NumPy's numbers."
    got = predictor.predict(predictor.contract.read_rows(records_of(data[:9]))).tensors()["prediction"]
    np.testing.assert_allclose(got, _answers(model, data[:9]))


def test_columns_in_another_order_than_that_of_the_model(declined: Any) -> None:
    model = _xgboost_trained(NUMBER)
    predictor = declined(_xgboost, model, TABLE[["b", "a", "c", "d"]], "core.Booster", _answers(model, TABLE[:20]))
    assert "another order" in predictor.note


class Doubling(lightgbm.LGBMRegressor):
    """A regressor that answers otherwise."""

    def predict(self, rows: Any, *more: Any, **parameters: Any) -> Any:
        return super().predict(rows, *more, **parameters) * 2


def test_a_subclass(declined: Any) -> None:
    model = Doubling(n_estimators=3, **QUIET).fit(TABLE, NUMBER)
    predictor = declined(_lightgbm, model, TABLE, "sklearn.LGBMRegressor", _answers(model, TABLE[:20]))
    assert predictor.note == "It is a Doubling, not the LGBMRegressor that MLmodel names."
    got = predictor.predict(predictor.contract.read_rows(records_of(TABLE[:9]))).tensors()["prediction"]
    np.testing.assert_allclose(got, _answers(model, TABLE[:9]))


def test_parameters_of_predicting_are_the_models_own_matter(declined: Any) -> None:
    """A sample of twenty rows would hardly show them: few answers change."""
    parameters = {"pred_early_stop": True, "pred_early_stop_freq": 1, "pred_early_stop_margin": 0.05}
    model = lightgbm.LGBMClassifier(n_estimators=7, **parameters, **QUIET).fit(TABLE, TWO)
    predictor = declined(_lightgbm, model, TABLE, "sklearn.LGBMClassifier", _answers(model, TABLE[:20]))
    assert predictor.note == "Its parameter pred_early_stop changes how it answers."
    got = predictor.predict(predictor.contract.read_rows(records_of(TABLE))).tensors()["prediction"]
    np.testing.assert_array_equal(got, _answers(model, TABLE))
