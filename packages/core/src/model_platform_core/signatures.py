"""What a version accepts and answers, and whether a change of version breaks those who call.

A signature is MLflow's own: lists of columns (`{"name", "type", "required"}`) or tensors
(`{"type": "tensor", "tensor-spec": {"dtype", "shape"}}`).
Source: MLflow's model signature, `mlflow.models.signature.ModelSignature.to_dict`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from model_platform_core.values import Observed

Field = Mapping[str, Any]


class Signature(Observed):
    """Inputs and outputs as MLflow writes them, already parsed from JSON; None where nothing is known."""

    inputs: tuple[dict[str, Any], ...] | None = None
    outputs: tuple[dict[str, Any], ...] | None = None


_WIDENS = {("integer", "long"), ("integer", "double"), ("long", "double"), ("float", "double"), ("integer", "float")}


def _name(field: Field, position: int) -> str:
    return str(field.get("name") or f"#{position + 1}")


def _type(field: Field) -> str:
    if field.get("type") == "tensor":
        spec = field.get("tensor-spec", {})
        shape = " × ".join("any" if size == -1 else str(size) for size in spec.get("shape", []))
        return f"{spec.get('dtype', '?')} tensor {shape}"
    kind = str(field.get("type", "?"))
    if kind == "array":
        return f"array of {_type(field.get('items', {}))}"
    if kind == "map":
        return f"map to {_type(field.get('values', {}))}"
    if kind == "object":
        known = sorted(field.get("properties", {}).items())
        parts = (f"{name}{'' if part.get('required', True) else '?'}: {_type(part)}" for name, part in known)
        return f"object {{{', '.join(parts)}}}"
    return kind


def _by_name(fields: Sequence[Field]) -> dict[str, Field]:
    return {_name(field, position): field for position, field in enumerate(fields)}


def _input_breaks(live: Mapping[str, Field], new: Mapping[str, Field]) -> list[str]:
    found = [f"input {name} is no longer accepted" for name in live if name not in new]
    for name, field in new.items():
        required = field.get("required", True)
        if name not in live:
            if required:
                found.append(f"input {name} ({_type(field)}) is new and required")
            continue
        was, now = _type(live[name]), _type(field)
        if was != now and (was, now) not in _WIDENS:
            found.append(f"input {name} was {was} and is now {now}")
        if required and not live[name].get("required", True):
            found.append(f"input {name} could be null and is now required")
    return found


def _output_breaks(live: Mapping[str, Field], new: Mapping[str, Field]) -> list[str]:
    found = [f"output {name} ({_type(live[name])}) is gone" for name in live if name not in new]
    found += [f"output {name} ({_type(new[name])}) is new" for name in new if name not in live]
    found += [
        f"output {name} was {_type(live[name])} and is now {_type(new[name])}"
        for name in live
        if name in new and _type(live[name]) != _type(new[name])
    ]
    return found


def breaking_changes(live: Signature, new: Signature) -> list[str]:
    """Every way in which `new` refuses what `live` accepts, or answers in another shape; empty if callers notice nothing.

    Where one of the two does not say, that side is not compared.
    """
    found: list[str] = []
    if live.inputs is not None and new.inputs is not None:
        found += _input_breaks(_by_name(live.inputs), _by_name(new.inputs))
    if live.outputs is not None and new.outputs is not None:
        found += _output_breaks(_by_name(live.outputs), _by_name(new.outputs))
    return found
