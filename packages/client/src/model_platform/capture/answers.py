"""What a model answers, in the form of the plain call: one JSON object for each row.

The runner writes its answers by the same rules, so that a sample taken here can be compared there:

- an array with one entry per row, a Series, a list: `{"prediction": value}`;
- a DataFrame, a dictionary of arrays: one entry for each column;
- a matrix: one entry for each class or output name where they are known, else `{"prediction": [...]}`;
- a list of arrays that each have one entry per row, as scikit-learn gives for several outputs: one entry for each
  array, `output_0` and so on; probabilities within it by class where the classes are known;
- a list of dictionaries: each as it is.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from model_platform.capture.plain_values import plain_key, plain_value
from model_platform_core.errors import InvalidModelError

PREDICTION = "prediction"
_COARSE = ("float128", "float96", "float64", "float32", "float16")  # from the most exact on

Classes = Sequence[str] | Sequence[Sequence[str]]  # of one output, or of each of several


@dataclass(frozen=True)
class Answers:
    """Answers to some rows.

    `kind` is how the notebook held them: array, series, frame, arrays (by name), outputs (a list of arrays), list,
    records; `dtypes` by output. `outputs_or_rows`: the list of arrays may as well be one array for each row.
    """

    records: list[dict[str, Any]]
    dtypes: dict[str, str]
    kind: str
    columns: dict[str, Any] = field(repr=False)
    outputs_or_rows: bool = False

    @property
    def names(self) -> list[str]:
        """The outputs' names."""
        return list(self.dtypes)

    @property
    def tolerances(self) -> dict[str, str]:
        """For each output, the numpy dtype that says how exactly it is to be met."""
        if self.kind == "records":
            (rows,) = self.columns.values()
            names = dict.fromkeys(name for row in rows for name in row)
            found = {plain_key(name): _coarsest([row.get(name) for row in rows]) for name in names}
            return {name: dtype for name, dtype in found.items() if dtype}
        return {name: _numpy_name(values, self.dtypes[name]) for name, values in self.columns.items()}


def encode_answers(
    result: Any, rows: int, classes: Classes | None = None, *, as_outputs: bool | None = None
) -> Answers:
    """Bring what a model returned into the form of the plain call.

    Parameters
    ----------
    rows
        How many rows were asked; there must be as many answers.
    classes
        Names for the columns of a matrix; one list of them for each output where there are several.
    as_outputs
        Whether a list of as many arrays as there are rows holds one array for each output, or one for each row.

    Raises
    ------
    InvalidModelError
        If the answer does not have one entry per row, or cannot be written as JSON.
    """
    kind, columns = _columns(result, rows, classes, as_outputs)
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
    if kind == "outputs" and classes:
        plain = {name: _by_class(values, of_output(classes, at)) for at, (name, values) in enumerate(plain.items())}
    records = [dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)]
    either = isinstance(result, list | tuple) and _may_be_either(list(result), rows)
    return Answers(records, {name: _dtype(values) for name, values in columns.items()}, kind, columns, either)


def of_output(classes: Classes, position: int) -> Sequence[str] | None:
    """The classes of one of several outputs, where they are known for each."""
    found = classes[position] if position < len(classes) else None
    return None if isinstance(found, str) else found


def _columns(result: Any, rows: int, classes: Classes | None, as_outputs: bool | None) -> tuple[str, dict[str, Any]]:
    if hasattr(result, "toarray"):
        result = result.toarray()  # a sparse matrix
    if hasattr(result, "columns") and hasattr(result, "to_dict"):
        return "frame", {str(name): result.iloc[:, at] for at, name in enumerate(result.columns)}
    if hasattr(result, "to_numpy"):
        return "series", {PREDICTION: result}
    if hasattr(result, "__array__") and not isinstance(result, list | tuple):
        return "array", _of_array(importlib.import_module("numpy").asarray(result), classes)
    if isinstance(result, Mapping):
        return "arrays", {str(name): values for name, values in result.items()}
    if isinstance(result, list | tuple):
        return _of_list(list(result), rows, as_outputs)
    raise InvalidModelError(
        f"The model answered with a {type(result).__name__}; it must give an array, a DataFrame or a list, one answer"
        " for each row."
    )


def _of_array(array: Any, classes: Classes | None) -> dict[str, Any]:
    names = [one for one in classes or () if isinstance(one, str)]
    if array.ndim == 2 and names and array.shape[1] == len(names):
        return {name: array[:, position] for position, name in enumerate(names)}
    return {PREDICTION: array} if array.ndim else {}


