"""Rows in the form in which a notebook holds them: a DataFrame, a Series, arrays, a list of texts or of records.

The form is kept: a model is asked with just what its author would pass, whichever rows are taken.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from model_platform.capture.plain_values import plain_value
from model_platform_core.errors import InvalidInputError

VALUE = "value"  # what a column without a name is called where it needs one


class Form(StrEnum):
    """How rows are held. `ARRAYS` are arrays by name, with one entry per row each; `LIST` is a list of plain values, or of lists."""

    FRAME = "frame"
    SERIES = "series"
    LIST = "list"
    RECORDS = "records"
    ARRAY = "array"
    ARRAYS = "arrays"


@dataclass(frozen=True)
class Table:
    """Rows in one of the forms; `value` is the user's own object and never changed.

    `indexed`: the index says something to the model, so it belongs to a row; else it only numbers the rows.
    """

    form: Form
    value: Any
    indexed: bool = False

    def __len__(self) -> int:
        return len(next(iter(self.value.values()))) if self.form is Form.ARRAYS else len(self.value)

    @property
    def tabular(self) -> bool:
        """Whether the rows have columns, each of one type."""
        return self.form not in {Form.ARRAY, Form.ARRAYS}

    @property
    def unnamed(self) -> bool:
        """Whether a row is a single value, not an object with names."""
        return self.form is Form.LIST or (self.form is Form.SERIES and not self.indexed)

    @property
    def width(self) -> int:
        """How many columns; of a higher array, how long its second axis is."""
        if self.form is Form.ARRAYS:
            return len(self.value)
        if self.form is Form.ARRAY:
            return int(self.value.shape[1]) if self.value.ndim > 1 else 1
        return len(self.frame().columns)

    @property
    def has_index(self) -> bool:
        """Whether there is an index that is more than a numbering from 0."""
        if self.form not in {Form.FRAME, Form.SERIES}:
            return False
        index = self.value.index
        return type(index).__name__ != "RangeIndex" or index.name is not None

    def without_index(self) -> Table:
        """The same rows, numbered from 0."""
        return replace(self, value=self.value.reset_index(drop=True), indexed=False) if self.has_index else self

    def head(self, count: int) -> Table:
        """The first rows."""
        return replace(self, value=self.take(range(min(count, len(self)))))

    def take(self, positions: Sequence[int]) -> Any:
        """The rows at these positions, in the same form."""
        ascending = isinstance(positions, range) and positions.step == 1
        at = slice(positions[0], positions[-1] + 1) if ascending and len(positions) else list(positions)
        if self.form in {Form.FRAME, Form.SERIES}:
            return self.value.iloc[at]
        if self.form is Form.ARRAY:
            return self.value[at]
        if self.form is Form.ARRAYS:
            return {name: array[at] for name, array in self.value.items()}
        return [self.value[position] for position in positions]

    def frame(self) -> Any:
        """The rows as a DataFrame, for looking at columns; records become one as pandas infers it."""
        pandas = require_pandas()
        if self.form is Form.FRAME:
            return self.value
        if self.form is Form.SERIES:
            return self.value.to_frame(VALUE if self.value.name is None else self.value.name)
        if self.form is Form.LIST:
            return pandas.DataFrame({VALUE: pandas.Series(self.value, dtype=object)})
        return pandas.DataFrame(self.value)

    def columns(self) -> list[tuple[str, Any]]:
        """Name and values, as a Series, of everything in a row: first the index where it belongs to it.

        Raises
        ------
        InvalidInputError
            If two have one name, which a row as JSON cannot hold.
        """
        frame = self.frame()
        found = [*self._index_columns(), *((str(name), frame.iloc[:, at]) for at, name in enumerate(frame.columns))]
        names = [name for name, _ in found]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InvalidInputError(
                f"There are several columns called {twice[0]!r}; a call names each once.",
                hint="rename one of them, or the index",
            )
        return found

    def index_names(self) -> list[str]:
        """What the parts of the index are called in a row; nothing where it is only a numbering."""
        if not self.indexed:
            return []
        names = list(self.value.index.names)
        unnamed = ["index"] if len(names) == 1 else [f"level_{level}" for level in range(len(names))]
        return [instead if name is None else str(name) for name, instead in zip(names, unnamed, strict=True)]

    def _index_columns(self) -> list[tuple[str, Any]]:
        if not self.indexed:
            return []
        index = self.value.index
        levels = [index.get_level_values(level) for level in range(index.nlevels)]
        return [
            (name, level.to_series().reset_index(drop=True))
            for name, level in zip(self.index_names(), levels, strict=True)
        ]

    def records(self) -> list[Any]:
        """The rows as an application would send them."""
        if self.form in {Form.ARRAY, Form.RECORDS, Form.LIST}:
            return [plain_value(row) for row in self.value]
        if self.form is Form.ARRAYS:
            return [{name: plain_value(array[row]) for name, array in self.value.items()} for row in range(len(self))]
        columns = {name: [plain_value(one) for one in column.tolist()] for name, column in self.columns()}
        if self.unnamed:
            return next(iter(columns.values()))
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def as_table(value: Any, what: str) -> Table:
    """Recognise rows.

    Parameters
    ----------
    what
        What they are for, as the message calls it: `--data`, `--example`.

    Raises
    ------
    InvalidInputError
        Names the type and what can be given.
    """
    pandas, numpy = sys.modules.get("pandas"), sys.modules.get("numpy")
    if pandas is not None and isinstance(value, pandas.DataFrame):
        return Table(Form.FRAME, value)
    if pandas is not None and isinstance(value, pandas.Series):
        return Table(Form.SERIES, value)
    if numpy is not None and isinstance(value, numpy.ndarray) and value.ndim:
        return Table(Form.ARRAY, value)
    if isinstance(value, Mapping):
        return _of_mapping(value, what)
    if isinstance(value, list | tuple) and value:
        return _of_list(list(value))
    found = "empty" if isinstance(value, list | tuple) else f"a {type(value).__name__}"
    raise InvalidInputError(
        f"{what} is {found}; give a DataFrame, a Series, an array, a dictionary of arrays, a list of texts or of records."
    )


def _of_mapping(value: Mapping[Any, Any], what: str) -> Table:
    """Arrays by name, or one record."""
    if not value or not all(getattr(one, "ndim", 0) and hasattr(one, "dtype") for one in value.values()):
        return Table(Form.RECORDS, [dict(value)])
    arrays = {str(name): one.to_numpy() if hasattr(one, "to_numpy") else one for name, one in value.items()}
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise InvalidInputError(f"The arrays of {what} have different numbers of rows: {told}.")
    return Table(Form.ARRAYS, arrays)


def _of_list(rows: list[Any]) -> Table:
    if all(isinstance(row, Mapping) for row in rows):
        return Table(Form.RECORDS, [dict(row) for row in rows])
    if any(getattr(row, "ndim", 0) for row in rows) and (array := _one_array(rows)) is not None:
        return Table(Form.ARRAY, array)
    return Table(Form.LIST, [_as_json(row) for row in rows])


def _one_array(rows: list[Any]) -> Any:
    """Rows as one array of numbers; None where they are anything else, which an array would change."""
    if not all(isinstance(row, list | tuple) or getattr(row, "ndim", 0) for row in rows):
        return None
    try:
        array = importlib.import_module("numpy").array(rows)
    except ValueError:
        return None  # of different lengths
    return array if array.dtype.kind in "biuf" else None


def _as_json(value: Any) -> Any:
    """Tuples as lists, which is what a call can hold: a model that needs tuples is told so before it is published."""
    return [_as_json(each) for each in value] if isinstance(value, list | tuple) else value


def as_library_takes(rows: Table) -> Table:
    """Rows as every library's model takes them: lists of numbers as one array. Only own code can mean the lists."""
    if rows.form is not Form.LIST or (array := _one_array(rows.value)) is None:
        return rows
    return Table(Form.ARRAY, array)


