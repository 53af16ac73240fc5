"""One model of every kind that can be published: what a person trains in a cell, rows to call it with, its answer."""

from __future__ import annotations

import importlib
import os
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

RNG = np.random.default_rng(7)
COUNT = 60


@dataclass(frozen=True)
class Kind:
    """A published model, rows, what the notebook answers to them, and how it is expected to be stored.

    A model that is given by where it lies has no noted storage if it is published as it lies there.
    """

    model: Any
    rows: Any
    answer: Any
    format: str
    options: Mapping[str, Any] = field(default_factory=dict)
    kept: str | None = None  # the format that the card names, where it is another word
    as_it_lies: bool = False


@contextmanager
def silence() -> Iterator[None]:
    """Libraries that warn while they train do not matter here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def customers() -> pd.DataFrame:
    """Numbers with gaps, a category, text, a date."""
    return pd.DataFrame(
        {
            "age": RNG.integers(18, 80, COUNT),
            "income": np.where(np.arange(COUNT) % 7 == 0, np.nan, RNG.normal(3, 1, COUNT)),
            "plan": pd.Categorical(RNG.choice(["basic", "pro", "max"], COUNT), categories=["basic", "max", "pro"]),
        }
    )


def labels() -> np.ndarray:
    return (np.arange(COUNT) % 2).astype(np.int64)


def _module(name: str) -> Any:
    """A module of the project, as it lies there now."""
    sys.modules.pop(name, None)
    with silence():
        return importlib.import_module(name)


def pipeline(_folder: Path) -> Kind:
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    frame = customers().assign(plan=lambda rows: rows["plan"].astype("str"))
    columns = make_column_transformer((SimpleImputer(), ["age", "income"]), (OneHotEncoder(), ["plan"]))
    model = make_pipeline(columns, LogisticRegression(max_iter=500)).fit(frame, np.where(labels(), "leaves", "stays"))
    return Kind(model, frame, model.predict_proba(frame), "skops", {"answers": "predict_proba"})


def forest(_folder: Path) -> Kind:
    from sklearn.ensemble import RandomForestClassifier

    rows = RNG.normal(size=(COUNT, 4))
    model = RandomForestClassifier(20, random_state=0, n_jobs=2).fit(rows, labels())
    return Kind(model, rows, model.predict(rows), "skops")


def clustering(_folder: Path) -> Kind:
    from sklearn.cluster import KMeans
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    frame = customers()[["age"]].assign(size=RNG.normal(size=COUNT))
    model = make_pipeline(StandardScaler(), KMeans(3, random_state=0, n_init=1)).fit(frame)
    return Kind(model, frame, model.predict(frame), "skops")


def multi_output(_folder: Path) -> Kind:
    from sklearn.ensemble import RandomForestRegressor

    frame = pd.DataFrame(RNG.normal(size=(COUNT, 3)), columns=["a", "b", "c"])
    model = RandomForestRegressor(10, random_state=0).fit(frame, frame[["a", "b"]] * 2)
    return Kind(model, frame, model.predict(frame), "skops")


def text(_folder: Path) -> Kind:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    letters = ["my card was stolen", "thank you very much", "the app is slow", "a lovely evening"] * 5
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(letters, ["complaint", "praise"] * 10)
    return Kind(model, letters, model.predict(letters), "skops")


def custom_step(folder: Path) -> Kind:
    """A pipeline with a function of the user's: no safe format holds it."""
    (folder / "steps_of_kinds.py").write_text("import numpy\n\n\ndef logged(rows):\n    return numpy.log1p(rows)\n")
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    rows = np.abs(RNG.normal(size=(COUNT, 2)))
    model = make_pipeline(FunctionTransformer(_module("steps_of_kinds").logged), LinearRegression()).fit(
        rows, rows[:, 0]
    )
    return Kind(model, rows, model.predict(rows), "pickle", kept="cloudpickle")


def xgboost(_folder: Path) -> Kind:
    from xgboost import XGBClassifier

    frame = customers()
    with silence():
        model = XGBClassifier(n_estimators=8, max_depth=3, enable_categorical=True, n_jobs=1).fit(frame, labels())
        return Kind(model, frame, model.predict(frame), "xgboost", kept="ubj")