def _of_list(values: list[Any], rows: int, as_outputs: bool | None) -> tuple[str, dict[str, Any]]:
    if _each_has_all_rows(values, rows):
        deep = all(value.ndim > 1 for value in values)
        if deep if as_outputs is None and len(values) == rows else as_outputs is not False:
            return "outputs", {f"output_{position}": value for position, value in enumerate(values)}
    if values and all(isinstance(value, dict) for value in values):
        return "records", {PREDICTION: values}
    return "list", {PREDICTION: values}


def _each_has_all_rows(values: list[Any], rows: int) -> bool:
    return bool(values) and all(getattr(value, "ndim", 0) and len(value) == rows for value in values)


def _may_be_either(values: list[Any], rows: int) -> bool:
    return len(values) == rows and _each_has_all_rows(values, rows)


def _by_class(values: list[Any], classes: Sequence[str] | None) -> list[Any]:
    if not classes or not all(isinstance(value, list) and len(value) == len(classes) for value in values):
        return values
    return [dict(zip(classes, value, strict=True)) for value in values]


def _values(values: Any) -> Any:
    """Entries one by one; numpy gives its own dates back, which `plain_value` knows."""
    if getattr(getattr(values, "dtype", None), "kind", None) == "M" and hasattr(values, "ndim"):
        return list(values)
    return values.tolist() if hasattr(values, "tolist") else list(values)


def _dtype(values: Any) -> str:
    dtype = getattr(values, "dtype", None)
    if dtype is not None:
        return "object" if getattr(dtype, "kind", "O") in "OSUT" and not hasattr(values, "iloc") else str(dtype)
    kinds = {type(value) for value in values}
    if kinds and kinds <= {int, float} and bool not in kinds:
        return "float64" if float in kinds else "int64"
    return "bool" if kinds == {bool} else "object"


def _numpy_name(values: Any, dtype: str) -> str:
    """Every library's numbers under numpy's names: `Float64`, `double[pyarrow]` are `float64`."""
    found: Any = getattr(values, "dtype", None)
    if getattr(found, "kind", "") == "f":
        return f"float{8 * found.itemsize}"
    return _coarsest(values) or dtype if dtype == "object" else dtype


def _coarsest(value: Any) -> str | None:
    """The least exact of the float dtypes anywhere within a value."""
    dtype = getattr(value, "dtype", None)
    if dtype is not None and getattr(dtype, "kind", "O") != "O":
        return f"float{8 * dtype.itemsize}" if dtype.kind == "f" else None
    inner = value.values() if isinstance(value, Mapping) else value
    if isinstance(value, str | bytes) or not hasattr(inner, "__iter__"):
        return None
    return max(filter(None, map(_coarsest, inner)), key=_COARSE.index, default=None)


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
    values = {name: [record[name] for record in records] for name in dtypes}
    if kind in {"series", "frame"}:
        pandas = importlib.import_module("pandas")
        columns = {name: _series(pandas, values[name], dtype, index) for name, dtype in dtypes.items()}
        return columns[PREDICTION].rename(PREDICTION) if kind == "series" else pandas.DataFrame(columns, index=index)
    numpy = importlib.import_module("numpy")
    arrays = {name: _array(numpy, values[name], dtype) for name, dtype in dtypes.items()}
    if kind == "arrays":
        return arrays
    if kind == "outputs":
        return list(arrays.values())
    return arrays[PREDICTION] if list(arrays) == [PREDICTION] else numpy.column_stack(list(arrays.values()))


def _array(numpy: Any, values: list[Any], dtype: str) -> Any:
    if dtype == "object":
        array = numpy.empty(len(values), dtype=object)
        array[:] = values
        return array
    if values and isinstance(values[0], dict):  # by class
        values = [list(value.values()) for value in values]
    kind = numpy.dtype(dtype).kind
    if kind == "M":
        return numpy.array(["NaT" if value is None else value.removesuffix("Z") for value in values], dtype=dtype)
    missing = float("nan") if kind == "f" else None
    return numpy.array([missing if value is None else value for value in values], dtype=dtype)


def _series(pandas: Any, values: list[Any], dtype: str, index: Any) -> Any:
    if dtype.startswith(("datetime64", "timestamp")):
        moments = pandas.DatetimeIndex([pandas.Timestamp(value) for value in values], tz="UTC")
        aware = moments if "," in dtype or "tz=" in dtype else moments.tz_localize(None)
        return pandas.Series(aware, index=index).astype(dtype)
    try:
        return pandas.Series(values, index=index, dtype=dtype)
    except (TypeError, ValueError):
        return pandas.Series(values, index=index)
