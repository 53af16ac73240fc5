"""Gradient boosting without MLflow: the library's own file, asked by the library's own quick call.

Where a version's rows are a table of numbers and its sample proves it, XGBoost and LightGBM take them as one array.
Everything else (categories of pandas, rows of another form, versions of other clients) goes by way of MLflow.
"""

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from model_platform_runner.batch import Batch
from model_platform_runner.compiled.known import Declined, require_own
from model_platform_runner.contracts import input_contract
from model_platform_runner.description import Description, Rows
from model_platform_runner.inputs import InputContract, NamedColumns
from model_platform_runner.predictor import Predictor, matrix, whole
from model_platform_runner.proof import objection, read_sample
from model_platform_runner.tensors import Tensors
from model_platform_runner.values import Array

FLAVORS = ("xgboost", "lightgbm")

_CLASSES = re.compile(
    r"xgboost\.core\.Booster|xgboost\.sklearn\.XGB\w+|lightgbm\.basic\.Booster|lightgbm\.sklearn\.LGBM\w+"
)
_OF_PREDICTING = re.compile("pred|raw_score|leaf_index|contrib")  # LightGBM's parameters that training does not use
_LARGEST = float(np.finfo(np.float32).max)

Rowwise = Callable[[Array], Any]  # answers to rows [rows, columns]
ReadModel = Callable[[Path, dict[str, Any]], Any]  # the object in a pickled file, as MLmodel says


@dataclass(frozen=True)
class _Booster:
    """``own`` asks the library as anybody would, ``quick`` in the quickest way."""

    own: Rowwise
    quick: Rowwise


def load_booster(description: Description, row_limit: int, read_model: ReadModel) -> Predictor:
    """Load a model of XGBoost or LightGBM.

    Raises
    ------
    Declined
        MLflow is to load it: it is another flavour, its rows are no plain numbers, or the sample does not prove it.
    """
    flavor = next((name for name in FLAVORS if name in description.flavors), None)
    generic = description.flavors.get("python_function", {})
    if flavor is None or generic.get("loader_module") != f"mlflow.{flavor}" or generic.get("code"):
        raise Declined("Its flavour is loaded by MLflow.")
    sample = read_sample(description.directory)
    published = description.published
    if sample is None or published.rows is None or description.params:
        raise Declined("The version has no sample, or parameters: MLflow loads it.")
    contract = input_contract(description.inputs, row_limit, published.rows)
    names = _names(contract, published.rows)
    try:
        booster = _booster(description, description.flavors[flavor], names, read_model)
    except (ImportError, Declined):
        raise
    except Exception as error:  # MLflow has ways for files of other versions, and words for those of none
        raise Declined(f"The library did not read it: {type(error).__name__}.") from error
    predictor = Predictor(
        flavor=flavor,
        method="predict",
        contract=contract,
        path=flavor,
        prepare=whole if isinstance(contract, Tensors) else matrix,
        call=lambda rows, _params: booster.own(rows),
        on_loop=True,
    )

    def fast(batch: Batch) -> Array | None:
        rows = predictor.prepare(batch)
        if rows.ndim != 2 or (np.abs(rows) > _LARGEST).any():
            return None  # what a 32-bit number cannot hold, the ordinary call refuses
        return np.asarray(booster.quick(rows))

    if problem := objection(predictor, fast, sample, exact=False):
        raise Declined(problem)
    return replace(predictor, fast=fast)


def _names(contract: InputContract, rows: Rows) -> list[str] | None:
    """The names of the columns; None where rows have none."""
    if isinstance(contract, Tensors) and len(contract.tensors) == 1 and not contract.tensors[0].name:
        return None
    simple = rows.form == "frame" and not rows.index and rows.labels is None
    if isinstance(contract, NamedColumns) and simple:
        if strange := [each.name for each in contract.fields if each.column is None or not each.column.is_number]:
            raise Declined(f"The column {strange[0]} is not one of NumPy's numbers.")
        return [each.name for each in contract.fields]
    raise Declined("Its rows are not a table of numbers.")


def _booster(
    description: Description, flavor: dict[str, Any], names: list[str] | None, read_model: ReadModel
) -> _Booster:
    default = "xgboost.core.Booster" if "xgboost" in description.flavors else "lightgbm.basic.Booster"
    given = str(flavor.get("model_class", default))
    if not _CLASSES.fullmatch(given):
        raise Declined(f"{given.rpartition('.')[2]} is loaded by MLflow.")
    file = description.directory / flavor["data"]
    module, _, kind = given.rpartition(".")
    library: Any = importlib.import_module(module)
    if given.startswith("xgboost."):
        model = getattr(library, kind)()
        model.load_model(str(file))
        return _xgboost(model, names)
    if kind == "Booster":
        return _lightgbm(library.Booster(model_file=str(file)), names)
    model = read_model(file, flavor)
    if type(model) is not getattr(library, kind):
        raise Declined(f"It is a {type(model).__qualname__}, not the {kind} that MLmodel names.")
    return _lightgbm_estimator(model, names)


def _xgboost(model: Any, names: list[str] | None) -> _Booster:
    booster = model if hasattr(model, "inplace_predict") else model.get_booster()
    booster.set_param({"nthread": 1})
    if "c" in (booster.feature_types or ()):
        raise Declined("It has columns of categories.")
    if booster.feature_names is not None and names is not None and booster.feature_names != names:
        raise Declined("It learnt its columns in another order than that of the signature.")
    if booster is not model:
        model.set_params(n_jobs=1)
        return _Booster(model.predict, lambda rows: model.predict(rows, validate_features=False))
    matrix_of: Any = importlib.import_module("xgboost").DMatrix
    learnt = booster.feature_names
    return _Booster(
        lambda rows: booster.predict(matrix_of(rows, feature_names=learnt, nthread=1)),
        lambda rows: booster.inplace_predict(rows, validate_features=False),
    )


def _lightgbm(booster: Any, names: list[str] | None) -> _Booster:
    if booster.pandas_categorical:
        raise Declined("It has columns of categories.")
    if names is not None and len(names) != booster.num_feature():
        raise Declined("It learnt other columns than those of the signature.")

    def predict(rows: Array) -> Any:
        return booster.predict(_floats(rows), num_threads=1)

    return _Booster(predict, predict)


def _lightgbm_estimator(model: Any, names: list[str] | None) -> _Booster:
    require_own(model)
    if callable(model.objective):
        raise Declined("Its objective is a function of its own.")
    learnt = [str(name) for name in model.booster_.feature_name()]
    if names is not None and learnt not in (names, [name.replace(" ", "_") for name in names]):
        raise Declined("It learnt its columns in another order than that of the signature.")
    if asked := sorted(filter(_OF_PREDICTING.search, model.get_params())):
        raise Declined(f"Its parameter {asked[0]} changes how it answers.")
    scores = _lightgbm(model.booster_, names).quick
    model.set_params(n_jobs=1)

    def own(rows: Array) -> Any:
        return model.predict(_floats(rows))

    if type(model).__name__ != "LGBMClassifier":
        return _Booster(own, scores)
    classes = model.classes_

    def labels(rows: Array) -> Any:
        found = scores(rows)
        at = found.argmax(axis=1) if found.ndim == 2 else (found > 1.0 - found).astype(np.intp)
        return classes.take(at)

    return _Booster(own, labels)


def _floats(rows: Array) -> Array:
    """Whole numbers as 64-bit floats, as for a table: LightGBM makes 32-bit ones of an array."""
    return rows if rows.dtype.kind == "f" else rows.astype(np.float64)
