"""Rows on their way to the model: arrays by column, or rows of a table whose values are not read yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from model_platform_runner.values import Array


class TableContract(Protocol):
    """What reads a table's values. Both methods raise :class:`CallError` (422) for those that do not fit."""

    all_doubles: bool  # whether every value is a required 64-bit float

    def read_table(self, table: Table) -> dict[str, Array]:
        """Return the columns."""

    def read_matrix(self, table: Table) -> Array:
        """Return rows of 64-bit floats as one array [rows, columns]."""


@dataclass(slots=True)
class Table:
    """Rows that have just a table's columns, each as a sequence in the order of the signature."""

    contract: TableContract
    rows: Sequence[Sequence[Any]]


class Batch:
    """Rows of a call: one array per column, all of ``rows`` entries along their first axis.

    Parameters
    ----------
    columns
        The arrays by name; None for a table.
    rows
        How many they are.
    params
        Parameters of the call.
    table
        Rows that are read when they are first looked at. So those of several calls that are joined are read together,
        column by column, which costs little more than reading those of one.
    """

    __slots__ = ("_columns", "_matrix", "params", "rows", "table")

    def __init__(
        self,
        columns: dict[str, Array] | None,
        rows: int,
        params: dict[str, Any] | None = None,
        table: Table | None = None,
    ) -> None:
        self._columns = columns
        self._matrix: Array | None = None
        self.rows = rows
        self.params = params
        self.table = table

    @property
    def columns(self) -> dict[str, Array]:
        """The arrays by name.

        Raises
        ------
        CallError
            A value does not fit its column (422); told when a table is first looked at.
        """
        if self._columns is None:
            assert self.table is not None
            self._columns = self.table.contract.read_table(self.table)
        return self._columns

    @property
    def matrix(self) -> Array:
        """The columns side by side as one array [rows, columns]; raises as ``columns`` does."""
        if self._matrix is None:
            if self.table is not None and self.table.contract.all_doubles:
                self._matrix = self.table.contract.read_matrix(self.table)
            else:
                self._matrix = np.column_stack(list(self.columns.values()))
        return self._matrix

    def read(self) -> None:
        """See to it that the values are looked at; raises as ``columns`` does."""
        if self.table is not None and self.table.contract.all_doubles:
            self.matrix  # noqa: B018
        else:
            self.columns  # noqa: B018


def join(batches: Sequence[Batch]) -> Batch:
    """Return one batch with the rows of several that came through the same contract.

    Raises
    ------
    ValueError
        They do not fit together: other columns, tensors of other shapes.
    CallError
        A value does not fit its column (422).
    """
    rows = sum(each.rows for each in batches)
    tables = [each.table for each in batches if each.table is not None]
    if len(tables) == len(batches):
        return Batch(None, rows, table=Table(tables[0].contract, [row for each in tables for row in each.rows]))
    if any(each.columns.keys() != batches[0].columns.keys() for each in batches):
        raise ValueError("batches of different columns")
    columns = {name: np.concatenate([each.columns[name] for each in batches]) for name in batches[0].columns}
    return Batch(columns, rows)
