"""Rows in the form in which a notebook holds them: a DataFrame, an array, a list of records.

The form is kept: a model is asked with just what its author would pass, whichever rows are taken.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from model_platform.capture.plain_values import plain_value
from model_platform_core.errors import InvalidInputError

RECORD_ZONE = "Z"  # callers send instants; a date without a zone means UTC


class Form(StrEnum):
    """How rows are held."""

    FRAME = "frame"
    ARRAY = "array"
    RECORDS = "records"


@dataclass(frozen=True)
class Table:
    """Rows in one of the forms; `value` is the user's own object and never changed."""

    form: Form
    value: Any

    def __len__(self) -> int:
        return len(self.value)

    @property
    def width(self) -> int:
        """How many columns."""
        if self.form is Form.RECORDS:
            return len({name for row in self.value for name in row})
        return int(self.value.shape[1])

    def head(self, count: int) -> Table:
        """The first rows."""
        return Table(self.form, self.value.iloc[:count] if self.form is Form.FRAME else self.value[:count])

    def take(self, positions: Sequence[int]) -> Any:
        """The rows at these positions, in the same form."""
        if self.form is Form.FRAME:
            return self.value.iloc[list(positions)]
        if self.form is Form.ARRAY:
            return self.value[list(positions)]
        return [self.value[position] for position in positions]

    def frame(self) -> Any:
        """The rows as a DataFrame, for looking at columns; records become one as pandas infers it."""
        pandas = require_pandas()
        return self.value if self.form is Form.FRAME else pandas.DataFrame(self.value)

    def records(self) -> list[dict[str, Any] | list[Any]]:
        """The rows as an application would send them."""
        if self.form is Form.ARRAY:
            return [plain_value(row, zone=RECORD_ZONE) for row in self.value]
        if self.form is Form.RECORDS:
            return [plain_value(row, zone=RECORD_ZONE) for row in self.value]
        names = [str(name) for name in self.value.columns]
        columns = [self.value.iloc[:, position].tolist() for position in range(len(names))]
        return [
            dict(zip(names, (plain_value(one, zone=RECORD_ZONE) for one in row), strict=True))
            for row in zip(*columns, strict=True)
        ]


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
        raise InvalidInputError(
            f"{what} is a Series, which has no columns; give the DataFrame that the model is called with.",
            hint=f"{what} X.to_frame()",
        )
    if numpy is not None and isinstance(value, numpy.ndarray):
        if value.ndim < 2:
            raise InvalidInputError(
                f"{what} is an array of one dimension; give one of shape (rows, columns).",
                hint=f"{what} X.reshape(-1, 1)",
            )
        return Table(Form.ARRAY, value)
    if isinstance(value, Mapping):
        return as_table([value], what)
    if isinstance(value, list | tuple) and value and all(isinstance(row, Mapping) for row in value):
        return Table(Form.RECORDS, [dict(row) for row in value])
    if isinstance(value, list | tuple) and value and all(isinstance(row, list | tuple) for row in value):
        return as_table(importlib.import_module("numpy").array(value), what)
    raise InvalidInputError(
        f"{what} is a {type(value).__name__}; give a DataFrame, an array of shape (rows, columns), or a list of records."
    )


def require_pandas() -> Any:
    """Pandas, or the line that installs it: MLflow's flavours need it to save a model."""
    try:
        return importlib.import_module("pandas")
    except ImportError:
        raise InvalidInputError(
            "Publishing needs pandas, which this kernel does not have.", hint="%pip install pandas"
        ) from None
