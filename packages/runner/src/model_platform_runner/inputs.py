"""What a model takes, from its MLflow signature: the check that every protocol's rows go through."""

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Protocol

import numpy as np

from model_platform_runner.batch import Batch, Table
from model_platform_runner.columns import Column
from model_platform_runner.errors import CallError, Problem, invalid_input
from model_platform_runner.values import Array, Misfit, Spec, object_array, read_values

WHOLE = ""  # the name of the only column where rows have no named columns
_SHOWN_NAME = 60  # characters of a caller's own column name that an answer repeats
_SHOWN_PROBLEMS = 20
_INTEGERS = ("long", "integer")
_NESTED = ("array", "object", "map")
_NUMBERS = frozenset({int, float})


class Named(Protocol):
    """A column or an array with a name."""

    @property
    def name(self) -> str:
        """What callers call it."""


class InputContract(Protocol):
    """How rows become a batch. Every method raises :class:`CallError` (422, 413) for what does not fit."""

    joinable: bool  # whether batches of several calls may be joined into one

    def read_rows(self, rows: list[Any]) -> Batch:
        """Read rows: objects by column name, or lists in the order of the signature."""

    def read_columns(self, columns: dict[str, list[Any]]) -> Batch:
        """Read whole columns by name."""


@dataclass(frozen=True)
class Field:
    """A named column: MLflow's spec of it, whether it may be null or left out, and how the notebook held it.

    ``of_index``: it is not one of the table's columns, but its index, or a part of that.
    """

    name: str
    spec: Spec
    required: bool
    column: Column | None = None
    of_index: bool = False

    @property
    def type(self) -> str:
        """MLflow's name of the type."""
        return str(self.spec["type"])

    @property
    def is_double(self) -> bool:
        """Whether it is a 64-bit float that must be there, for the model as for its callers."""
        held = self.column is None or (self.column.is_number and self.column.dtype == "float64")
        return self.type == "double" and self.required and held

    def read(self, values: Sequence[Any]) -> Array:
        """Return values as an array, or raise :class:`Misfit`."""
        if self.column is not None:
            return self.column.read(values, not self.required)
        return read_values(self.spec, values, nullable=not self.required)


