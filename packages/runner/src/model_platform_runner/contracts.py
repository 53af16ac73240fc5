"""From a signature, and what publish noted beside it, to the contract that every call's rows go through."""

from typing import Any

from model_platform_runner.columns import column
from model_platform_runner.description import Rows
from model_platform_runner.inputs import WHOLE, AnyRows, Field, InputContract, NamedColumns, Records, UnnamedColumn
from model_platform_runner.tensors import Tensor, Tensors
from model_platform_runner.values import Spec, is_required


def input_contract(signature: list[dict[str, Any]] | None, row_limit: int, rows: Rows | None = None) -> InputContract:
    """Return the contract of a signature's inputs.

    Parameters
    ----------
    signature
        MLflow's own JSON, parsed; None for a model without signature.
    rows
        How the notebook held its rows, as far as publish has told.
    """
    if not signature:
        return AnyRows(row_limit)
    held = rows.columns if rows else {}
    if signature[0]["type"] == "tensor":
        return Tensors([_tensor(each, held.get(each.get("name", WHOLE))) for each in signature], row_limit)
    if len(signature) == 1 and "name" not in signature[0]:
        spec = signature[0]
        required = is_required(spec) and not held.get(WHOLE, {}).get("nullable", False)
        return UnnamedColumn(Field(WHOLE, spec, required, column(spec, held[WHOLE]) if rows else None), row_limit)
    fields = [_field(str(each.get("name", position)), each, rows) for position, each in enumerate(signature)]
    return (Records if rows and rows.form == "records" else NamedColumns)(fields, row_limit)


def _field(name: str, spec: Spec, rows: Rows | None) -> Field:
    held = column(spec, rows.columns[name]) if rows else None
    return Field(name, spec, is_required(spec), held, of_index=bool(rows and name in rows.index))


def _tensor(document: dict[str, Any], described: dict[str, Any] | None) -> Tensor:
    spec = document["tensor-spec"]
    return Tensor(document.get("name", WHOLE), spec["dtype"], tuple(spec["shape"]), described)
