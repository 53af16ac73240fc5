"""Tables as the notebook held them: from checked columns back to its DataFrame, Series or list."""

import contextlib
import importlib
from collections.abc import Callable, Sequence
from typing import Any

from model_platform_runner.batch import Batch
from model_platform_runner.description import Rows
from model_platform_runner.inputs import WHOLE, Field, NamedColumns, UnnamedColumn
from model_platform_runner.values import Array

Build = Callable[[Batch], Any]


def described_table(contract: NamedColumns | UnnamedColumn, rows: Rows) -> Build:
    """Return what makes of a batch the rows as the notebook held them: its form, dtypes, labels and index."""
    if rows.form == "records":
        return lambda batch: batch.columns[WHOLE].tolist()
    if rows.form == "list":
        return lambda batch: batch.columns[WHOLE].tolist()
    fields = contract.fields if isinstance(contract, NamedColumns) else (contract.field,)
    columns = [each for each in fields if each.name not in rows.index]
    index = _index(fields, rows) if rows.index else None
    return _series(columns[0], index, rows.name) if rows.form == "series" else _frame(columns, index, rows)


def _frame(columns: Sequence[Field], index: Build | None, rows: Rows) -> Build:
    pandas = _pandas()
    labels = _labels(columns, rows)
    plain = [each.name for each in columns if _plain(each)]
    restored = [(each.name, _restore(each)) for each in columns if not _plain(each)]
    names = [each.name for each in columns]

    def build(batch: Batch) -> Any:
        given = {name: batch.columns[name] for name in plain}
        given |= {name: restore(batch.columns[name]) for name, restore in restored}
        frame = pandas.DataFrame(given, columns=names if restored else None, index=range(batch.rows))
        if labels is not None:
            frame.columns = labels
        if index is not None:
            frame.index = index(batch)
        return frame

    return build


def _series(column: Field, index: Build | None, name: str | None) -> Build:
    pandas, restore = _pandas(), _restore(column)

    def build(batch: Batch) -> Any:
        series = pandas.Series(restore(batch.columns[column.name]), name=name)
        if index is not None:
            series.index = index(batch)
        return series

    return build


def _index(fields: Sequence[Field], rows: Rows) -> Build:
    pandas = _pandas()
    by_name = {each.name: each for each in fields}
    levels = [(name, _restore(by_name[name])) for name in rows.index]
    names = list(rows.index_names or rows.index)

    def build(batch: Batch) -> Any:
        parts = [restore(batch.columns[name]) for name, restore in levels]
        if len(parts) > 1:
            return pandas.MultiIndex.from_arrays(parts, names=names)
        index = pandas.Index(parts[0], name=names[0])
        if rows.frequency:
            with contextlib.suppress(ValueError):  # these rows do not follow one another
                index.freq = rows.frequency
        return index

    return build


def _labels(columns: Sequence[Field], rows: Rows) -> Any:
    if rows.labels is None and rows.labels_names is None:
        return None
    pandas = _pandas()
    labels = [tuple(each) if isinstance(each, list) else each for each in rows.labels or ()]
    if any(isinstance(each, tuple) for each in labels):
        return pandas.MultiIndex.from_tuples(labels, names=rows.labels_names)
    name = rows.labels_names[0] if rows.labels_names else None
    return pandas.Index(labels or [each.name for each in columns], name=name)


def _plain(field: Field) -> bool:
    return field.column is not None and field.column.restore is None


def _restore(field: Field) -> Callable[[Array], Any]:
    if field.column is None or field.column.restore is None:
        return lambda array: array
    return field.column.restore


def _pandas() -> Any:
    return importlib.import_module("pandas")