class NamedColumns:
    """Rows with named columns of known types: a table."""

    joinable = True

    def __init__(self, fields: Sequence[Field], row_limit: int) -> None:
        self.fields = tuple(fields)
        self.names = frozenset(each.name for each in fields)
        self.all_doubles = all(each.is_double for each in fields)
        self._required = frozenset(each.name for each in fields if each.required)
        self._row_limit = row_limit
        self._width = len(self.fields)
        self.column_names = tuple(each.name for each in fields)
        self._in_order = _getter(self.column_names)

    def read_rows(self, rows: list[Any]) -> Batch:
        """Read rows: objects by column name, or lists in the order of the signature.

        Rows that have just the columns of the table are read when their batch is first looked at.
        """
        check_size(len(rows), self._row_limit)
        if (whole := self._whole(rows)) is not None:
            return Batch(None, len(rows), table=Table(self, whole))
        if set(map(type, rows)) == {list}:
            rows = self._by_name(rows)
        self._check_names(enumerate(rows))
        given = self._given(rows)
        return self._read({each.name: [row.get(each.name) for row in rows] for each in given}, len(rows))

    def _whole(self, rows: list[Any]) -> list[Sequence[Any]] | None:
        """The values of each row in the order of the signature, if no row has other columns or lacks one."""
        kind, width = type(rows[0]), self._width
        if kind not in (list, dict) or any(type(row) is not kind or len(row) != width for row in rows):
            return None
        try:
            return rows if kind is list else list(map(self._in_order, rows))
        except KeyError:
            return None

    def read_table(self, table: Table) -> dict[str, Array]:
        """Return the columns of rows that have all of them.

        Raises
        ------
        CallError
            Values do not fit their columns (422).
        """
        columns = dict(zip(self.column_names, map(list, zip(*table.rows, strict=True)), strict=True))
        return self._read(columns, len(table.rows)).columns

    def read_matrix(self, table: Table) -> Array:
        """Return rows of which all values are required 64-bit floats as one array [rows, columns].

        Raises
        ------
        CallError
            Values do not fit their columns (422).
        """
        for row in table.rows:
            if not _NUMBERS.issuperset(map(type, row)):
                self.read_table(table)  # which says what is wrong where
                break
        return np.array(table.rows, dtype=np.float64)

    def read_columns(self, columns: dict[str, list[Any]]) -> Batch:
        """Read whole columns by name."""
        self._check_names([(None, columns)])
        sizes = {len(values) for values in columns.values()}
        if len(sizes) != 1:
            raise invalid_input("The columns have different lengths." if sizes else "There are no rows.")
        (rows,) = sizes
        check_size(rows, self._row_limit)
        given = self._given([columns])
        return self._read({each.name: columns.get(each.name) or [None] * rows for each in given}, rows)

    def _given(self, _rows: Sequence[dict[str, Any]]) -> Sequence[Field]:
        """Return the columns that the model gets; what a caller leaves out is missing in every row."""
        return self.fields

    def _read(self, columns: dict[str, list[Any]], rows: int) -> Batch:
        problems: list[Problem] = []
        arrays = {}
        for field in self.fields:
            if field.name not in columns:
                continue
            try:
                arrays[field.name] = field.read(columns[field.name])
            except Misfit as misfit:
                problems.append({"field": field.name, "row": misfit.row, "problem": misfit.problem})
        if problems:
            raise _refusal(problems)
        return Batch(arrays, rows)

    def _by_name(self, rows: list[list[Any]]) -> list[dict[str, Any]]:
        for position, row in enumerate(rows):
            if len(row) != len(self.fields):
                expected = f"row {position} has {len(row)} values, not {len(self.fields)}"
                raise invalid_input(f"{sentence(expected)} (one for each of: {listed(self.fields)}).")
        names = [each.name for each in self.fields]
        return [dict(zip(names, row, strict=True)) for row in rows]

    def _check_names(self, rows: Iterable[tuple[int | None, Any]]) -> None:
        if problems := self._misshapen(rows):
            raise _refusal(problems)

    def _misshapen(self, rows: Iterable[tuple[int | None, Any]]) -> list[Problem]:
        """Return what columns are unknown or missing, each with the first row where that is so."""
        unknown: dict[str, int | None] = {}
        missing: dict[str, int | None] = {}
        for position, row in rows:
            if type(row) is not dict:
                raise invalid_input(f"Row {position} must be an object with the columns {listed(self.fields)}.")
            for name in row.keys() - self.names:
                unknown.setdefault(name, position)
            for name in self._required - row.keys():
                missing.setdefault(name, position)
            if len(unknown) + len(missing) > _SHOWN_PROBLEMS:
                break
        return [
            *(_problem(name[:_SHOWN_NAME], unknown[name], self._stranger(name)) for name in sorted(unknown)),
            *(_problem(name, missing[name], "is missing") for name in sorted(missing)),
        ]

    def _stranger(self, name: str) -> str:
        close = difflib.get_close_matches(name[:_SHOWN_NAME], self.names, n=1)
        return "is not a column of this model" + (f', did you mean "{close[0]}"?' if close else "")


class Records(NamedColumns):
    """Rows that the model takes as objects: what a caller leaves out stays out."""

    def read_rows(self, rows: list[Any]) -> Batch:
        """Read rows: objects by column name, or lists in the order of the signature."""
        batch = super().read_rows(rows)
        return self._objects(batch, [row if type(row) is dict else self.names for row in rows])

    def read_columns(self, columns: dict[str, list[Any]]) -> Batch:
        """Read whole columns by name."""
        batch = super().read_columns(columns)
        return self._objects(batch, [columns] * batch.rows)

    def _objects(self, batch: Batch, given: Sequence[Iterable[str]]) -> Batch:
        columns = {name: values.tolist() for name, values in batch.columns.items()}
        objects = [{name: columns[name][row] for name in columns if name in there} for row, there in enumerate(given)]
        return Batch({WHOLE: object_array(objects)}, batch.rows)


