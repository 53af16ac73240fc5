"""From a batch to answers: the input in the form that the model wants, the call, the answers in a form of ours."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from model_platform_runner.answers import Answers, Names, answers_from
from model_platform_runner.batch import Batch
from model_platform_runner.description import Rows
from model_platform_runner.inputs import WHOLE, Field, InputContract, NamedColumns, UnnamedColumn
from model_platform_runner.tables import described_table
from model_platform_runner.tensors import Tensors
from model_platform_runner.values import Array, Spec

Prepare = Callable[[Batch], Any]  # a batch in the form that the model wants
Call = Callable[[Any, dict[str, Any] | None], Any]  # the model itself: input, parameters of the call


@dataclass(frozen=True)
class Predictor:
    """A loaded model. ``path`` names the way it answers, for /info, and ``note`` tells why not a quicker one.

    ``fast`` answers in the model's place where there is a proven way to; what it returns None for, the model is asked.

    ``output_names`` are for the columns of a matrix, or for each of several outputs; ``as_outputs`` tells what a list
    of as many arrays as there are rows holds: one for each output, or one for each row (None: nobody knows).
    """

    flavor: str
    method: str
    contract: InputContract
    path: str
    prepare: Prepare
    call: Call
    output_names: Names = None
    as_outputs: bool | None = None
    on_loop: bool = False  # whether a quick call may run on the event loop's own thread
    params: dict[str, Spec] = field(default_factory=dict)
    fast: Callable[[Batch], Array | None] | None = None
    note: str = ""

    def predict(self, batch: Batch) -> Answers:
        """Return the model's answers; whatever the model raises passes through."""
        result = self.fast(batch) if self.fast else None
        if result is None:
            result = self.call(self.prepare(batch), batch.params)
        return answers_from(result, self.output_names, rows=batch.rows, as_outputs=self.as_outputs)


def frame_builder(fields: Sequence[Field], *, for_mlflow: bool = False) -> Prepare:
    """Return what makes a DataFrame of a batch, with the dtypes that this pandas would give.

    ``for_mlflow``: a missing boolean is None; NaN, which scikit-learn takes for missing, MLflow takes for a number.
    """
    pandas: Any = importlib.import_module("pandas")
    text = pandas.Series(["text"]).dtype  # object before pandas 3, str since
    texts = {each.name for each in fields if each.type == "string"}
    inferred = {each.name for each in fields if each.type == "any"}
    flags = {each.name for each in fields if each.type == "boolean" and not each.required and for_mlflow}

    def column(name: str, values: Any) -> Any:
        if name in texts:
            return pandas.Series(values, dtype=text)
        if name in flags:
            return np.where(pandas.isna(values), None, values)
        return pandas.Series(values.tolist()) if name in inferred else values

    def build(batch: Batch) -> Any:
        return pandas.DataFrame({name: column(name, values) for name, values in batch.columns.items()})

    return build


def matrix(batch: Batch) -> Any:
    """Return the columns side by side as one array [rows, columns]."""
    return batch.matrix


def whole(batch: Batch) -> Any:
    """Return the only, unnamed column as it is."""
    return batch.columns[WHOLE]


def tensors(batch: Batch) -> Any:
    """Return the arrays by name."""
    return batch.columns


def prepare_for(
    contract: InputContract,
    *,
    rows: Rows | None = None,
    matrices: bool = False,
    lists: bool = False,
    for_mlflow: bool = False,
) -> tuple[str, Prepare]:
    """Choose the form of a model's input, and its name.

    Parameters
    ----------
    contract
        What the model takes.
    rows
        How the notebook held its rows, as far as publish has told.
    matrices
        The model was fitted on arrays: numeric columns go in as one.
    lists
        The model's code takes a list (MLflow type hints).
    for_mlflow
        The input passes through MLflow's own check.
    """
    if rows and isinstance(contract, NamedColumns | UnnamedColumn):
        if matrices and isinstance(contract, NamedColumns) and _is_matrix(contract, rows):
            return "array", matrix
        return rows.form, described_table(contract, rows)
    if isinstance(contract, NamedColumns):
        numeric = all(each.type in ("double", "float", "long", "integer") for each in contract.fields)
        return (
            ("array", matrix)
            if matrices and numeric
            else (
                "frame",
                frame_builder(contract.fields, for_mlflow=for_mlflow),
            )
        )
    if isinstance(contract, Tensors):
        return ("array", whole) if contract.tensors[0].name == WHOLE else ("tensors", tensors)
    if lists:
        return "list", lambda batch: batch.columns[WHOLE].tolist()
    return ("frame", _unnamed_frame(contract)) if isinstance(contract, UnnamedColumn) else ("rows", _any_rows(matrices))


def _is_matrix(contract: NamedColumns, rows: Rows) -> bool:
    """Whether a table holds nothing but numbers of NumPy's, so that it may as well be one array."""
    held = [each.column for each in contract.fields]
    return rows.form == "frame" and not rows.index and all(each is not None and each.is_number for each in held)


def _unnamed_frame(contract: UnnamedColumn) -> Prepare:
    build = frame_builder([contract.field])

    def unnamed(batch: Batch) -> Any:
        frame = build(batch)
        frame.columns = range(1)
        return frame

    return unnamed


def _any_rows(matrices: bool) -> Prepare:
    """Rows of a model without signature: objects become a DataFrame as pandas infers it, lists become an array."""

    def build(batch: Batch) -> Any:
        rows = batch.columns[WHOLE].tolist()
        if matrices and not isinstance(rows[0], dict):
            return np.array(rows)
        pandas: Any = importlib.import_module("pandas")
        return pandas.DataFrame(rows)

    return build