def as_called(data: Table | None, sample: Table) -> Table:
    """All rows that are known, as the model is called: the data with the sample's order of columns and dtypes.

    A column that is float in one of the two is float; categories are the data's. Where the data is held in another form
    than the sample, the sample is all that tells.
    """
    if data is None or data.form is not sample.form or data.has_index < sample.indexed:
        return sample
    data = replace(data, indexed=sample.indexed)
    if data.form is not Form.FRAME:
        return data
    frame, order = data.value, list(sample.value.columns)
    if list(frame.columns) != order:  # else no copy is made of what may be large
        frame = frame[order]
    changes = {}
    for position, name in enumerate(frame.columns):
        own, asked = frame.dtypes.iloc[position], sample.value.dtypes.iloc[position]
        whole = getattr(asked, "kind", "O") in "iu" and getattr(own, "kind", "O") == "f"
        if own != asked and not whole and not (hasattr(own, "categories") and hasattr(asked, "categories")):
            changes[name] = asked
    try:
        return replace(data, value=frame.astype(changes) if changes else frame)
    except (TypeError, ValueError):
        return sample


def require_pandas() -> Any:
    """Pandas, or the line that installs it: MLflow's flavours need it to save a model."""
    try:
        return importlib.import_module("pandas")
    except ImportError:
        raise InvalidInputError(
            "Publishing needs pandas, which this kernel does not have.", hint="%pip install pandas"
        ) from None
