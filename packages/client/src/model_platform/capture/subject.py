"""What is to be published: an object with an answering method, or a function; and the MLflow flavour that keeps it."""

from __future__ import annotations

import importlib
import inspect
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from model_platform.capture.quiet import import_mlflow, quiet
from model_platform_core.errors import InvalidModelError

DEFAULT_METHOD = "predict"
PROBABILITIES = frozenset({"predict_proba", "predict_log_proba", "decision_function"})

_FLAVOURS: Mapping[str, str] = {
    "xgboost": "mlflow.xgboost",
    "lightgbm": "mlflow.lightgbm",
    "catboost": "mlflow.catboost",
    "statsmodels": "mlflow.statsmodels",
    "keras": "mlflow.keras",
    "onnx": "mlflow.onnx",
    "torch": "mlflow.pytorch",
}
_LIBRARIES: Mapping[str, str] = {
    "sklearn": "scikit-learn",
    "xgboost": "XGBoost",
    "lightgbm": "LightGBM",
    "catboost": "CatBoost",
    "statsmodels": "statsmodels",
    "keras": "Keras",
    "onnx": "ONNX",
    "torch": "PyTorch",
}
_ANSWER_BY_FLAVOUR = frozenset({"mlflow.onnx", "mlflow.pytorch"})
"""Their models have no answering method of their own: MLflow's flavour runs them, in the notebook as in the runner."""
PYFUNC = "mlflow.pyfunc"
SKLEARN = "mlflow.sklearn"

_ANSWERING = ("predict", "predict_proba", "decision_function", "transform", "score_samples", "solve", "forecast")


@dataclass(frozen=True)
class Subject:
    """A model as it will be published. `flavour` is the MLflow module whose `save_model` keeps it."""

    model: Any
    method: str
    flavour: str
    kind: str
    is_function: bool = False
    ask: Callable[[Any], Any] | None = field(default=None, repr=False)

    @property
    def of_library(self) -> bool:
        """Whether it is a library's model, which takes rows as that library reads them, and no code of the user's."""
        return bool(_library(type(self.model)))

    def answer(self, rows: Any) -> Any:
        """What the notebook's own object answers."""
        if self.ask is not None:
            return self.ask(rows)
        if self.is_function:
            return self.model(rows)
        if _is_booster(self.model) and self.method == DEFAULT_METHOD:
            rows = importlib.import_module("xgboost").DMatrix(rows, enable_categorical=True)
        return getattr(self.model, self.method)(rows)

    def classes(self) -> list[str] | list[list[str]] | None:
        """Names for the columns of probabilities; one list of them for each output where there are several."""
        found = getattr(self.model, "classes_", None) if self.method in PROBABILITIES else None
        if found is None or getattr(self.model, "decision_function_shape", "ovr") != "ovr":
            return None  # columns of `ovo` are pairs of classes
        if isinstance(found, list):
            return [_texts(one) for one in found]
        return _texts(found)


def _texts(values: Any) -> list[str]:
    return [str(one) for one in (values.tolist() if hasattr(values, "tolist") else values)]


def examine(model: Any, answers: str | None = None) -> Subject:
    """Find out how an object answers and which flavour keeps it.

    Parameters
    ----------
    answers
        The answering method; `predict` by default.

    Raises
    ------
    InvalidModelError
        If it has no such method; the message names those that it has.
    """
    method = answers or DEFAULT_METHOD
    if isinstance(model, type):
        raise InvalidModelError(
            f"{model.__name__} is a class, not a model; publish an object of it.", hint=f"model = {model.__name__}(…)"
        )
    if _is_function(model) and answers is None:
        return Subject(model, DEFAULT_METHOD, PYFUNC, f"function {model.__name__}", is_function=True)
    library = _library(type(model))
    flavour = PYFUNC if loses_categories(model) else _flavour(library, method)
    known = f"{_LIBRARIES[library]} " if library in _LIBRARIES else ""
    kind = f"{known}{type(model).__name__}"
    if flavour in _ANSWER_BY_FLAVOUR and answers is None:
        return Subject(model, method, flavour, kind, ask=_through(flavour, model))
    if is_python_model(model):
        with_context = "context" in inspect.signature(model.predict).parameters
        ask = (lambda rows: model.predict(None, rows)) if with_context else model.predict
        return Subject(model, method, PYFUNC, f"MLflow {type(model).__name__}", ask=ask)
    if not callable(getattr(model, method, None)):
        raise InvalidModelError(_has_no(model, method), hint=_other_method(model))
    _check_fitted(model)
    return Subject(model, method, flavour, kind)


