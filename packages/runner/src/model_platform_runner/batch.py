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
    column_names: tuple[str, ...]  # in the order of the signature

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

    __slots__ = ("known_columns", "known_matrix", "params", "rows", "table")

    def __init__(
        self,
        columns: dict[str, Array] | None,
        rows: int,
        params: dict[str, Any] | None = None,
        table: Table | None = None,
        matrix: Array | None = None,
    ) -> None:
        self.known_columns = columns
        self.known_matrix = matrix
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
        if self.known_columns is None:
            assert self.table is not None
            contract = self.table.contract
            if self.known_matrix is not None:
                self.known_columns = dict(zip(contract.column_names, self.known_matrix.T, strict=True))
            else:
                self.known_columns = contract.read_table(self.table)
        return self.known_columns

    @property
    def matrix(self) -> Array:
        """The columns side by side as one array [rows, columns]; raises as ``columns`` does."""
        if self.known_matrix is None:
            if self.known_columns is None and self.table is not None and self.table.contract.all_doubles:
                self.known_matrix = self.table.contract.read_matrix(self.table)
            else:
                self.known_matrix = np.column_stack(list(self.columns.values()))
        return self.known_matrix

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
    if len(tables) < len(batches):
        return Batch(_beneath([each.columns for each in batches]), rows)
    table = Table(tables[0].contract, [row for each in tables for row in each.rows])
    matrices = [each.known_matrix for each in batches if each.known_matrix is not None]
    if len(matrices) == len(batches):
        return Batch(None, rows, table=table, matrix=np.concatenate(matrices))
    columns = [each.known_columns for each in batches if each.known_columns is not None]
    return Batch(_beneath(columns) if len(columns) == len(batches) else None, rows, table=table)


def _beneath(columns: Sequence[dict[str, Array]]) -> dict[str, Array]:
    """The columns of several batches one beneath the other."""
    if any(each.keys() != columns[0].keys() for each in columns):
        raise ValueError("batches of different columns")
    return {name: np.concatenate([each[name] for each in columns]) for name in columns[0]}
