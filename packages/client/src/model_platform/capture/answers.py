"""What a model answers, in the form of the plain call: one JSON object for each row.

The runner writes its answers by the same rules, so that a sample taken here can be compared there:

- an array with one entry per row, a Series, a list: `{"prediction": value}`;
- a DataFrame, a dictionary of arrays: one entry for each column;
- a matrix: one entry for each class or output name where they are known, else `{"prediction": [...]}`;
- a list of dictionaries: each as it is.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from model_platform.capture.plain_values import plain_value
from model_platform_core.errors import InvalidModelError

PREDICTION = "prediction"


@dataclass(frozen=True)
class Answers:
    """Answers to some rows. `kind` is how the notebook held them: array, series, frame, list; `dtypes` by output."""

    records: list[dict[str, Any]]
    dtypes: dict[str, str]
    kind: str
    columns: dict[str, Any] = field(repr=False)

    @property
    def names(self) -> list[str]:
        """The outputs' names."""
        return list(self.dtypes)


def encode_answers(result: Any, rows: int, classes: Sequence[str] | None = None) -> Answers:
    """Bring what a model returned into the form of the plain call.

    Parameters
    ----------
    rows
        How many rows were asked; there must be as many answers.
    classes
        Names for the columns of a matrix.

    Raises
    ------
    InvalidModelError
        If the answer does not have one entry per row, or cannot be written as JSON.
    """
    kind, columns = _columns(result, classes)
    counts = {len(values) for values in columns.values()}
    if counts != {rows}:
        found = counts.pop() if len(counts) == 1 else "none" if not counts else "a different number of"
        raise InvalidModelError(
            f"The model answered {rows} rows with {found} answers; it must give one answer for each row."
        )
    try:
        plain = {name: [plain_value(one) for one in _values(values)] for name, values in columns.items()}
    except TypeError as error:
        raise InvalidModelError(f"The model's answer cannot be published: {error}.") from None
    if kind == "records":
        return Answers(plain[PREDICTION], {}, kind, columns)
    records = [dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)]
    return Answers(records, {name: _dtype(values) for name, values in columns.items()}, kind, columns)


def _columns(result: Any, classes: Sequence[str] | None) -> tuple[str, dict[str, Any]]:
    if hasattr(result, "toarray"):
        result = result.toarray()  # a sparse matrix
    if hasattr(result, "columns") and hasattr(result, "to_dict"):
        return "frame", {str(name): result.iloc[:, at].to_numpy() for at, name in enumerate(result.columns)}
    if hasattr(result, "to_numpy"):
        return "series", {PREDICTION: result.to_numpy()}
    if hasattr(result, "ndim") and hasattr(result, "dtype"):
        return "array", _of_array(result, classes)
    if isinstance(result, Mapping):
        return "frame", {str(name): _listed(values) for name, values in result.items()}
    if isinstance(result, list | tuple):
        return _of_list(list(result), classes)
    raise InvalidModelError(
        f"The model answered with a {type(result).__name__}; it must give an array, a DataFrame or a list, one answer"
        " for each row."
    )


def _of_array(array: Any, classes: Sequence[str] | None) -> dict[str, Any]:
    if array.ndim == 2 and classes and array.shape[1] == len(classes):
        return {name: array[:, position] for position, name in enumerate(classes)}
    return {PREDICTION: array} if array.ndim else {}


def _of_list(values: list[Any], classes: Sequence[str] | None) -> tuple[str, dict[str, Any]]:
    matrices = [value for value in values if getattr(value, "ndim", 0) > 1]
    if values and len(matrices) == len(values) and len({len(one) for one in matrices}) == 1:
        named = classes if classes and len(classes) == len(values) else [f"output_{n}" for n in range(len(values))]
        return "frame", dict(zip(named, values, strict=True))  # scikit-learn: one matrix for each output
    if values and all(isinstance(value, dict) for value in values):
        return "records", {PREDICTION: values}
    return "list", {PREDICTION: values}


def _listed(values: Any) -> Any:
    return values.to_numpy() if hasattr(values, "to_numpy") else values


def _values(values: Any) -> Any:
    """Entries one by one; numpy gives its own dates back, which `plain_value` knows."""
    if getattr(getattr(values, "dtype", None), "kind", None) == "M":
        return list(values)
    return values.tolist() if hasattr(values, "tolist") else values


def _dtype(values: Any) -> str:
    if hasattr(values, "dtype"):
        return "object" if values.dtype.kind in "OSUT" else str(values.dtype)
    kinds = {type(value) for value in values}
    if kinds and kinds <= {int, float} and bool not in kinds:
        return "float64" if float in kinds else "int64"
    return "bool" if kinds == {bool} else "object"


def same_kind_as(kind: str, records: list[dict[str, Any]], dtypes: Mapping[str, str], index: Any = None) -> Any:
    """The answers of an endpoint as the notebook held its own.

    Parameters
    ----------
    index
        The index of the DataFrame that was sent, for Series and DataFrames.
    """
    if kind == "records":
        return records
    if kind == "list":
        return [record[PREDICTION] for record in records]
    numpy = importlib.import_module("numpy")
    columns = {name: _typed(numpy, [record[name] for record in records], dtype) for name, dtype in dtypes.items()}
    if kind == "array":
        if list(columns) == [PREDICTION]:
            return columns[PREDICTION]
        return numpy.column_stack(list(columns.values()))
    pandas = importlib.import_module("pandas")
    if kind == "series":
        return pandas.Series(columns[PREDICTION], index=index, name=PREDICTION)
    return pandas.DataFrame({name: list(values) for name, values in columns.items()}, index=index).astype(
        {name: dtype for name, dtype in dtypes.items() if numpy.ndim(columns[name]) == 1 and dtype != "object"}
    )


def _typed(numpy: Any, values: list[Any], dtype: str) -> Any:
    if dtype == "object":
        array = numpy.empty(len(values), dtype=object)
        array[:] = values
        return array
    kind = numpy.dtype(dtype).kind
    missing = float("nan") if kind == "f" else None
    return numpy.array([missing if value is None else value for value in values], dtype=dtype)
