"""Models that do not lie in a variable: a file, a folder of MLflow's, a URI of the user's own MLflow server."""

from __future__ import annotations

import dataclasses
import importlib
import os
import pickle
import re
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from model_platform.capture.folder import saved_folder
from model_platform.capture.publish import Order, check_metrics, publish
from model_platform.capture.quiet import import_mlflow
from model_platform.capture.result import TRAINED_ELSEWHERE, Published
from model_platform.capture.runs import ReadRun, active_run, read_run
from model_platform.capture.variable import variable
from model_platform.capture.warned import told
from model_platform.client import Client
from model_platform.display.surface import Surface
from model_platform_core.errors import InvalidModelError
from model_platform_core.reviewed_types import REVIEWED_TYPES

_URI = re.compile(r"(runs|models|mlflow-artifacts):/.+")


def names_elsewhere(text: str) -> bool:
    """Whether a word says where a model lies, and is no variable: a URI, or a path with a slash or a known suffix."""
    return bool(_URI.fullmatch(text)) or "/" in text or Path(text).suffix.lower() in _READERS


def name_of(text: str) -> str | None:
    """What the model is called if nobody says so: as the file, the folder, or the registered model of a URI."""
    if _URI.fullmatch(text):
        registered = re.fullmatch(r"models:/(?!m-[0-9a-f]{32}$)([^/@]+)(?:[/@].+)?", text)
        return registered[1].rpartition(".")[2] if registered else None
    path = Path(text).expanduser().resolve()
    return path.stem if path.suffix.lower() in _READERS else path.name


def publish_anything(client: Client, order: Order, surface: Surface | None = None) -> Published:
    """Publish what an order names: an object, or a path or URI of one.

    Linked is the MLflow run that a URI is of, else the active one.

    Raises
    ------
    InvalidModelError
        If nothing lies there, or it cannot be read.
    InvalidInputError
        If the order asks for what only an object can have; and what `publish` raises.
    """
    if not isinstance(order.model, str | os.PathLike):
        return publish(client, _linked(order, active_run()), variable(order), surface)
    where = os.fspath(order.model)
    if _URI.fullmatch(where):
        with tempfile.TemporaryDirectory(prefix="model-platform-") as temporary:
            folder = _downloaded(where, temporary)
            run_id = _run_id(folder)
            linked = _linked(order, read_run(run_id) if run_id else None)
            return publish(client, linked, saved_folder(folder, order, where), surface)
    path = Path(where).expanduser()
    linked = _linked(order, active_run())
    if path.is_dir():
        return publish(client, linked, saved_folder(path, order, where), surface)
    read = _read(path)
    said = "".join(f" When it was read: {warning}" for warning in read.warnings)
    linked = dataclasses.replace(linked, model=read.model)
    elsewhere = f"{TRAINED_ELSEWHERE}; read from {path.name}.{said}"
    return publish(client, linked, variable(linked, elsewhere), surface)


def _linked(order: Order, found: ReadRun | None) -> Order:
    if found is None:
        return order
    metrics = {**found.metrics, **check_metrics(order.metrics)}
    notes = [found.note] if found.note else []
    return dataclasses.replace(order, metrics=metrics, run=found.run, run_parameters=found.parameters, notes=notes)


# ---------------------------------------------------------------- folders and URIs


def _downloaded(uri: str, temporary: str) -> Path:
    mlflow = import_mlflow("mlflow.artifacts")
    try:
        folder = Path(mlflow.download_artifacts(artifact_uri=uri, dst_path=temporary))
    except Exception as error:
        first = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        address = import_mlflow().get_tracking_uri()
        raise InvalidModelError(
            f"{uri} cannot be read from {address}: {first}", hint="mlflow.set_tracking_uri(…) before"
        ) from error
    (folder / "registered_model_meta").unlink(missing_ok=True)  # written by the download, no part of the model
    return folder


def _run_id(folder: Path) -> str | None:
    try:
        described = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    found = described.get("run_id") if isinstance(described, dict) else None
    return found if isinstance(found, str) else None


# ---------------------------------------------------------------- files


@dataclass(frozen=True)
class _Read:
    model: Any
    warnings: tuple[str, ...]


def _read(path: Path) -> _Read:
    """Load a file with the library that wrote it; what it warns of is kept for the card."""
    if not path.is_file():
        raise InvalidModelError(
            f"There is no {path}; looked in {Path.cwd()}.", hint="give a variable, a file, a folder or a URI"
        )
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(sorted(_READERS))
        raise InvalidModelError(
            f"{path.name} is no file that is known here ({known}).",
            hint="load it in a cell and publish the variable, or an object with predict that reads it (--with names the"
            " file)",
        )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = reader(path)
        except InvalidModelError:
            raise
        except ImportError as error:
            raise InvalidModelError(
                f"{path.name} needs {error.name or 'a library'}, which this kernel does not have.",
                hint=f"%pip install {error.name}" if error.name else None,
            ) from error
        except Exception as error:
            first = str(error).splitlines()[0][:300] if str(error) else ""
            raise InvalidModelError(f"{path.name} cannot be read: {type(error).__name__} {first}".strip()) from error
    return _Read(model, told(caught))


def _read_pickle(path: Path) -> Any:
    with path.open("rb") as file:
        return pickle.load(file)  # noqa: S301 - the user's own file, in their own kernel; the gate looks into what is kept


def _read_joblib(path: Path) -> Any:
    return importlib.import_module("joblib").load(path)


def _read_skops(path: Path) -> Any:
    skops: Any = importlib.import_module("skops.io")
    strangers = sorted(set(skops.get_untrusted_types(file=path)) - REVIEWED_TYPES)
    if strangers:
        raise InvalidModelError(
            f"{path.name} wants types trusted that nobody reviewed: {', '.join(strangers[:5])}.",
            hint=f"load it with skops.io.load({path.name!r}, trusted=[…]) and publish the variable",
        )
    return skops.load(path, trusted=sorted(REVIEWED_TYPES))


def _read_onnx(path: Path) -> Any:
    onnx = importlib.import_module("onnx")
    model = onnx.load(path)
    onnx.checker.check_model(model)
    return model


def _read_xgboost(path: Path) -> Any:
    xgboost = importlib.import_module("xgboost")
    booster = xgboost.Booster(model_file=str(path))
    kind = booster.attr("scikit_learn") or ""
    wrapper = xgboost.XGBClassifier if "classifier" in kind else xgboost.XGBRegressor if "regressor" in kind else None
    if wrapper is None:
        return booster
    model = wrapper()
    model.load_model(path)
    return model


def _read_lightgbm(path: Path) -> Any:
    return importlib.import_module("lightgbm").Booster(model_file=str(path))


def _read_keras(path: Path) -> Any:
    return importlib.import_module("keras").saving.load_model(path)


def _read_catboost(path: Path) -> Any:
    return importlib.import_module("catboost").CatBoost().load_model(str(path))


_READERS: Mapping[str, Callable[[Path], Any]] = {
    ".joblib": _read_joblib,
    ".pkl": _read_pickle,
    ".pickle": _read_pickle,
    ".skops": _read_skops,
    ".onnx": _read_onnx,
    ".ubj": _read_xgboost,
    ".lgb": _read_lightgbm,
    ".keras": _read_keras,
    ".cbm": _read_catboost,
}
"""By suffix."""
