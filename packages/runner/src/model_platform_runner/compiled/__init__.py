"""Compiled predictors: what a model of scikit-learn computes, without what surrounds it.

A call of scikit-learn is nearly all checks and conversions; its arithmetic takes microseconds. For linear models, trees
and forests, alone or behind the usual steps of a pipeline, the arithmetic alone is put together here. Whatever it is not
certain of (a missing value, an unknown category) it leaves to the model itself. And it serves only after it has proven
itself on the version's own rows (``proof``).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from model_platform_runner.batch import Batch
from model_platform_runner.compiled.known import Declined, require_defaults
from model_platform_runner.compiled.linear import MODELS as LINEAR
from model_platform_runner.compiled.linear import compile_linear
from model_platform_runner.compiled.mixed import OTHER, TRANSFORMER, Column, Matrix, compile_transformer
from model_platform_runner.compiled.steps import flattened, name_of, numeric_step
from model_platform_runner.compiled.trees import MODELS as TREES
from model_platform_runner.compiled.trees import compile_trees
from model_platform_runner.values import Array

Fast = Callable[[Batch], Array | None]  # the model's answers to a batch; None: ask the model itself

__all__ = ["OTHER", "Column", "Compiled", "Declined", "Fast", "Matrix", "Table", "compile_model"]


@dataclass(frozen=True)
class Table:
    """What the model gets: ``matrix`` gives a batch as one matrix of numbers, if it is that; ``columns`` by name."""

    matrix: Matrix | None
    columns: Mapping[str, Column]


@dataclass(frozen=True)
class Compiled:
    """A way to answer without the model. ``exact``: its floats are those of the model to the last bit."""

    path: str
    fast: Fast
    exact: bool = False


def compile_model(model: Any, method: str, table: Table) -> Compiled:
    """Return what answers as a method of the model does.

    Raises
    ------
    Declined
        The model has no such form.
    """
    require_defaults()
    *before, last = list(flattened(model)) or [None]
    if name_of(last) not in LINEAR | TREES:
        raise Declined(f"{type(last).__name__} has no compiled form.")
    matrix = _matrix(before, last, table)
    if name_of(last) in TREES:
        return Compiled("trees", _composed(matrix, compile_trees(last, method)), exact=True)
    return Compiled("linear", _composed(matrix, compile_linear(last, method, transformed=bool(before))))


def _matrix(before: list[Any], last: Any, table: Table) -> Matrix:
    """What the last step gets."""
    if before and name_of(before[0]) == TRANSFORMER:
        first, before = compile_transformer(before[0], table.columns), before[1:]
    elif table.matrix is None:
        raise Declined("Its rows are not numbers alone, in the order in which it learnt them.")
    elif not before:
        return table.matrix
    else:
        first = _doubles(table.matrix, int((before or [last])[0].n_features_in_))
    steps = [numeric_step(step) for step in before]

    def matrix(batch: Batch) -> Array | None:
        rows = first(batch)
        if rows is None:
            return None
        for step in steps:
            rows = step(rows)
        return rows

    return matrix


def _doubles(matrix: Matrix, width: int) -> Matrix:
    """The matrix as 64-bit numbers, where it holds these or whole numbers; None for others."""

    def doubles(batch: Batch) -> Array | None:
        rows = matrix(batch)
        if rows is None or rows.ndim != 2 or rows.shape[1] != width:
            return None
        if rows.dtype.kind in "iu":
            return rows.astype(np.float64)
        return rows if rows.dtype == np.float64 else None

    return doubles


def _composed(matrix: Matrix, answer: Callable[[Array], Array | None]) -> Fast:
    def fast(batch: Batch) -> Array | None:
        rows = matrix(batch)
        return None if rows is None else answer(rows)

    return fast
