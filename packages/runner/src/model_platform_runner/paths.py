"""Which way a model answers: the quickest that has proven itself, else the model's own call."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from model_platform_runner.apart import tried_apart
from model_platform_runner.bare import without_names
from model_platform_runner.batch import Batch
from model_platform_runner.compiled import OTHER, Column, Compiled, Declined, Table, compile_model
from model_platform_runner.compiled.steps import flattened
from model_platform_runner.description import Description, Rows
from model_platform_runner.inputs import Field, NamedColumns
from model_platform_runner.predictor import Predictor
from model_platform_runner.proof import Sample, objection, read_sample
from model_platform_runner.values import Array

_NUMBERS = ("double", "float", "long", "integer")
_PLAIN = (*_NUMBERS, "string", "boolean")
_NO_SAMPLE = "The version has no sample that could prove a quicker way."


def quickest(predictor: Predictor, model: Any, description: Description, *, apart: bool) -> Predictor:
    """Return a scikit-learn model's predictor with a quicker way to answer, if there is one that proves itself.

    Its ``note`` tells why there is none, or why the quickest was not taken. ``apart``: the proof is made in a process
    of its own.
    """
    try_it = tried_apart if apart else _try_here
    sample = read_sample(description.directory)
    if sample is None:
        return replace(predictor, note=_NO_SAMPLE)
    notes = []
    try:
        table = _table(predictor, model, description.published.rows, sample)
    except Exception as error:  # noqa: BLE001 - the sample is of another signature, or a dtype of another pandas
        return replace(predictor, note=f"The sample cannot be used: {type(error).__name__}.")
    for make in (compile_model, _as_array) if predictor.path == "frame" else (compile_model,):
        try:
            way = make(model, predictor.method, table)
        except Declined as declined:
            notes.append(str(declined))
            continue
        except Exception as error:  # noqa: BLE001 - a model made by another version of its library
            notes.append(f"It cannot be compiled: {type(error).__name__}.")
            continue
        problem = try_it(partial(objection, predictor, way.fast, sample, exact=way.exact))
        if problem is None:
            return replace(predictor, path=way.path, fast=way.fast, note=" ".join(dict.fromkeys(notes)))
        notes.append(f"{way.path.capitalize()}: {problem}")
    return replace(predictor, note=" ".join(dict.fromkeys(notes)))


def _try_here(work: Callable[[], str | None]) -> str | None:
    return work()


def _as_array(model: Any, method: str, table: Table) -> Compiled:
    """The model's own call on an array, for a model that was fitted on a table."""
    if table.matrix is None:
        raise Declined("Its rows are not numbers alone, in the order in which it learnt them.")
    call, matrix = getattr(without_names(model), method), table.matrix

    def fast(batch: Batch) -> Array | None:
        rows = matrix(batch)
        return None if rows is None else call(rows)

    return Compiled("array", fast)


def _table(predictor: Predictor, model: Any, rows: Rows | None, sample: Sample) -> Table:
    """What the model gets, as the contract makes it."""
    contract, prepare = predictor.contract, predictor.prepare
    if predictor.path == "array":
        return Table(prepare, {})
    if not isinstance(contract, NamedColumns) or predictor.path != "frame" or not _is_simple(contract, rows):
        return Table(None, {})
    fields = contract.fields
    in_order = _learnt(model) == [each.name for each in fields] and all(_is_number(each) for each in fields)
    return Table(_beside if in_order else None, _columns(predictor, fields, rows, sample))


def _learnt(model: Any) -> list[str]:
    """The names of the columns in the order in which the model learnt them; none if it learnt without."""
    with contextlib.suppress(Declined):
        model = next(flattened(model), model)  # a pipeline that begins with a step that does nothing tells none
    return [str(name) for name in getattr(model, "feature_names_in_", ())]


def _is_simple(contract: NamedColumns, rows: Rows | None) -> bool:
    """Whether the table has plain columns and nothing else that a model could look at."""
    indexed = any(each.of_index for each in contract.fields)
    return not indexed and (rows is None or (rows.form == "frame" and not rows.index and rows.labels is None))


def _beside(batch: Batch) -> Array:
    """Columns side by side, laid out in memory as pandas lays out a table of numbers."""
    return np.asfortranarray(batch.matrix)


def _is_number(field: Field) -> bool:
    return field.column.is_number if field.column is not None else field.type in _NUMBERS


def _columns(predictor: Predictor, fields: tuple[Field, ...], rows: Rows | None, sample: Sample) -> dict[str, Column]:
    nulls = _nulls(predictor, fields, sample)
    return {
        each.name: Column(each.name, _is_number(each), nulls.get(each.name, OTHER), _levels(each, rows))
        for each in fields
        if each.type in _PLAIN
    }


def _nulls(predictor: Predictor, fields: tuple[Field, ...], sample: Sample) -> dict[str, Any]:
    """What the model finds for a missing value in each column that may have one: NaN or None, as far as it is one."""
    optional = [each for each in fields if not each.required]
    if not optional:
        return {}
    batch = predictor.contract.read_rows(sample.records[:1])
    given = {**batch.columns, **{each.name: each.read([None]) for each in optional}}
    frame = predictor.prepare(Batch(given, 1))
    found = {each.name: frame[each.name].to_numpy(dtype=object)[0] for each in optional}
    return {name: value for name, value in found.items() if value is None or type(value) is float}


def _levels(field: Field, rows: Rows | None) -> list[Any] | None:
    if rows is None or field.column is None or field.column.dtype != "category" or field.column.restore is None:
        return None
    return list(field.column.restore(np.arange(len(rows.columns[field.name]["levels"]))))
