"""A pyfunc's own code is called directly, and answers as it does by way of MLflow."""

# ruff: noqa: ANN001, ANN201 - MLflow would read annotations as the types of a model's input

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api
import yaml

from model_platform_runner.direct import direct_call
from published_models import loaded, quietly, records_of, write_description

with warnings.catch_warnings():  # what MLflow says while it is imported is not ours
    warnings.simplefilter("ignore")
    import mlflow.pyfunc
    import mlflow.statsmodels
    from mlflow.pyfunc import PythonModel

TABLE = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [0.5, 0.5, 4.0]})


class WithContext(PythonModel):
    """Takes all three."""

    _skip_type_hint_validation = True

    def predict(self, context, model_input, params=None):
        assert context is not None
        assert params is None
        return model_input["a"].to_numpy() * 2


class NamesItOtherwise(PythonModel):
    """Calls its context by another name."""

    _skip_type_hint_validation = True

    def predict(self, surroundings, rows):
        assert hasattr(surroundings, "artifacts")
        return (rows["a"] - rows["b"]).tolist()


class WithoutContext(PythonModel):
    """Takes its rows alone."""

    _skip_type_hint_validation = True

    def predict(self, model_input, params=None):
        return model_input.sum(axis=1)


class Failing(PythonModel):
    """Fails."""

    _skip_type_hint_validation = True

    def predict(self, context, model_input):
        raise KeyError("something")


def _saved(folder: Path, save: Callable[..., None], **options: Any) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save(path=folder, pip_requirements=["numpy"], **options)
    document = yaml.safe_load((folder / "MLmodel").read_text())
    write_description(folder, TABLE, document["flavors"])
    return folder


MODELS: dict[str, tuple[Callable[..., None], dict[str, Any]]] = {
    "context": (mlflow.pyfunc.save_model, {"python_model": WithContext()}),
    "other-name": (mlflow.pyfunc.save_model, {"python_model": NamesItOtherwise()}),
    "rows-alone": (mlflow.pyfunc.save_model, {"python_model": WithoutContext()}),
    "statsmodels": (
        mlflow.statsmodels.save_model,
        {"statsmodels_model": statsmodels.api.OLS(TABLE["a"] * 2 + 1, TABLE).fit()},
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_same_answers_as_by_way_of_mlflow(tmp_path: Path, name: str) -> None:
    save, options = MODELS[name]
    directory = _saved(tmp_path / "m", save, **options)
    predictor = loaded(directory)
    assert predictor.flavor == "pyfunc"
    answers = quietly(predictor.predict, predictor.contract.read_rows(records_of(TABLE))).tensors()["prediction"]
    by_mlflow = quietly(mlflow.pyfunc.load_model, str(directory))
    np.testing.assert_allclose(np.asarray(answers, dtype=float), np.asarray(by_mlflow.predict(TABLE), dtype=float))


def test_type_hints_are_left_to_mlflow(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")

        class Hinted(PythonModel):
            def predict(self, model_input: list[dict[str, float]]) -> list[float]:
                assert isinstance(model_input, list)
                return [each["a"] + each["b"] for each in model_input]

        mlflow.pyfunc.save_model(tmp_path / "m", python_model=Hinted(), pip_requirements=["numpy"])
        model = mlflow.pyfunc.load_model(str(tmp_path / "m"))
    rows = [{"a": 1.0, "b": 2.0}]
    assert direct_call(model)(rows) == model.predict(rows) == [3.0]


def test_what_the_code_raises_comes_through(tmp_path: Path) -> None:
    predictor = loaded(_saved(tmp_path / "m", mlflow.pyfunc.save_model, python_model=Failing()))
    with pytest.raises(KeyError):
        predictor.predict(predictor.contract.read_rows(records_of(TABLE)))