def _through(flavour: str, model: Any) -> Callable[[Any], Any]:
    """How the flavour answers with this model: saved and loaded as where it will run."""
    module = import_mlflow(flavour)
    with quiet(), tempfile.TemporaryDirectory(prefix="model-platform-") as temporary:
        folder = f"{temporary}/model"
        try:
            module.save_model(model, folder, pip_requirements=[])
            answer: Callable[[Any], Any] = import_mlflow(PYFUNC).load_model(folder).predict
        except Exception as error:
            first = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
            raise InvalidModelError(f"The {type(model).__name__} cannot be run by {flavour}: {first}") from error
    return answer


def _is_booster(model: Any) -> bool:
    """Whether it is XGBoost's own model, which takes a matrix of its own for rows."""
    return type(model).__name__ == "Booster" and _library(type(model)) == "xgboost"


def loses_categories(model: Any) -> bool:
    """Whether it is a Booster that learnt from categories: MLflow's flavour does not let it have any."""
    return _is_booster(model) and "c" in (model.feature_types or ())


def is_python_model(model: Any) -> bool:
    """Whether it is a model by MLflow's own class for code of the user's."""
    pyfunc = sys.modules.get("mlflow.pyfunc")
    return pyfunc is not None and isinstance(model, pyfunc.PythonModel)


def _is_function(model: Any) -> bool:
    return callable(model) and hasattr(model, "__name__") and hasattr(model, "__code__")


def _library(kind: type) -> str:
    """The library whose flavour keeps objects of this type: its own, else that of its nearest base."""
    for base in kind.__mro__:
        top = base.__module__.partition(".")[0]
        if top in _LIBRARIES:
            return top
    return ""


def _flavour(library: str, method: str) -> str:
    if library == "sklearn":
        return SKLEARN
    # These flavours answer with `predict` alone; another method is kept as a Python model that calls it.
    return _FLAVOURS.get(library, PYFUNC) if method == DEFAULT_METHOD else PYFUNC


def _methods(model: Any) -> list[str]:
    return [name for name in _ANSWERING if callable(getattr(model, name, None))]


def _has_no(model: Any, method: str) -> str:
    kind = type(model).__name__
    found = _methods(model) or [
        name for name in dir(type(model)) if not name.startswith("_") and callable(getattr(type(model), name, None))
    ]
    if not found:
        return f"An object of type {kind} has no method {method}, and no other that could answer; give a fitted model."
    shown = ", ".join(found[:6]) + (" …" if len(found) > 6 else "")
    return f"An object of type {kind} has no method {method}. It has {shown}."


def _other_method(model: Any) -> str | None:
    found = _methods(model)
    return f"add --answers {found[0]}" if found else None


def _check_fitted(model: Any) -> None:
    """An estimator that was never fitted is told here, in words, and not by its traceback."""
    validation = sys.modules.get("sklearn.utils.validation")
    base = sys.modules.get("sklearn.base")
    if validation is None or base is None or not isinstance(model, base.BaseEstimator):
        return
    exceptions = importlib.import_module("sklearn.exceptions")
    try:
        validation.check_is_fitted(model)
    except exceptions.NotFittedError:
        raise InvalidModelError(
            f"This {type(model).__name__} has not been fitted; nothing was published.",
            hint="model.fit(X_train, y_train)",
        ) from None
    except TypeError:
        return  # not an estimator in the sense of the check


Answer = Callable[[Any], Any]
