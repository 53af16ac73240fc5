"""Steps of a pipeline on numbers: scaling, and filling in what is missing."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from model_platform_runner.compiled.known import Declined, known, require_own
from model_platform_runner.values import Array

Step = Callable[[Array], Array]

_PIPELINE = "sklearn.pipeline.Pipeline"
_SEARCHES = (
    "sklearn.model_selection._search.GridSearchCV",
    "sklearn.model_selection._search.RandomizedSearchCV",
)


def name_of(estimator: Any) -> str:
    """Return the module and name of an estimator's class."""
    kind = type(estimator)
    return f"{kind.__module__}.{kind.__qualname__}"


def flattened(estimator: Any) -> Iterator[Any]:
    """Yield the steps of a pipeline, one after another, or an estimator alone; steps that do nothing are left out."""
    if estimator is None or (isinstance(estimator, str) and estimator == "passthrough"):
        return
    if name_of(estimator) in _SEARCHES:
        require_own(estimator)
        yield from flattened(estimator.best_estimator_)
        return
    if name_of(estimator) != _PIPELINE:
        yield estimator
        return
    require_own(estimator)
    for _, step in estimator.steps:
        yield from flattened(step)


def numeric_step(step: Any) -> Step:
    """Return what a step does to a matrix of 64-bit numbers.

    Raises
    ------
    Declined
        For steps, and settings of steps, without such a form.
    """
    return known(step, _STEPS)(step)


def imputed(step: Any) -> list[Any]:
    """Return what a SimpleImputer puts in the place of a missing value, for each column."""
    missing = step.missing_values
    if not (isinstance(missing, float) and missing != missing):  # noqa: PLR0124 - only NaN is not itself
        raise Declined("Its SimpleImputer takes something else than NaN for missing.")
    values: list[Any] = step.statistics_.tolist()
    if step.add_indicator or any(value is None or value != value for value in values):  # noqa: PLR0124
        raise Declined("Its SimpleImputer adds or drops columns.")
    return values


def _imputer(step: Any) -> Step:
    values = imputed(step)
    if not all(isinstance(value, float | int) and not isinstance(value, bool) for value in values):
        raise Declined("Its SimpleImputer fills numbers with something else.")
    fill = np.array(values, dtype=np.float64)

    def impute(rows: Array) -> Array:
        missing = np.isnan(rows)
        return np.where(missing, fill, rows) if missing.any() else rows

    return impute


def _standard(step: Any) -> Step:
    return _moved(step.mean_ if step.with_mean else None, step.scale_ if step.with_std else None)


def _minimum_maximum(step: Any) -> Step:
    if step.clip:
        raise Declined("Its MinMaxScaler clips.")
    scale, least = _vector(step.scale_), _vector(step.min_)
    return lambda rows: rows * scale + least


def _maximum(step: Any) -> Step:
    if getattr(step, "clip", False):
        raise Declined("Its MaxAbsScaler clips.")
    scale = _vector(step.scale_)
    return lambda rows: rows / scale


def _robust(step: Any) -> Step:
    return _moved(step.center_ if step.with_centering else None, step.scale_ if step.with_scaling else None)


def _moved(center: Any, scale: Any) -> Step:
    """Less the center, by the scale, where there are such."""
    less = None if center is None else _vector(center)
    by = None if scale is None else _vector(scale)

    def moved(rows: Array) -> Array:
        if less is not None:
            rows = rows - less
        return rows if by is None else rows / by

    return moved


def _vector(values: Any) -> Array:
    if type(values) is not np.ndarray or values.ndim != 1 or values.dtype != np.float64:
        raise Declined("A scaler's factors are not a list of 64-bit numbers.")
    return values


_STEPS: dict[str, Callable[[Any], Step]] = {
    "sklearn.preprocessing._data.StandardScaler": _standard,
    "sklearn.preprocessing._data.MinMaxScaler": _minimum_maximum,
    "sklearn.preprocessing._data.MaxAbsScaler": _maximum,
    "sklearn.preprocessing._data.RobustScaler": _robust,
    "sklearn.impute._base.SimpleImputer": _imputer,
}