class MlflowColumns(NamedColumns):
    """What goes through MLflow's own check, which has no missing whole numbers: such a column is whole or not there.

    In a table, other columns that a caller leaves out are missing values. Where columns hold documents (the messages of
    a chat), what is left out is an option that was not chosen, and stays out.
    """

    def _given(self, rows: Sequence[dict[str, Any]]) -> Sequence[Field]:
        if not any(each.type in _NESTED for each in self.fields):
            return self.fields
        return [each for each in self.fields if each.required or any(each.name in row for row in rows)]

    def _read(self, columns: dict[str, list[Any]], rows: int) -> Batch:
        batch = super()._read(columns, rows)
        for field in self.fields:
            if field.required or field.type not in _INTEGERS or field.name not in batch.columns:
                continue
            values = batch.columns[field.name]
            missing = np.isnan(values)
            if missing.all():
                del batch.columns[field.name]
            elif missing.any():
                problem = "must be null in every row of a call, or in none"
                raise _refusal([_problem(field.name, int(missing.argmax()), problem)])
            else:
                batch.columns[field.name] = values.astype(np.int64 if field.type == "long" else np.int32)
        return batch


class UnnamedColumn:
    """Rows that are one value each, without a name: what MLflow makes of ``list[str]`` and other type hints."""

    joinable = True

    def __init__(self, field: Field, row_limit: int) -> None:
        self.field = field
        self._row_limit = row_limit

    @property
    def spec(self) -> Spec:
        """MLflow's spec of the column."""
        return self.field.spec

    def read_rows(self, rows: list[Any]) -> Batch:
        """Read rows that are a value each."""
        check_size(len(rows), self._row_limit)
        try:
            return Batch({WHOLE: self.field.read(rows)}, len(rows))
        except Misfit as misfit:
            raise _refusal([_problem("input", misfit.row, misfit.problem)]) from None

    def read_columns(self, columns: dict[str, list[Any]]) -> Batch:
        """Read the only column, whatever its name."""
        return self.read_rows(only(columns))


class AnyRows:
    """Rows of a model without a signature: taken as they come, and never joined with others."""

    joinable = False

    def __init__(self, row_limit: int) -> None:
        self._row_limit = row_limit

    def read_rows(self, rows: list[Any]) -> Batch:
        """Read rows of any kind, but all of one."""
        check_size(len(rows), self._row_limit)
        if len(set(map(type, rows))) != 1:
            raise invalid_input("The rows must be all objects, or all lists, or all plain values.")
        return Batch({WHOLE: object_array(rows)}, len(rows))

    def read_columns(self, columns: dict[str, list[Any]]) -> Batch:
        """Read whole columns by name."""
        if len({len(values) for values in columns.values()}) != 1:
            raise invalid_input("The columns have different lengths.")
        return self.read_rows([dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)])


def check_size(rows: int, limit: int) -> None:
    """Refuse no rows (422) and more than the limit (413)."""
    if rows == 0:
        raise invalid_input("There are no rows.")
    if rows > limit:
        raise CallError(413, "exceeds_rows", f"At most {limit} rows fit into one call; this one has {rows}.")


def only(columns: dict[str, list[Any]]) -> list[Any]:
    """Return the values of the only column, whatever its name."""
    if len(columns) != 1:
        raise invalid_input("This model takes a single input.")
    (values,) = columns.values()
    return values


def _getter(names: Sequence[str]) -> Callable[[dict[str, Any]], Sequence[Any]]:
    """What takes the values of these columns out of an object, in this order."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda row: [row[name] for name in names]


def _problem(field: str, row: int | None, problem: str) -> Problem:
    return {"field": field, "problem": problem} if row is None else {"field": field, "row": row, "problem": problem}


def _refusal(problems: list[Problem]) -> CallError:
    first = problems[0]
    place = f"row {first['row']}, " if "row" in first else ""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    message = f'{place}"{first["field"]}" {first["problem"]}{more}'
    return invalid_input(sentence(message if message.endswith("?") else f"{message}."), problems[:_SHOWN_PROBLEMS])


def sentence(text: str) -> str:
    """Return the text with a capital letter at its beginning."""
    return text[:1].upper() + text[1:]


def listed(named: Sequence[Named]) -> str:
    """Return the first names, for a refusal."""
    names = [each.name for each in named]
    return ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
