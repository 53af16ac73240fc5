"""What a model takes, from its MLflow signature: the check that every protocol's rows go through."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from model_platform_runner.errors import CallError, Problem, invalid_input
from model_platform_runner.values import Array, Misfit, Spec, is_required, object_array, read_values

WHOLE = ""  # the name of the only column where rows have no named columns
_SHOWN_NAME = 60  # characters of a caller's own column name that an answer repeats
_SHOWN_PROBLEMS = 20
_INTEGERS = ("long", "integer")
_NESTED = ("array", "object", "map")


@dataclass(slots=True)
class Batch:
    """Checked rows: one array per column, all of ``rows`` entries along their first axis."""

    columns: dict[str, Array]
    rows: int
    params: dict[str, Any] | None = None


def join(batches: Sequence[Batch]) -> Batch:
    """Return one batch with the rows of several that came through the same contract.

    Raises
    ------
    ValueError
        They do not fit together: other columns, tensors of other shapes.
    """
    if any(each.columns.keys() != batches[0].columns.keys() for each in batches):
        raise ValueError("batches of different columns")
    columns = {name: np.concatenate([each.columns[name] for each in batches]) for name in batches[0].columns}
    return Batch(columns, sum(each.rows for each in batches))


class InputContract(Protocol):
    """How rows become a batch. Every method raises :class:`CallError` (422, 413) for what does not fit."""

    joinable: bool  # whether batches of several calls may be joined into one

    def read_rows(self, rows: list[Any]) -> Batch:
        """Read rows: objects by column name, or lists in the order of the signature."""

    def read_columns(self, columns: dict[str, list[Any]]) -> Batch:
        """Read whole columns by name."""


@dataclass(frozen=True)
class Field:
    """A named column: MLflow's spec of it, and whether it may be null or left out."""

    name: str
    spec: Spec
    required: bool

    @property
    def type(self) -> str:
        """MLflow's name of the type."""
        return str(self.spec["type"])


class NamedColumns:
    """Rows with named columns of known types: a table."""

    joinable = True

    def __init__(self, fields: Sequence[Field], row_limit: int) -> None:
        self.fields = tuple(fields)
        self.names = frozenset(each.name for each in fields)
        self._required = frozenset(each.name for each in fields if each.required)
        self._row_limit = row_limit

    def read_rows(self, rows: list[Any]) -> Batch:
        """Read rows: objects by column name, or lists in the order of the signature."""
        check_size(len(rows), self._row_limit)
        if set(map(type, rows)) == {list}:
            rows = self._by_name(rows)
        if not all(type(row) is dict and row.keys() == self.names for row in rows):
            self._check_names(enumerate(rows))
        given = self._given(rows)
        return self._read({each.name: [row.get(each.name) for row in rows] for each in given}, len(rows))

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
                arrays[field.name] = read_values(field.spec, columns[field.name], nullable=not field.required)
            except Misfit as misfit:
                problems.append({"field": field.name, "row": misfit.row, "problem": misfit.problem})
        if problems:
            raise _refusal(problems)
        return Batch(arrays, rows)

    def _by_name(self, rows: list[list[Any]]) -> list[dict[str, Any]]:
        for position, row in enumerate(rows):
            if len(row) != len(self.fields):
                expected = f"row {position} has {len(row)} values, not {len(self.fields)}"
                raise invalid_input(f"{_sentence(expected)} (one for each of: {_listed(self.fields)}).")
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
                raise invalid_input(f"Row {position} must be an object with the columns {_listed(self.fields)}.")
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

    def __init__(self, spec: Spec, row_limit: int) -> None:
        self.spec = spec
        self._row_limit = row_limit

    def read_rows(self, rows: list[Any]) -> Batch:
        """Read rows that are a value each."""
        check_size(len(rows), self._row_limit)
        try:
            return Batch({WHOLE: read_values(self.spec, rows, nullable=not is_required(self.spec))}, len(rows))
        except Misfit as misfit:
            raise _refusal([_problem("input", misfit.row, misfit.problem)]) from None

    def read_columns(self, columns: dict[str, list[Any]]) -> Batch:
        """Read the only column, whatever its name."""
        return self.read_rows(_only(columns))


