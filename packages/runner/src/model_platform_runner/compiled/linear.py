"""Linear models: one product of matrices, in the very operations of scikit-learn."""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from model_platform_runner.compiled.known import Declined, known
from model_platform_runner.values import Array

Answer = Callable[[Array], Array | None]  # a matrix of rows; None: the model itself must be asked

_CLASSIFIERS = {
    "sklearn.linear_model._logistic.LogisticRegression": "logistic",
    "sklearn.linear_model._logistic.LogisticRegressionCV": "logistic",
    "sklearn.linear_model._stochastic_gradient.SGDClassifier": "sgd",
    "sklearn.linear_model._perceptron.Perceptron": "plain",
    "sklearn.linear_model._passive_aggressive.PassiveAggressiveClassifier": "plain",
    "sklearn.linear_model._ridge.RidgeClassifier": "ridge",
    "sklearn.linear_model._ridge.RidgeClassifierCV": "ridge",
    "sklearn.svm._classes.LinearSVC": "plain",
}
_REGRESSORS = {
    f"sklearn.{module}": "regressor"
    for module in (
        "linear_model._base.LinearRegression",
        "linear_model._ridge.Ridge",
        "linear_model._ridge.RidgeCV",
        "linear_model._coordinate_descent.Lasso",
        "linear_model._coordinate_descent.LassoCV",
        "linear_model._coordinate_descent.ElasticNet",
        "linear_model._coordinate_descent.ElasticNetCV",
        "linear_model._least_angle.Lars",
        "linear_model._least_angle.LassoLars",
        "linear_model._bayes.BayesianRidge",
        "linear_model._bayes.ARDRegression",
        "linear_model._huber.HuberRegressor",
        "linear_model._stochastic_gradient.SGDRegressor",
        "svm._classes.LinearSVR",
    )
}
MODELS = _CLASSIFIERS | _REGRESSORS


def compile_linear(model: Any, method: str, *, transformed: bool) -> Answer:
    """Return what answers as a method of a linear model does.

    Parameters
    ----------
    transformed
        The rows went through compiled steps, so they may differ in the last bit from what the model would get. A row
        that lies on a border between classes, as far as such differences go, is then left to the model.

    Raises
    ------
    Declined
        For models, methods and coefficients without such a form.
    """
    kind = known(model, MODELS)
    weights, offset = _coefficients(model)
    if kind == "regressor":
        if method != "predict":
            raise Declined(f"{method} of {type(model).__name__} has no compiled form.")
        return _scores(weights, offset)
    classes = _classes(model, kind, weights)
    scores = _scores(weights, offset, flat=True)
    if method == "decision_function":
        return scores
    if method == "predict_proba":
        return _probabilities(model, kind, scores)
    if method != "predict":
        raise Declined(f"{method} of {type(model).__name__} has no compiled form.")
    return _labels(scores, classes, _slack(weights, offset) if transformed else None)


def _coefficients(model: Any) -> tuple[Array, Any]:
    weights, offset = model.coef_, model.intercept_
    if type(weights) is not np.ndarray or weights.ndim > 2 or weights.dtype.kind != "f":
        raise Declined("The coefficients are not a dense matrix of numbers.")
    if not isinstance(offset, np.ndarray | float | int) or not np.isfinite(offset).all() or weights.size == 0:
        raise Declined("The intercept is not a number.")
    if not np.isfinite(weights).all() or weights.shape[-1] != model.n_features_in_:
        raise Declined("The coefficients are not one finite number for each column.")
    return weights.T if weights.ndim == 2 else weights, offset


def _classes(model: Any, kind: str, weights: Array) -> Array:
    if kind == "ridge" and str(model._label_binarizer.y_type_).startswith("multilabel"):  # noqa: SLF001
        raise Declined("It answers with several labels.")
    classes = model.classes_
    lines = weights.shape[1] if weights.ndim == 2 else 1
    if type(classes) is not np.ndarray or classes.ndim != 1 or len(classes) != max(lines, 2):
        raise Declined("The classes do not fit the coefficients.")
    return classes


def _scores(weights: Array, offset: Any, *, flat: bool = False) -> Answer:
    width = weights.shape[0]
    flat = flat and weights.ndim == 2 and weights.shape[1] == 1

    def scores(rows: Array) -> Array | None:
        if rows.ndim != 2 or rows.shape[1] != width or rows.dtype.kind not in "fiu" or rows.dtype.itemsize < 4:
            return None
        if rows.dtype.kind != "f":
            rows = rows.astype(np.float64)
        if not np.abs(rows).max() < np.inf:
            return None  # not a number, or infinite: the model refuses it, in its own words
        found: Array = rows @ weights + offset
        return found.reshape(-1) if flat else found

    return scores


def _slack(weights: Array, offset: Any) -> tuple[float, float]:
    """How far scores may be off by rounding alone: per unit of the largest value of a row, and anyway."""
    steps = 8.0 * (weights.shape[0] + 4) * float(np.finfo(weights.dtype).eps)
    return steps * float(np.abs(weights).sum(axis=0).max()), steps * float(np.abs(offset).max())


def _labels(scores: Answer, classes: Array, slack: tuple[float, float] | None) -> Answer:
    def labels(rows: Array) -> Array | None:
        found = scores(rows)
        if found is None:
            return None
        bound = 0.0 if slack is None else slack[0] * float(np.abs(rows).max()) + slack[1]
        if found.ndim == 1:
            if slack is not None and np.abs(found).min() <= bound:
                return None
            binary: Array = classes.take((found > 0).astype(np.intp))
            return binary
        if slack is not None and np.count_nonzero(found >= found.max(axis=1, keepdims=True) - 2 * bound) > len(found):
            return None
        chosen: Array = classes.take(found.argmax(axis=1))
        return chosen

    return labels


def _probabilities(model: Any, kind: str, scores: Answer) -> Answer:
    several = len(model.classes_) > 2
    if kind == "logistic":
        # Other than scikit-learn's own of today; versions before 1.8 have them.
        one_by_one = getattr(model, "multi_class", None) == "ovr" or model.solver == "liblinear"
        both_ways = getattr(model, "multi_class", None) == "multinomial"
        if (several and one_by_one) or (not several and both_ways):
            raise Declined("Its probabilities are made in a way of older versions.")
        return _softmax(scores) if several else _logistic(scores)
    if kind == "sgd" and model.loss == "log_loss" and not several:
        return _logistic(scores)
    raise Declined(f"predict_proba of {type(model).__name__} has no compiled form.")


def _logistic(scores: Answer) -> Answer:
    expit = importlib.import_module("scipy.special").expit  # scikit-learn brings it

    def probabilities(rows: Array) -> Array | None:
        found = scores(rows)
        if found is None:
            return None
        second = expit(found)
        pair: Array = np.stack([1 - second, second], axis=1)
        return pair

    return probabilities


def _softmax(scores: Answer) -> Answer:
    def probabilities(rows: Array) -> Array | None:
        found = scores(rows)
        if found is None:
            return None
        found -= found.max(axis=1).reshape(-1, 1)
        np.exp(found, out=found)
        found /= found.sum(axis=1).reshape(-1, 1)
        return found

    return probabilities
