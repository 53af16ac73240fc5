"""Compiled predictors of numbers answer as their models do, over dtypes, missing values, orders and batch sizes."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    BayesianRidge,
    ElasticNet,
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    Perceptron,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC, LinearSVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from published_models import agree, loaded, publish, quietly

NAMES = ("a", "b", "c", "d")
FORESTS = {"n_estimators": 15, "random_state": 0}
SIZES = (1, 2, 3, 255, 257)

_random = np.random.default_rng(3)
TABLE = pd.DataFrame(
    {
        "a": _random.normal(size=150),
        "b": _random.normal(50, 9, 150),
        "c": _random.integers(-9, 9, 150),
        "d": _random.normal(size=150) * 1e-3,
    }
)
HOLES = TABLE.assign(a=TABLE["a"].where(TABLE["a"] < 1), d=TABLE["d"].where(TABLE["d"] > -1e-3))
TWO = np.where(TABLE["a"] + TABLE["c"] / 9 > 0, "yes", "no")
THREE = np.digitize(TABLE["a"] * 2 + TABLE["b"] / 20, [2, 3])
NUMBER = TABLE["a"] * 3 + TABLE["b"] - TABLE["c"]

numbers = st.one_of(
    st.floats(-1e6, 1e6, allow_nan=False),
    st.sampled_from([0.0, -0.0, 1.0, 50.0, 1e-300, 5e-324, float(np.float32(0.1)), 16777217.0]),
)
extremes = st.one_of(numbers, st.sampled_from([1e39, -1e39, 1.7976931348623157e308, -1e308, 3.4028235e38]))
whole = st.one_of(st.integers(-20, 20), st.sampled_from([2**31, -(2**53), 2**53 - 1]))

LINEAR: list[tuple[Any, Any, str]] = [
    (LogisticRegression(), TWO, "predict"),
    (LogisticRegression(), TWO, "predict_proba"),
    (LogisticRegression(), TWO, "decision_function"),
    (LogisticRegression(max_iter=500), THREE, "predict"),
    (LogisticRegression(max_iter=500), THREE, "predict_proba"),
    (LogisticRegression(max_iter=500), THREE, "decision_function"),
    (SGDClassifier(loss="log_loss", random_state=0), TWO, "predict_proba"),
    (SGDClassifier(random_state=0), THREE, "predict"),
    (Perceptron(), TWO, "predict"),
    (RidgeClassifier(), THREE, "predict"),
    (LinearSVC(), THREE, "decision_function"),
    (LinearRegression(), NUMBER, "predict"),
    (Ridge(), NUMBER, "predict"),
    (Ridge(), np.column_stack([NUMBER, -NUMBER]), "predict"),
    (Lasso(alpha=0.1), NUMBER, "predict"),
    (ElasticNet(alpha=0.1), NUMBER, "predict"),
    (BayesianRidge(), NUMBER, "predict"),
    (HuberRegressor(max_iter=500), NUMBER, "predict"),
    (SGDRegressor(random_state=0), NUMBER / 50, "predict"),
    (LinearSVR(), NUMBER / 50, "predict"),
    (make_pipeline(StandardScaler(), LogisticRegression()), TWO, "predict_proba"),
    (make_pipeline(MinMaxScaler(), LogisticRegression()), THREE, "predict"),
    (make_pipeline(RobustScaler(), "passthrough", MaxAbsScaler(), LinearSVC()), TWO, "predict"),
    (Pipeline([("none", None), ("inner", make_pipeline(StandardScaler())), ("last", Ridge())]), NUMBER, "predict"),
    (GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2), TWO, "predict_proba"),
]
TREES: list[tuple[Any, Any, str]] = [
    (DecisionTreeClassifier(random_state=0), THREE, "predict"),
    (DecisionTreeClassifier(max_depth=3, random_state=0), TWO, "predict_proba"),
    (DecisionTreeRegressor(random_state=0), NUMBER, "predict"),
    (RandomForestClassifier(**FORESTS), TWO, "predict"),
    (RandomForestClassifier(**FORESTS, max_depth=4, n_jobs=2), THREE, "predict_proba"),
    (RandomForestRegressor(**FORESTS), NUMBER, "predict"),
    (ExtraTreesClassifier(**FORESTS, min_samples_leaf=5), THREE, "predict_proba"),
    (ExtraTreesRegressor(**FORESTS), NUMBER, "predict"),
    (RandomForestRegressor(n_estimators=1, random_state=0), NUMBER, "predict"),
    (make_pipeline(SimpleImputer(strategy="median"), RandomForestClassifier(**FORESTS)), TWO, "predict_proba"),
]
ARRAYS: list[tuple[Any, Any, str]] = [
    (HistGradientBoostingClassifier(max_iter=5), TWO, "predict_proba"),
    (GradientBoostingRegressor(n_estimators=5), NUMBER, "predict"),
    (KNeighborsClassifier(), THREE, "predict_proba"),
    (make_pipeline(StandardScaler(), SVC()), THREE, "predict"),
]


def _named(case: tuple[Any, Any, str]) -> str:
    model, labels, method = case
    steps = [type(step).__name__ for _, step in model.steps] if isinstance(model, Pipeline) else [type(model).__name__]
    return f"{'+'.join(steps)}-{len(set(np.ravel(labels)))}-{method}"


def _fitted(case: tuple[Any, Any, str], data: Any) -> Any:
    return quietly(case[0].fit, data, case[1])


def _batches(value: Any) -> Any:
    """Rows with their columns in any order, few that are repeated to many."""
    row = st.fixed_dictionaries({"a": value, "b": value, "c": whole, "d": value})
    few = st.lists(row.flatmap(lambda each: st.permutations(list(each.items())).map(dict)), min_size=1, max_size=5)
    return st.tuples(few, st.sampled_from(SIZES)).map(lambda drawn: (drawn[0] * drawn[1])[: drawn[1]])


def _hold(predictor: Any, batches: Any, *, exact: bool, examples: int = 25) -> None:
    """Whatever rows are drawn, the quick way agrees; and it does answer the ordinary ones."""

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(rows=batches)
    def holds(rows: list[Any]) -> None:
        agree(predictor, rows, exact=exact)

    holds()


@pytest.mark.parametrize("described", [True, False], ids=["described", "signature"])
@pytest.mark.parametrize("case", LINEAR, ids=_named)
def test_linear_models(tmp_path: Path, case: tuple[Any, Any, str], described: bool) -> None:
    directory = publish(tmp_path / "m", _fitted(case, TABLE), TABLE, method=case[2], described=described)
    predictor = loaded(directory)
    assert (predictor.path, predictor.note) == ("linear", "")
    assert agree(predictor, [{"a": 0.5, "b": 51.0, "c": 3, "d": 0.0}])
    _hold(predictor, _batches(numbers), exact=False)
    if case[2] == "predict" and np.asarray(case[1]).dtype.kind in "Ui":
        _hold(predictor, _batches(extremes), exact=True)


@pytest.mark.parametrize("case", TREES, ids=_named)
def test_trees_and_forests_to_the_last_bit(tmp_path: Path, case: tuple[Any, Any, str]) -> None:
    predictor = loaded(publish(tmp_path / "m", _fitted(case, TABLE), TABLE, method=case[2]))
    assert (predictor.path, predictor.note) == ("trees", "")
    assert agree(predictor, [{"a": 0.5, "b": 51.0, "c": 3, "d": 0.0}], exact=True)
    _hold(predictor, _batches(extremes), exact=True)


@pytest.mark.parametrize("case", TREES, ids=_named)
def test_missing_values_go_the_way_that_trees_have_learnt(tmp_path: Path, case: tuple[Any, Any, str]) -> None:
    predictor = loaded(publish(tmp_path / "m", _fitted(case, HOLES), HOLES, method=case[2]))
    assert (predictor.path, predictor.note) == ("trees", "")
    assert agree(predictor, [{"a": None, "b": 51.0, "c": 3, "d": None}], exact=True)
    row = st.fixed_dictionaries({"a": st.none() | extremes, "b": extremes, "c": whole, "d": st.none() | extremes})
    _hold(predictor, st.lists(row, min_size=1, max_size=9), exact=True)


@pytest.mark.parametrize("case", ARRAYS, ids=_named)
def test_tables_of_numbers_go_as_arrays(tmp_path: Path, case: tuple[Any, Any, str]) -> None:
    predictor = loaded(publish(tmp_path / "m", _fitted(case, TABLE), TABLE, method=case[2]))
    assert predictor.path == "array"
    assert predictor.fast is not None
    rows = [{"d": 0.0, "c": 3, "b": 51.0, "a": 0.5}] * 3
    assert agree(predictor, rows)
    predictor.fast(predictor.contract.read_rows(rows))  # without a warning, which would be an error here
    _hold(predictor, _batches(numbers), exact=False, examples=10)


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "int32"])
@pytest.mark.parametrize(
    "model", [LogisticRegression(max_iter=500), RandomForestClassifier(**FORESTS)], ids=["linear", "trees"]
)
def test_models_of_arrays_in_every_dtype(tmp_path: Path, model: Any, dtype: str) -> None:
    data = (TABLE.to_numpy() * (1 if dtype.startswith("f") else 9)).astype(dtype)
    predictor = loaded(publish(tmp_path / "m", model.fit(data, THREE), data, method="predict_proba"))
    assert predictor.path == ("linear" if isinstance(model, LogisticRegression) else "trees")
    value = st.floats(-1e6, 1e6, width=32) if dtype.startswith("f") else st.integers(-(2**31), 2**31 - 1)
    _hold(predictor, st.lists(st.lists(value, min_size=4, max_size=4), min_size=1, max_size=9), exact=False)
    assert agree(predictor, [[1, 2, 3, 4]] * 257)


def test_large_batches_of_forests_go_tree_by_tree(tmp_path: Path) -> None:
    trees: Any = importlib.import_module("model_platform_runner.compiled.trees")
    model = RandomForestRegressor(**FORESTS).fit(TABLE, NUMBER)
    predictor = loaded(publish(tmp_path / "m", model, TABLE))
    few = {"a": 0.5, "b": 51.0, "c": 3, "d": 0.0}
    assert len(model.estimators_) * 5 * 9999 > trees._CELLS
    for size in (1, 2, 3000, 9999):
        assert agree(predictor, [few] * size, exact=True)


def test_rows_on_a_border_between_classes_are_left_to_the_model(tmp_path: Path) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(TABLE, TWO)
    model[-1].coef_[:], model[-1].intercept_[:] = [[0.0, 0.0, 1.0, 0.0]], [0.0]
    model[0].mean_[:] = 3.0
    predictor = loaded(publish(tmp_path / "m", model, TABLE))
    assert agree(predictor, [{"a": 0.5, "b": 51.0, "c": 4, "d": 0.0}])
    assert not agree(predictor, [{"a": 0.5, "b": 51.0, "c": 3, "d": 0.0}])
