"""How a version is loaded stands in MLmodel, whatever its files are called."""

from __future__ import annotations

from typing import Any

import pytest

from model_platform_core.errors import InvalidModelError
from model_platform_core.flavours import Loaded, loaded, modules
from model_platform_core.models import ArtifactFormat

BOOSTER, CLASSIFIER = "lightgbm.basic.Booster", "lightgbm.sklearn.LGBMClassifier"
OBJECT = "mlflow.pyfunc.model"


def sklearn(file: str, how: str | None) -> dict[str, Any]:
    return {"sklearn": {"pickled_model": file} | ({"serialization_format": how} if how else {})}


def function(loader: str, **more: Any) -> dict[str, Any]:
    return {"python_function": {"loader_module": loader, **more}}


def look(flavours: Any, *paths: str) -> Loaded:
    return loaded({"flavors": flavours}, ["MLmodel", *paths])


@pytest.mark.parametrize(
    ("flavours", "paths", "found"),
    [
        (sklearn("model.skops", "skops"), ["model.skops"], "skops"),
        (sklearn("model.skops", "pickle"), ["model.skops"], "pickle"),
        (sklearn("model.onnx", None), ["model.onnx"], "pickle"),
        (sklearn("model.skops", "Skops"), ["model.skops"], "pickle"),
        (sklearn("m", "skops") | function("mlflow.sklearn", model_path="m"), ["m"], "skops"),
        (sklearn("m", "skops") | function(OBJECT, python_model="m"), ["m"], "pickle"),
        (function("mlflow.sklearn", model_path="m"), ["m"], "pickle"),
        ({"xgboost": {"data": "m.ubj", "model_class": "xgboost.sklearn.XGBClassifier"}}, ["m.ubj"], "xgboost"),
        ({"xgboost": {"data": "m.ubj", "model_class": "code.Mine"}}, ["m.ubj"], "unknown"),
        ({"lightgbm": {"data": "m.lgb"}}, ["m.lgb"], "lightgbm"),
        ({"lightgbm": {"data": "m.lgb", "model_class": BOOSTER}}, ["m.lgb"], "lightgbm"),
        ({"lightgbm": {"data": "m.lgb", "model_class": CLASSIFIER}}, ["m.lgb"], "pickle"),
        ({"lightgbm": {"data": "m", "model_class": CLASSIFIER, "serialization_format": "skops"}}, ["m"], "skops"),
        ({"onnx": {"data": "m.onnx"}} | function("mlflow.onnx", data="m.onnx"), ["m.onnx"], "onnx"),
        ({"onnx": {"data": "m.onnx"}} | function("mlflow.statsmodels", data="m.onnx"), ["m.onnx"], "pickle"),
        ({"onnx": {"data": "sub/m.onnx"}}, ["sub/m.onnx", "sub/MLmodel"], "unknown"),
        ({"keras": {"data": "data"}} | function("mlflow.keras"), ["data/model.keras"], "keras"),
        ({"keras": {"data": "data", "save_exported_model": True}}, ["data/model.keras"], "unknown"),
        ({"statsmodels": {"data": "m.onnx"}}, ["m.onnx"], "pickle"),
        ({"transformers": {}}, ["x.onnx"], "unknown"),
        (function("reader", code="code", data="w.onnx"), ["code/reader.py", "w.onnx"], "python-source"),
        (function("reader", data="w.onnx"), ["code/reader.py", "w.onnx"], "unknown"),
        (function(OBJECT, model_code_path="m.py"), ["m.py"], "python-source"),
        (function(OBJECT), ["m.py"], "pickle"),
        ({}, ["model.skops"], "unknown"),
        (None, ["x.onnx"], "unknown"),
    ],
)
def test_a_format_is_what_is_loaded(flavours: Any, paths: list[str], found: str) -> None:
    assert look(flavours, *paths).format == found


def test_what_is_unpickled_and_what_must_be_an_archive_is_told() -> None:
    assert look(sklearn("model.onnx", "cloudpickle"), "model.onnx").unpickled == {"model.onnx"}
    assert look(function(OBJECT, python_model="a/b.ubj"), "a/b.ubj").unpickled == {"a/b.ubj"}
    assert look(sklearn("model.skops", "skops"), "model.skops").archives == {"model.skops"}
    assert look({"keras": {}}, "data/model.keras").archives == {"data/model.keras"}


@pytest.mark.parametrize(
    "flavours",
    [
        sklearn("../other/model.pkl", "pickle"),
        sklearn("/etc/passwd", "skops"),
        sklearn("not-there.skops", "skops"),
        {"sklearn": {"pickled_model": ["model.skops"], "serialization_format": "skops"}},
        function(OBJECT, python_model="../model.pkl"),
        function("reader", code="../.."),
        {"keras": {"data": "data"}},
        {"sklearn": ["model.skops"]},
        {3: {}},
        "sklearn",
    ],
)
def test_what_leads_elsewhere_or_cannot_be_read_is_refused(flavours: Any) -> None:
    with pytest.raises(InvalidModelError, match="log the model again"):
        look(flavours, "model.skops")


def test_modules_are_those_that_python_would_take_first() -> None:
    found = ["prep.py", "shop/__init__.py", "shop/rates.py", "psutil/extra.py", "shop/data.csv"]
    assert modules(found) == {"prep", "shop", "shop.rates"}


def test_every_format_that_is_found_is_one_of_those_that_are_known() -> None:
    assert look(None).format is ArtifactFormat.UNKNOWN