def booster(_folder: Path) -> Kind:
    """XGBoost's own model, with a category: MLflow's flavour would not let it see that."""
    import xgboost

    frame = customers()
    with silence():
        rows = xgboost.DMatrix(frame, label=labels(), enable_categorical=True)
        model = xgboost.train({"max_depth": 3, "nthread": 1}, rows, 8)
        return Kind(model, frame, model.predict(rows), "pickle", kept="cloudpickle")


def lightgbm(_folder: Path) -> Kind:
    from lightgbm import LGBMClassifier

    frame = customers()
    with silence():
        model = LGBMClassifier(n_estimators=8, min_child_samples=5, verbose=-1, n_jobs=1).fit(frame, labels())
        return Kind(model, frame, model.predict_proba(frame), "pickle", {"answers": "predict_proba"}, "cloudpickle")


def lightgbm_labels(_folder: Path) -> Kind:
    from lightgbm import LGBMRegressor

    frame = customers()
    with silence():
        model = LGBMRegressor(n_estimators=8, min_child_samples=5, verbose=-1, n_jobs=1).fit(frame, labels() * 1.5)
        return Kind(model, frame, model.predict(frame), "skops")


def network(_folder: Path) -> Kind:
    os.environ["KERAS_BACKEND"] = "jax"
    os.environ["JAX_PLATFORMS"] = "cpu"
    with silence():
        import keras

        rows = RNG.normal(size=(COUNT, 3)).astype("float32")
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        model.fit(rows, rows[:, :1] * 2, epochs=1, verbose=0)
        return Kind(model, rows, model.predict(rows, verbose=0), "keras")


def formula(_folder: Path) -> Kind:
    from statsmodels.formula.api import ols

    frame = customers()[["age", "plan"]].assign(plan=lambda rows: rows["plan"].astype("str"))
    model = ols("income ~ age + C(plan)", frame.assign(income=RNG.normal(size=COUNT))).fit()
    return Kind(model, frame, model.predict(frame), "pickle")


def onnx(_folder: Path) -> Kind:
    from onnxruntime import InferenceSession
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    rows = RNG.normal(size=(COUNT, 3)).astype("float32")
    with silence():
        model = to_onnx(LogisticRegression().fit(rows, labels()), rows[:1], options={"zipmap": False})
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = [one.name for one in session.get_outputs()]
    return Kind(
        model, rows, dict(zip(outputs, session.run(None, {session.get_inputs()[0].name: rows}), strict=True)), "onnx"
    )


def with_modules(folder: Path) -> Kind:
    """An MLflow PythonModel that imports a module beside the notebook, which imports another one."""
    (folder / "rates_of_kinds.py").write_text("BASE = 2.0\n")
    (folder / "pricing_of_kinds.py").write_text(
        textwrap.dedent("""
            import mlflow.pyfunc
            import rates_of_kinds


            class Pricer(mlflow.pyfunc.PythonModel):
                def predict(self, context, model_input, params=None):
                    return model_input["age"] * rates_of_kinds.BASE
        """)
    )
    sys.modules.pop("rates_of_kinds", None)
    model = _module("pricing_of_kinds").Pricer()
    frame = customers()[["age"]]
    return Kind(model, frame, frame["age"] * 2.0, "pickle", kept="cloudpickle")


def time_series(folder: Path) -> Kind:
    (folder / "seasonal_of_kinds.py").write_text(
        textwrap.dedent("""
            import pandas as pd


            class Seasonal:
                def __init__(self, history):
                    self.means = history.groupby(history.index.day_of_week).mean()

                def predict(self, rows):
                    return pd.Series(self.means.loc[rows.index.day_of_week].to_numpy(), index=rows.index) + rows["offset"]
        """)
    )
    days = pd.date_range("2026-01-01", periods=COUNT, name="day")
    model = _module("seasonal_of_kinds").Seasonal(pd.Series(RNG.normal(size=COUNT), index=days))
    rows = pd.DataFrame({"offset": RNG.normal(size=20)}, index=pd.date_range("2026-03-01", periods=20, name="day"))
    return Kind(model, rows, model.predict(rows), "pickle", kept="cloudpickle")


