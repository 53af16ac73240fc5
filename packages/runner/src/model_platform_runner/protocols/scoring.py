"""MLflow's scoring protocol, as ``mlflow models serve`` speaks it at ``/invocations``: JSON in four forms, or CSV."""

import csv
import io
from typing import Any

from model_platform_runner.batch import Batch
from model_platform_runner.errors import malformed
from model_platform_runner.inputs import InputContract, NamedColumns
from model_platform_runner.protocols.call import Call, Read, decode_object, read_inputs, unfit
from model_platform_runner.values import Misfit, Spec, read_values

CSV = "text/csv"
_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


def reader(params: dict[str, Spec]) -> Read:
    """Return the protocol's reader; ``params`` are those of the model's signature."""

    def read(body: bytes, media: str, contract: InputContract) -> Call:
        batch = _read_csv(body, contract) if media == CSV else _read_json(body, contract, params)
        return Call(batch, lambda answers: {"predictions": answers.predictions()})

    return read


def _read_json(body: bytes, contract: InputContract, params: dict[str, Spec]) -> Batch:
    document = decode_object(body)
    forms = [form for form in _FORMS if form in document]
    if len(forms) != 1:
        raise unfit(f"The body must have exactly one of {', '.join(_FORMS)}.")
    given = document[forms[0]]
    batch = _read_split(given, contract) if forms[0] == "dataframe_split" else read_inputs(given, forms[0], contract)
    batch.params = _read_params(document.get("params"), params)
    return batch


def _read_split(given: Any, contract: InputContract) -> Batch:
    if not isinstance(given, dict) or not isinstance(rows := given.get("data"), list):
        raise unfit("'dataframe_split' must be an object with 'columns' and 'data'.")
    names = given.get("columns")
    if not isinstance(names, list):
        return contract.read_rows(rows)
    if any(not isinstance(row, list) or len(row) != len(names) for row in rows):
        raise unfit("Each row of 'data' must be a list with a value for each of 'columns'.")
    if not rows or not isinstance(contract, NamedColumns):
        return contract.read_rows(rows)
    return contract.read_columns(dict(zip(map(str, names), map(list, zip(*rows, strict=True)), strict=True)))


def _read_params(given: Any, known: dict[str, Spec]) -> dict[str, Any] | None:
    if given is None:
        return None
    if not isinstance(given, dict):
        raise unfit("'params' must be an object.")
    if given.keys() - known.keys():
        raise unfit(f"'params' may have: {', '.join(known)}." if known else "This model takes no 'params'.")
    return {name: _read_param(value, known[name]) for name, value in given.items()} or None


def _read_param(value: Any, spec: Spec) -> Any:
    """Return a parameter's value; a ``shape`` in the signature means a list."""
    values = value if spec.get("shape") else [value]
    if not isinstance(values, list):
        raise unfit(f"The parameter '{spec['name']}' must be a list.")
    try:
        read = read_values(spec, values, nullable=False).tolist()
    except Misfit as misfit:
        raise unfit(f"The parameter '{spec['name']}' {misfit.problem}.") from None
    return read if spec.get("shape") else read[0]


def _read_csv(body: bytes, contract: InputContract) -> Batch:
    if not isinstance(contract, NamedColumns):
        raise unfit("This model takes no CSV: its input has no named columns.")
    try:
        names, *rows = [
            row for row in csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True) if row
        ]
    except (UnicodeDecodeError, csv.Error, ValueError):
        raise malformed("The body is not CSV with a line of column names.") from None
    if any(len(row) != len(names) for row in rows):
        raise malformed("The lines of the CSV have different numbers of values.")
    types = {each.name: (each.type, each.required) for each in contract.fields}
    columns = {
        name: [_cell(row[position], *types.get(name, ("string", True))) for row in rows]
        for position, name in enumerate(names)
    }
    return contract.read_columns(columns)


def _cell(text: str, kind: str, required: bool) -> Any:
    """Return the JSON value that a cell stands for; what is no number stays text, and is then refused as such."""
    if text == "" and not (required and kind == "string"):
        return None
    if kind == "boolean":
        return {"true": True, "false": False}.get(text.strip().lower(), text)
    if kind not in ("double", "float", "long", "integer"):
        return text
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return text
    return number if abs(number) != float("inf") and number == number else text  # noqa: PLR0124 - NaN differs from itself
