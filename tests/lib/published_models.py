"""Versions as publish lays them down, made without MLflow, and the predictors that a runner makes of them."""

from __future__ import annotations

import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from model_platform_runner.answers import answers_from, encode
from model_platform_runner.batch import Batch
from model_platform_runner.description import read_description
from model_platform_runner.loading import load
from model_platform_runner.predictor import Predictor

ROW_LIMIT = 10_000
_TYPES = {"float64": "double", "float32": "float", "int64": "long", "int32": "integer", "bool": "boolean"}


def publish(
    folder: Path,
    model: Any,
    data: Any,
    *,
    method: str = "predict",
    described: bool = True,
    sample: bool = True,
    answers: list[Any] | None = None,
) -> Path:
    """Write a version: MLmodel, the pickled model, and its parity sample.

    `described` writes `rows` as well, as our own client does; `answers` stand in for the model's in the sample.
    """
    folder.mkdir(parents=True)
    (folder / "model.pkl").write_bytes(pickle.dumps(model))
    classes = [str(name) for name in model.classes_] if method != "predict" else None
    flavors = {"sklearn": {"pickled_model": "model.pkl"}}
    write_description(folder, data, flavors, method=method, described=described, classes=classes)
    if sample:
        write_sample(folder, data[:20], quietly(getattr(model, method), data[:20]), answers, classes)
    return folder


def write_description(
    folder: Path,
    data: Any,
    flavors: dict[str, Any],
    *,
    method: str = "predict",
    described: bool = True,
    classes: list[str] | None = None,
) -> None:
    """Write MLmodel for rows like these."""
    published: dict[str, Any] = {"schema": 1, "answers": method, "rows_independent": True, "classes": classes}
    if isinstance(data, pd.DataFrame):
        inputs = [_column(name, data[name]) for name in data]
        if described:
            published["rows"] = {"form": "frame", "columns": {name: _described(data[name]) for name in data}}
    else:
        inputs = [{"type": "tensor", "tensor-spec": {"dtype": str(data.dtype), "shape": [-1, *data.shape[1:]]}}]
        if described:
            published["rows"] = {"form": "array", "columns": {"": {"missing": "nan"}}}
    document = {
        "flavors": flavors,
        "signature": {"inputs": json.dumps(inputs)},
        "metadata": {"model_platform": published},
    }
    (folder / "MLmodel").write_text(yaml.safe_dump(document))


def write_sample(
    folder: Path, rows: Any, result: Any, answers: list[Any] | None = None, classes: list[str] | None = None
) -> None:
    """Write the parity sample: rows, and what the model answered to them."""
    records = answers_from(np.asarray(result), classes, rows=len(rows)).records()
    written = json.loads(encode(records)) if answers is None else answers
    dtypes = dict.fromkeys(["prediction", *(classes or ())], str(np.asarray(result).dtype))
    (folder / "model_platform").mkdir(exist_ok=True)
    sample = {"records": records_of(rows), "answers": written, "dtypes": dtypes, "deterministic": True}
    (folder / "model_platform" / "parity.json").write_text(json.dumps(sample))


def loaded(folder: Path) -> Predictor:
    """The predictor of a version, as a runner loads it."""
    return quietly(load, read_description(folder), ROW_LIMIT)


def records_of(rows: Any) -> list[Any]:
    """Rows as an application would send them."""
    if not isinstance(rows, pd.DataFrame):
        return json.loads(json.dumps(np.asarray(rows).tolist()).replace("NaN", "null"))
    return json.loads(json.dumps(rows.astype(object).where(rows.notna(), None).to_dict(orient="records")))


def quietly(call: Any, *arguments: Any) -> Any:
    """Call it with its warnings thrown away, as a runner does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call(*arguments)


def agree(predictor: Predictor, rows: list[Any], *, exact: bool = False) -> bool:
    """Whether the quick way answered these rows; it must then answer as the model does, and never where that refuses."""
    assert predictor.fast is not None
    found = quietly(predictor.fast, _read(predictor, rows))
    try:
        own = quietly(predictor.call, quietly(predictor.prepare, _read(predictor, rows)), None)
    except Exception:  # noqa: BLE001 - whatever it says, it is no answer
        assert found is None
        return False
    if found is None:
        return False
    assert (found.dtype, found.shape) == (own.dtype, own.shape)
    if exact or own.dtype.kind != "f":
        np.testing.assert_array_equal(found, own)
    else:
        relative, absolute = (1e-9, 1e-12) if own.dtype == np.float64 else (1e-4, 1e-6)
        np.testing.assert_allclose(found, own, rtol=relative, atol=absolute)
    return True


def _read(predictor: Predictor, rows: list[Any]) -> Batch:
    return predictor.contract.read_rows(rows)


def _column(name: str, values: Any) -> dict[str, Any]:
    kind = str(values.dtype)
    if kind == "category":
        kind = str(values.cat.categories.dtype)
    return {"name": name, "type": _TYPES.get(kind, "string"), "required": not bool(values.isna().any())}


def _described(values: Any) -> dict[str, Any]:
    if str(values.dtype) == "category":
        levels = values.cat.categories
        return {"dtype": "category", "levels": levels.tolist(), "level_dtype": str(levels.dtype), "ordered": False}
    if values.dtype == object:
        return {"dtype": "object", "missing": "nan"}
    return {"dtype": str(values.dtype)}
