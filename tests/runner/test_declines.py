"""A quick way declines wherever it could differ from the model: the model then answers itself, and /info tells why."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from published_models import agree, loaded, publish, quietly, records_of, write_description

_random = np.random.default_rng(5)
TABLE = pd.DataFrame(_random.normal(size=(80, 3)), columns=["a", "b", "c"])
TARGET = (TABLE["a"] + TABLE["b"] > 0).astype(int)
MIXED = TABLE.assign(island=_random.choice(["Biscoe", "Dream"], 80))


class Cautious(LogisticRegression):
    """Answers otherwise than its parent."""

    def predict(self, rows: Any) -> Any:
        return super().predict(rows) * 10


class HalfForest(RandomForestClassifier):
    """A forest with a method of its own."""

    def predict_proba(self, rows: Any) -> Any:
        return super().predict_proba(rows) / 2


class OwnPipeline(Pipeline):
    """A pipeline that answers otherwise."""

    def predict(self, rows: Any, **params: Any) -> Any:
        return super().predict(rows, **params) * 10


class OwnScaler(StandardScaler):
    """A scaler that looks at its columns by name."""

    def transform(self, rows: Any, copy: Any = None) -> Any:
        assert list(rows.columns) == ["a", "b", "c"]
        return super().transform(rows, copy)


class Named(BaseEstimator, TransformerMixin):
    """Takes a column by its name."""

    def fit(self, rows: Any, y: Any = None) -> Any:
        self.seen_ = True
        return self

    def transform(self, rows: Any) -> Any:
        return rows[["a"]]


def _own_method(model: Any) -> Any:
    fitted = model.fit(TABLE, TARGET)
    fitted.predict = OtherAnswers()
    return fitted


class OtherAnswers:
    """Stands in for a method."""

    def __call__(self, rows: Any) -> Any:
        return np.full(len(rows), 7)


def _changed_classes() -> Any:
    model = LogisticRegression().fit(TABLE, TARGET)
    model.classes_ = np.array([4, 5, 6])
    return model


def _sparse() -> Any:
    return LogisticRegression().fit(TABLE, TARGET).sparsify()


def _fit(model: Any, data: Any = TABLE, target: Any = TARGET) -> Any:
    return quietly(model.fit, data, target)


def _categories(encoder: Any) -> Any:
    return make_pipeline(make_column_transformer((encoder, ["island"]), remainder="passthrough"), Ridge())


DECLINED: dict[str, tuple[Callable[[], Any], pd.DataFrame, str, str]] = {
    "subclass": (lambda: _fit(Cautious()), TABLE, "predict", "Cautious has no compiled form"),
    "subclass-of-forest": (lambda: _fit(HalfForest(5)), TABLE, "predict_proba", "HalfForest has no compiled form"),
    "subclass-of-pipeline": (
        lambda: _fit(OwnPipeline([("s", StandardScaler()), ("m", LogisticRegression())])),
        TABLE,
        "predict",
        "OwnPipeline has no compiled form",
    ),
    "step": (lambda: _fit(make_pipeline(OwnScaler(), LogisticRegression())), TABLE, "predict", "OwnScaler"),
    "own-method": (lambda: _own_method(LogisticRegression()), TABLE, "predict", "has a predict of its own"),
    "own-method-of-tree": (lambda: _own_method(DecisionTreeClassifier()), TABLE, "predict", "has a predict of its own"),
    "classes": (_changed_classes, TABLE, "predict", "The classes do not fit the coefficients"),
    "sparse": (_sparse, TABLE, "predict", "not a dense matrix"),
    "several-outputs": (
        lambda: RandomForestClassifier(5).fit(TABLE, np.column_stack([TARGET, 1 - TARGET])),
        TABLE,
        "predict",
        "several outputs",
    ),
    "log-probabilities": (lambda: _fit(LogisticRegression()), TABLE, "predict_log_proba", "predict_log_proba"),
    "tables-as-output": (
        lambda: _fit(make_pipeline(StandardScaler().set_output(transform="pandas"), LogisticRegression())),
        TABLE,
        "predict",
        "told to return tables",
    ),
    "clipping": (lambda: _fit(make_pipeline(MinMaxScaler(clip=True), Ridge())), TABLE, "predict", "clips"),
    "own-function": (
        lambda: _fit(make_pipeline(FunctionTransformer(np.abs), LogisticRegression())),
        TABLE,
        "predict",
        "FunctionTransformer has no compiled form",
    ),
    "by-name": (lambda: _fit(make_pipeline(Named(), LogisticRegression())), TABLE, "predict", "not numbers alone"),
    "union": (
        lambda: _fit(make_pipeline(FeatureUnion([("s", StandardScaler())]), LogisticRegression())),
        TABLE,
        "predict",
        "FeatureUnion",
    ),
    "voting": (
        lambda: _fit(VotingClassifier([("a", LogisticRegression())])),
        TABLE,
        "predict",
        "VotingClassifier has no compiled form",
    ),
    "calibrated": (
        lambda: _fit(CalibratedClassifierCV(LogisticRegression(), cv=2)),
        TABLE,
        "predict_proba",
        "CalibratedClassifierCV has no compiled form",
    ),
    "metric": (
        lambda: _fit(KNeighborsClassifier(metric=_distance)),
        TABLE,
        "predict",
        "may look at columns by name",
    ),
    "indicator": (
        lambda: _fit(make_pipeline(SimpleImputer(add_indicator=True), LogisticRegression())),
        TABLE,
        "predict",
        "SimpleImputer adds or drops",
    ),
    "rare": (
        lambda: _fit(_categories(OneHotEncoder(min_frequency=50, handle_unknown="ignore")), MIXED),
        MIXED,
        "predict",
        "joins what is rare",
    ),
    "weights": (
        lambda: _fit(
            make_pipeline(
                make_column_transformer((OneHotEncoder(), ["island"]), (StandardScaler(), ["a"])).set_params(
                    transformer_weights={"standardscaler": 2.0}
                ),
                Ridge(),
            ),
            MIXED,
        ),
        MIXED,
        "predict",
        "has weights",
    ),
}


def _distance(one: Any, other: Any) -> float:
    return float(np.abs(one - other).sum())


@pytest.mark.parametrize("name", DECLINED)
def test_models_that_are_not_what_they_seem_answer_themselves(tmp_path: Path, name: str) -> None:
    make, data, method, words = DECLINED[name]
    model = make()
    kept = [] if name == "classes" else None  # it cannot answer at all
    directory = publish(tmp_path / "m", model, data, method=method, sample=kept is None)
    if kept is not None:
        _write_sample(directory, records_of(data[:2]), [{"prediction": 4}] * 2)
    predictor = loaded(directory)
    assert words in predictor.note
    assert predictor.path in ("frame", "array")
    if predictor.path == "frame":
        assert predictor.fast is None
    else:
        assert agree(predictor, records_of(data[:3]))
    if kept is None and name != "several-outputs":
        batch = predictor.contract.read_rows(records_of(data[:5]))
        answers = quietly(predictor.predict, batch).tensors()["prediction"]
        np.testing.assert_array_equal(answers, quietly(getattr(model, method), data[:5]))


def test_a_method_replaced_on_the_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from model_platform_runner.compiled import known

    directory = publish(tmp_path / "m", LogisticRegression().fit(TABLE, TARGET), TABLE)
    original = LogisticRegression.decision_function
    monkeypatch.setattr(LogisticRegression, "decision_function", lambda self, rows: -original(self, rows), raising=True)
    known._changed.cache_clear()
    known._methods.cache_clear()
    try:
        predictor = loaded(directory)
        assert predictor.fast is None
        assert "decision_function of LogisticRegression was replaced" in predictor.note
    finally:
        known._changed.cache_clear()


@pytest.fixture
def settings() -> Iterator[Any]:
    before = sklearn.get_config()
    yield sklearn.set_config
    sklearn.set_config(**before)


@pytest.mark.parametrize("setting", [{"transform_output": "pandas"}, {"enable_metadata_routing": True}])
def test_settings_that_change_answers(tmp_path: Path, settings: Any, setting: dict[str, Any]) -> None:
    directory = publish(tmp_path / "m", LogisticRegression().fit(TABLE, TARGET), TABLE)
    settings(**setting)
    predictor = loaded(directory)
    assert predictor.fast is None
    assert f"setting {next(iter(setting))} is changed" in predictor.note


MODELS = {
    "linear": LogisticRegression(),
    "trees": RandomForestClassifier(5, random_state=0),
    "array": HistGradientBoostingClassifier(max_iter=3),
}


@pytest.mark.parametrize("path", MODELS)
def test_without_a_sample_nothing_is_quick(tmp_path: Path, path: str) -> None:
    predictor = loaded(publish(tmp_path / "m", MODELS[path].fit(TABLE, TARGET), TABLE, sample=False))
    assert (predictor.path, predictor.fast) == ("frame", None)
    assert predictor.note == "The version has no sample that could prove a quicker way."


@pytest.mark.parametrize("path", MODELS)
def test_a_sample_that_does_not_agree(tmp_path: Path, path: str) -> None:
    model = MODELS[path].fit(TABLE, TARGET)
    answers = [{"prediction": 1 - int(label)} for label in model.predict(TABLE[:20])]
    predictor = loaded(publish(tmp_path / "m", model, TABLE, answers=answers))
    assert (predictor.path, predictor.fast) == ("frame", None)
    assert f"{path.capitalize()}: It differs from the sample's answers." in predictor.note


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"deterministic": False}, "no sample"),
        ({"not_proven": "It was made up."}, "no sample"),
        ({"records": [], "answers": []}, "no sample"),
        ({"answers": []}, "no sample"),
        (
            {"records": [{"a": "text", "b": 1.0, "c": 1.0}], "answers": [{"prediction": 1}]},
            "does not fit the signature",
        ),
        ({"answers": [{"prediction": "1"}] * 20}, "differs from the sample's answers"),
        ({"answers": [{"label": 1}] * 20}, "differs from the sample's answers"),
        ({"answers": [{"prediction": None}] * 20}, "differs from the sample's answers"),
    ],
)
def test_samples_that_prove_nothing(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    directory = publish(tmp_path / "m", LogisticRegression().fit(TABLE, TARGET), TABLE)
    file = directory / "model_platform" / "parity.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    predictor = loaded(directory)
    assert (predictor.path, predictor.fast) == ("frame", None)
    assert words in predictor.note


def test_columns_in_another_order_than_the_model_learnt_them(tmp_path: Path) -> None:
    model = LogisticRegression().fit(TABLE, TARGET)
    directory = publish(tmp_path / "m", model, TABLE)
    write_description(directory, TABLE[["b", "a", "c"]], {"sklearn": {"pickled_model": "model.pkl"}})
    predictor = loaded(directory)
    assert predictor.fast is None
    assert "in the order in which it learnt them" in predictor.note


def _write_sample(directory: Path, records: list[Any], answers: list[Any]) -> None:
    (directory / "model_platform").mkdir(exist_ok=True)
    sample = {"records": records, "answers": answers}
    (directory / "model_platform" / "parity.json").write_text(json.dumps(sample))