def function(folder: Path) -> Kind:
    (folder / "scoring_of_kinds.py").write_text(
        "def score(rows):\n    return (rows['age'] - 18) / 62 + rows['income'].fillna(0.0)\n"
    )
    score = _module("scoring_of_kinds").score
    frame = customers()[["age", "income"]]
    return Kind(score, frame, score(frame), "pickle", kept="cloudpickle")


# ---------------------------------------------------------------- what does not lie in a variable


def _line() -> tuple[Any, pd.DataFrame]:
    from sklearn.linear_model import LinearRegression

    frame = pd.DataFrame(RNG.normal(size=(COUNT, 2)), columns=["a", "b"])
    return LinearRegression().fit(frame, frame["a"] * 3 + RNG.normal(size=COUNT)), frame


def _as_table(answer: Any) -> Any:
    """Nobody has noted how the notebook of a foreign folder holds answers: they come as a table with one column."""
    return np.asarray(answer).reshape(-1, 1)


def joblib_file(folder: Path) -> Kind:
    import joblib

    model, frame = _line()
    joblib.dump(model, folder / "line.joblib")
    return Kind("line.joblib", frame, model.predict(frame), "skops")


def onnx_file(folder: Path) -> Kind:
    made = onnx(folder)
    (folder / "graph.onnx").write_bytes(made.model.SerializeToString())
    return Kind("graph.onnx", made.rows, made.answer, "onnx")


def ubj_file(folder: Path) -> Kind:
    made = xgboost(folder)
    with silence():
        made.model.save_model(folder / "trees.ubj")
    return Kind("trees.ubj", made.rows, made.answer, "xgboost", kept="ubj")


def mlflow_folder(folder: Path) -> Kind:
    model, frame = _line()
    with silence():
        import mlflow.sklearn

        mlflow.sklearn.save_model(model, str(folder / "saved"), input_example=frame[:3])
    return Kind("./saved", frame, _as_table(model.predict(frame)), "skops", as_it_lies=True)


def run_uri(_folder: Path) -> Kind:
    model, frame = _line()
    with silence():
        import mlflow.sklearn

        with mlflow.start_run() as run:
            mlflow.sklearn.log_model(model, name="model")
    uri = f"runs:/{run.info.run_id}/model"
    return Kind(uri, frame, _as_table(model.predict(frame)), "skops", as_it_lies=True)


def model_uri(_folder: Path) -> Kind:
    model, frame = _line()
    with silence():
        import mlflow.sklearn

        with mlflow.start_run():
            logged = mlflow.sklearn.log_model(model, name="model", registered_model_name="line")
    uri = f"models:/line/{logged.registered_model_version}"
    return Kind(uri, frame, _as_table(model.predict(frame)), "skops", as_it_lies=True)


KINDS: Mapping[str, Callable[[Path], Kind]] = {
    one.__name__.replace("_", "-"): one
    for one in (
        pipeline,
        forest,
        clustering,
        multi_output,
        text,
        custom_step,
        xgboost,
        booster,
        lightgbm,
        lightgbm_labels,
        network,
        formula,
        onnx,
        with_modules,
        time_series,
        function,
        joblib_file,
        onnx_file,
        ubj_file,
        mlflow_folder,
        run_uri,
        model_uri,
    )
}
"""By the name under which each is published."""


def alike(expected: Any, got: Any) -> None:
    """Fails unless two answers agree: type of container, values within what floats allow."""
    if isinstance(expected, Mapping):
        found = {str(name): got[name] for name in got}
        assert set(found) == set(expected)
        for name, values in expected.items():
            _values_alike(values, found[name])
        return
    if isinstance(expected, pd.Series):
        assert list(got.index) == list(expected.index)
    _values_alike(expected, got)


def _values_alike(expected: Any, got: Any) -> None:
    one, other = np.asarray(expected), np.asarray(got)
    assert one.shape == other.shape, (one.shape, other.shape)
    if one.dtype.kind in "fiub":
        np.testing.assert_allclose(other.astype(float), one.astype(float), rtol=1e-5, atol=1e-6)
    else:
        assert one.tolist() == other.tolist()