@dataclass(frozen=True)
class Tensor:
    """An array: its dtype, and its shape with -1 for what may vary; the first axis counts rows."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def kind(self) -> str:
        """NumPy's letter for the dtype's kind."""
        return np.dtype(self.dtype).kind


class Tensors:
    """Rows that are (nested) lists of numbers or strings: one unnamed tensor, or several by name."""

    def __init__(self, tensors: Sequence[Tensor], row_limit: int) -> None:
        self.tensors = tuple(tensors)
        self.joinable = all(each.shape[:1] == (-1,) for each in tensors)
        self._row_limit = row_limit

    def read_rows(self, rows: list[Any]) -> Batch:
        """Read rows: nested lists, or objects of them by name."""
        check_size(len(rows), self._row_limit)
        if self.tensors[0].name == WHOLE:
            return self._read({WHOLE: rows}, len(rows))
        names = {each.name for each in self.tensors}
        for position, row in enumerate(rows):
            if type(row) is not dict or row.keys() != names:
                raise invalid_input(f"Row {position} must be an object with the names {_listed(self.tensors)}.")
        return self._read({name: [row[name] for row in rows] for name in names}, len(rows))

    def read_columns(self, columns: dict[str, list[Any]]) -> Batch:
        """Read whole tensors by name."""
        if self.tensors[0].name == WHOLE:
            return self.read_rows(_only(columns))
        if columns.keys() != {each.name for each in self.tensors}:
            raise invalid_input(f"The inputs must be {_listed(self.tensors)}.")
        sizes = {len(values) for values in columns.values()}
        if len(sizes) != 1:
            raise invalid_input("The inputs have different numbers of rows.")
        (rows,) = sizes
        check_size(rows, self._row_limit)
        return self._read(columns, rows)

    def _read(self, columns: dict[str, list[Any]], rows: int) -> Batch:
        return Batch({each.name: _read_tensor(each, columns[each.name]) for each in self.tensors}, rows)


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


def input_contract(signature: list[dict[str, Any]] | None, row_limit: int) -> InputContract:
    """Return the contract of a signature's inputs, MLflow's own JSON parsed; None for a model without signature."""
    if not signature:
        return AnyRows(row_limit)
    if signature[0]["type"] == "tensor":
        return Tensors([_tensor(each) for each in signature], row_limit)
    if len(signature) == 1 and "name" not in signature[0]:
        return UnnamedColumn(signature[0], row_limit)
    fields = [
        Field(str(each.get("name", position)), each, is_required(each)) for position, each in enumerate(signature)
    ]
    return NamedColumns(fields, row_limit)


def check_size(rows: int, limit: int) -> None:
    """Refuse no rows (422) and more than the limit (413)."""
    if rows == 0:
        raise invalid_input("There are no rows.")
    if rows > limit:
        raise CallError(413, "exceeds_rows", f"At most {limit} rows fit into one call; this one has {rows}.")


def _tensor(document: dict[str, Any]) -> Tensor:
    spec = document["tensor-spec"]
    return Tensor(document.get("name", WHOLE), spec["dtype"], tuple(spec["shape"]))


def _read_tensor(tensor: Tensor, values: list[Any]) -> Array:
    kind = tensor.kind
    place = f'"{tensor.name}" ' if tensor.name else "the input "
    try:
        array = np.array(values, dtype=object if kind in "OUS" else None)
    except ValueError:
        raise invalid_input(_sentence(f"{place}has rows of different lengths.")) from None
    expected = "numbers" if kind in "iuf" else "true or false" if kind == "b" else "strings"
    if array.dtype.kind not in {"i": "iuf", "u": "iuf", "f": "iuf", "b": "b"}.get(kind, "O"):
        raise invalid_input(_sentence(f"{place}must hold {expected}, in rows of one length, without null."))
    if array.dtype == object and not all(type(each) is str for each in array.flat):
        raise invalid_input(_sentence(f"{place}must hold {expected}."))
    if len(array.shape) != len(tensor.shape) or any(
        wanted not in (-1, got) for wanted, got in zip(tensor.shape, array.shape, strict=True)
    ):
        wanted = list(tensor.shape)
        raise invalid_input(_sentence(f"{place}must have the shape {wanted}, not {list(array.shape)}."))
    with np.errstate(all="ignore"):
        cast = array.astype(tensor.dtype)
    if kind in "iu" and not np.array_equal(cast, array):
        raise invalid_input(_sentence(f"{place}must hold whole numbers that fit into {tensor.dtype}."))
    if kind == "f" and not np.isfinite(cast).all():
        raise invalid_input(_sentence(f"{place}must hold numbers that fit into {tensor.dtype}."))
    return cast


def _only(columns: dict[str, list[Any]]) -> list[Any]:
    if len(columns) != 1:
        raise invalid_input("This model takes a single input.")
    (values,) = columns.values()
    return values


def _problem(field: str, row: int | None, problem: str) -> Problem:
    return {"field": field, "problem": problem} if row is None else {"field": field, "row": row, "problem": problem}


def _refusal(problems: list[Problem]) -> CallError:
    first = problems[0]
    place = f"row {first['row']}, " if "row" in first else ""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    message = f'{place}"{first["field"]}" {first["problem"]}{more}'
    return invalid_input(_sentence(message if message.endswith("?") else f"{message}."), problems[:_SHOWN_PROBLEMS])


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _listed(named: Sequence[Field] | Sequence[Tensor]) -> str:
    names = [each.name for each in named]
    return ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
