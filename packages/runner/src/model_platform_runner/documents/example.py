"""A row to show and to try: the publisher's own example, or one made from the signature. Never an observed row."""

from typing import Any

from model_platform_runner.description import Published
from model_platform_runner.errors import CallError
from model_platform_runner.inputs import Field, InputContract, NamedColumns, UnnamedColumn
from model_platform_runner.tensors import Tensor, Tensors
from model_platform_runner.values import Spec

_BY_TYPE: dict[str, Any] = {
    "double": 1.5,
    "float": 1.5,
    "long": 1,
    "integer": 1,
    "boolean": True,
    "string": "text",
    "datetime": "2024-01-31T12:00:00Z",
    "binary": "AA==",
    "any": 1,
}


def example_rows(contract: InputContract, published: Published) -> list[Any]:
    """Return rows for documentation and warm-up; an example that does not fit its own signature is not used."""
    if published.example:
        try:
            contract.read_rows(published.example)
        except CallError:
            pass
        else:
            return published.example
    return [_row(contract, published.inputs)]


def _row(contract: InputContract, seen: dict[str, dict[str, Any]]) -> Any:
    if isinstance(contract, NamedColumns):
        return {each.name: _value(each, seen.get(each.name, {})) for each in contract.fields}
    if isinstance(contract, UnnamedColumn):
        return _by_spec(contract.spec)
    if isinstance(contract, Tensors):
        rows = {each.name: _tensor_row(each) for each in contract.tensors}
        return rows if contract.tensors[0].name else next(iter(rows.values()))
    return {}


def _value(field: Field, seen: dict[str, Any]) -> Any:
    """Return a common value: the first of a vocabulary, the middle of a range."""
    if seen.get("values"):
        return seen["values"][0]
    low, high = seen.get("minimum"), seen.get("maximum")
    if low is not None and high is not None and field.type in ("double", "float", "long", "integer"):
        middle = (low + high) / 2
        return round(middle) if field.type in ("long", "integer") else float(f"{middle:.4g}")
    return _by_spec(field.spec)


def _by_spec(spec: Spec) -> Any:
    kind = spec["type"]
    if kind == "array":
        return [_by_spec(spec["items"])]
    if kind == "object":
        return {name: _by_spec(each) for name, each in spec["properties"].items()}
    if kind == "map":
        return {"key": _by_spec(spec["values"])}
    return _BY_TYPE.get(kind)


def _tensor_row(tensor: Tensor) -> Any:
    moment = _BY_TYPE["datetime"]
    value: Any = {"b": True, "f": 0.5, "M": moment}.get(tensor.kind, 1 if tensor.kind in "iu" else "text")
    for size in reversed(tensor.shape[1:]):
        value = [value] * max(size, 1)
    return value
