"""Rows of numbers and categories: a ColumnTransformer as a few gathers and products.

Each group of columns becomes some columns of one matrix. Numbers go through their steps. A category is looked up in a
table that has a line for each value that the encoder knows, and one for all others; a value that the encoder refuses
is left to the model.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model_platform_runner.batch import Batch
from model_platform_runner.compiled.known import Declined, known, require_own
from model_platform_runner.compiled.steps import Step, flattened, imputed, name_of, numeric_step
from model_platform_runner.values import Array

TRANSFORMER = "sklearn.compose._column_transformer.ColumnTransformer"

Matrix = Callable[[Batch], Array | None]

OTHER = object()  # a missing value that the model alone understands, like pandas.NA; and where none may be missing

_IMPUTER = "sklearn.impute._base.SimpleImputer"
_NOTHING = "sklearn.preprocessing._function_transformer.FunctionTransformer"
_UNSEEN = -1
_NAN = object()  # stands for every NaN, which is not equal to itself


@dataclass(frozen=True)
class Column:
    """A column of the table that the model gets.

    ``null`` is what the model finds for a missing value: NaN, None, or ``OTHER``. ``levels`` are the values of a pandas
    category, by the number that a batch holds for each; None for other columns.
    """

    name: str
    is_number: bool
    null: Any
    levels: Sequence[Any] | None = None


def compile_transformer(transformer: Any, columns: Mapping[str, Column]) -> Matrix:
    """Return what a ColumnTransformer makes of a batch: a matrix of 64-bit numbers, None where it must be asked itself.

    Raises
    ------
    Declined
        For transformers, and kinds of columns, without such a form.
    """
    known(transformer, {TRANSFORMER: True})
    if transformer.transformer_weights is not None:
        raise Declined("Its ColumnTransformer has weights.")
    names = getattr(transformer, "feature_names_in_", None)
    if names is None:
        raise Declined("Its ColumnTransformer takes columns by position.")
    groups = []
    for label, part, chosen in transformer.transformers_:
        if isinstance(part, str) and part == "drop":
            continue
        if np.isscalar(chosen):
            raise Declined("Its ColumnTransformer takes a column as a list.")
        positions = transformer._transformer_to_input_indices[label]  # noqa: SLF001 - nothing else resolves selections
        taken = [str(names[position]) for position in positions]
        if missing := [name for name in taken if name not in columns]:
            raise Declined(f"The signature lacks the column {missing[0]}.")
        if taken:
            groups.append(_group(part, [columns[name] for name in taken]))
    if not groups:
        raise Declined("Its ColumnTransformer passes no columns on.")
    return groups[0] if len(groups) == 1 else _side_by_side(groups)


def _side_by_side(groups: Sequence[Matrix]) -> Matrix:
    def matrix(batch: Batch) -> Array | None:
        parts = []
        for group in groups:
            part = group(batch)
            if part is None:
                return None
            parts.append(part)
        return np.concatenate(parts, axis=1)

    return matrix


def _group(part: Any, columns: Sequence[Column]) -> Matrix:
    steps = [step for step in flattened(part) if not _does_nothing(step)]
    encoder = next((position for position, step in enumerate(steps) if name_of(step) in _ENCODERS), None)
    if encoder is None:
        return _numbers(columns, [numeric_step(step) for step in steps])
    before, after = steps[:encoder], [numeric_step(step) for step in steps[encoder + 1 :]]
    return _categories(steps[encoder], before, columns, after)


def _does_nothing(step: Any) -> bool:
    if name_of(step) != _NOTHING or step.func is not None or step.validate:
        return False
    require_own(step)
    return True


def _numbers(columns: Sequence[Column], steps: Sequence[Step]) -> Matrix:
    if strange := [each.name for each in columns if not each.is_number]:
        raise Declined(f"The column {strange[0]} is used as a number, and is none of NumPy's.")
    names = [each.name for each in columns]

    def matrix(batch: Batch) -> Array | None:
        rows = stacked(batch, names)
        return None if rows is None else _through(steps, rows)

    return matrix


def stacked(batch: Batch, names: Sequence[str]) -> Array | None:
    """Return columns side by side as 64-bit numbers, laid out as pandas does it; None for other kinds of numbers."""
    rows = np.array([batch.columns[name] for name in names]).T
    if rows.dtype.kind in "iu":
        return rows.astype(np.float64)
    return rows if rows.dtype == np.float64 else None


def _through(steps: Sequence[Step], rows: Array) -> Array:
    for step in steps:
        rows = step(rows)
    return rows


def _categories(encoder: Any, before: Sequence[Any], columns: Sequence[Column], after: Sequence[Step]) -> Matrix:
    lines, refuses = known(encoder, _ENCODERS)(encoder)
    fills = [_fills(step) for step in before]
    if len(encoder.categories_) != len(columns) or any(len(fill) != len(columns) for fill in fills):
        raise Declined("The steps of a group have other columns than the group.")
    lookups = [
        _Lookup(column, encoder.categories_[position].tolist(), [fill[position] for fill in fills], lines[position])
        for position, column in enumerate(columns)
    ]

    def matrix(batch: Batch) -> Array | None:
        parts = []
        for lookup in lookups:
            found = lookup.codes(batch)
            if found is None or (refuses and lookup.unseen in found):
                return None
            parts.append(lookup.lines.take(found, axis=0))
        return _through(after, parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1))

    return matrix


def _fills(step: Any) -> list[Any]:
    known(step, {_IMPUTER: True})
    return imputed(step)


class _Lookup:
    """From the values of one column to lines of its table; the last line is that of values that nobody has seen."""

    def __init__(self, column: Column, categories: list[Any], fills: list[Any], lines: Array) -> None:
        keys = [_key(category) for category in categories]
        numbers = {key: code for code, key in enumerate(keys)}
        if len(numbers) != len(categories) or len(lines) != len(categories) + 1:
            raise Declined(f"The encoder's categories of {column.name} are not clear.")
        self.lines = lines
        self.unseen = len(categories)
        self._name = column.name
        self._null = self._code_of_null(column, fills, numbers)
        given = column.levels
        self._known: dict[Any, int] = (
            {key: code for key, code in numbers.items() if key is not _NAN and key is not None}
            if given is None
            else {position: numbers.get(_key(level), self.unseen) for position, level in enumerate(given)}
        )
        if self._null is not None:
            nulls = (None, np.nan) if given is None else (-1,)
            self._known |= dict.fromkeys(nulls, self._null)

    def codes(self, batch: Batch) -> list[int] | None:
        """Return the line for each row; None where a missing value is one that only the model understands."""
        find, values = self._known.get, batch.columns[self._name].tolist()
        found = [find(value, _UNSEEN) for value in values]
        if _UNSEEN in found:
            for row, value in enumerate(values):
                if found[row] == _UNSEEN:
                    code = self._null if _is_null(value) else self.unseen
                    if code is None:
                        return None
                    found[row] = code
        return found

    def _code_of_null(self, column: Column, fills: list[Any], numbers: dict[Any, int]) -> int | None:
        if column.null is OTHER:
            return None
        key = _key(column.null)
        for fill in fills:
            key = _key(fill) if key is _NAN else key
        return numbers.get(key, self.unseen)


def _is_null(value: Any) -> bool:
    return value is None or value != value  # noqa: PLR0124 - NaN


def _key(value: Any) -> Any:
    return _NAN if value is not None and value != value else value  # noqa: PLR0124


def _one_hot(encoder: Any) -> tuple[list[Array], bool]:
    if getattr(encoder, "min_frequency", None) is not None or getattr(encoder, "max_categories", None) is not None:
        raise Declined("Its OneHotEncoder joins what is rare.")
    if encoder.dtype != np.float64:
        raise Declined("Its OneHotEncoder makes other than 64-bit numbers.")
    dropped = encoder.drop_idx_ if encoder.drop_idx_ is not None else [None] * len(encoder.categories_)
    return [
        _identity(len(each), drop) for each, drop in zip(encoder.categories_, dropped, strict=True)
    ], encoder.handle_unknown == "error"


def _identity(size: int, drop: int | None) -> Array:
    lines = np.vstack([np.eye(size), np.zeros((1, size))])
    return lines if drop is None else np.delete(lines, int(drop), axis=1)


def _ordinal(encoder: Any) -> tuple[list[Array], bool]:
    if getattr(encoder, "min_frequency", None) is not None or getattr(encoder, "max_categories", None) is not None:
        raise Declined("Its OrdinalEncoder joins what is rare.")
    if encoder.dtype != np.float64:
        raise Declined("Its OrdinalEncoder makes other than 64-bit numbers.")
    refuses = encoder.handle_unknown == "error"
    unseen = np.nan if refuses else float(encoder.unknown_value)
    lines = []
    for categories in encoder.categories_:
        codes = np.array([*range(len(categories)), unseen], dtype=np.float64).reshape(-1, 1)
        for code, category in enumerate(categories.tolist()):
            if _is_null(category):
                codes[code] = getattr(encoder, "encoded_missing_value", np.nan)
        lines.append(codes)
    return lines, refuses


_ENCODERS: dict[str, Callable[[Any], tuple[list[Array], bool]]] = {
    "sklearn.preprocessing._encoders.OneHotEncoder": _one_hot,
    "sklearn.preprocessing._encoders.OrdinalEncoder": _ordinal,
}
