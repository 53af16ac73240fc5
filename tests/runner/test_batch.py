"""Rows of joined calls are read once, together or each by itself, and come out alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from model_platform_runner.batch import Batch, Table, join
from model_platform_runner.errors import CallError
from model_platform_runner.inputs import Field, NamedColumns
from model_platform_runner.values import Array

DOUBLES = [Field(name, {"type": "double"}, required=True) for name in "ab"]
MIXED = [*DOUBLES, Field("c", {"type": "string"}, required=True)]
ROWS: list[list[dict[str, Any]]] = [
    [{"a": 1.5, "b": 2, "c": "x"}],
    [{"b": -3.0, "a": 0, "c": "y"}, {"a": 4, "b": 5.5, "c": "z"}],
]


class Counting(NamedColumns):
    """Counts the rows that it reads."""

    read = 0

    def read_table(self, table: Table) -> dict[str, Array]:
        self.read += len(table.rows)
        return super().read_table(table)

    def read_matrix(self, table: Table) -> Array:
        self.read += len(table.rows)
        return super().read_matrix(table)


def batches(contract: NamedColumns) -> list[Batch]:
    names = contract.names
    return [contract.read_rows([{key: row[key] for key in row if key in names} for row in rows]) for rows in ROWS]


@pytest.mark.parametrize("fields", [DOUBLES, MIXED])
@pytest.mark.parametrize("looked_at", [(), (0,), (0, 1)])
def test_joined_rows_are_read_once(fields: list[Field], looked_at: tuple[int, ...]) -> None:
    contract = Counting(fields, 100)
    parts = batches(contract)
    for at in looked_at:
        parts[at].read()
    joined = join(parts)
    columns = joined.columns
    np.testing.assert_array_equal(columns["a"], [1.5, 0.0, 4.0])
    np.testing.assert_array_equal(columns["b"], [2.0, -3.0, 5.5])
    assert (joined.rows, list(columns)) == (3, [each.name for each in fields])
    assert contract.read == 3 + (1 if looked_at == (0,) else 0)


def test_matrix_and_columns_are_one_reading() -> None:
    contract = Counting(DOUBLES, 100)
    batch = join(batches(contract))
    np.testing.assert_array_equal(batch.matrix, [[1.5, 2.0], [0.0, -3.0], [4.0, 5.5]])
    np.testing.assert_array_equal(np.column_stack(list(batch.columns.values())), batch.matrix)
    assert contract.read == 3


def test_what_does_not_fit_is_told_when_it_is_looked_at() -> None:
    contract = NamedColumns(DOUBLES, 100)
    batch = contract.read_rows([{"a": 1.0, "b": True}])
    with pytest.raises(CallError, match='Row 0, "b" must be a number, not a boolean'):
        batch.read()
    with pytest.raises(CallError):
        _ = join([batch, contract.read_rows([{"a": 1.0, "b": 2.0}])]).matrix
