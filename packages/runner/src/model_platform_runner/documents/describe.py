"""What an endpoint takes and gives, as JSON Schema and as V2 tensors: the common ground of all documents."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from model_platform_runner.answers import PREDICTION, Answers, datatype, encode
from model_platform_runner.config import Config
from model_platform_runner.description import Description
from model_platform_runner.inputs import Field, InputContract, NamedColumns, UnnamedColumn
from model_platform_runner.predictor import Predictor
from model_platform_runner.protocols.inference import typed
from model_platform_runner.tensors import Tensor, Tensors
from model_platform_runner.values import Spec, is_required

Schema = dict[str, Any]

_SCALARS: dict[str, Schema] = {
    "double": {"type": "number"},
    "float": {"type": "number"},
    "long": {"type": "integer"},
    "integer": {"type": "integer"},
    "boolean": {"type": "boolean"},
    "string": {"type": "string"},
    "datetime": {"type": "string", "format": "date-time"},
    "binary": {"type": "string", "contentEncoding": "base64"},
}
_DATATYPES = {"double": "FP64", "float": "FP32", "long": "INT64", "integer": "INT32", "boolean": "BOOL"}
_BY_KIND = {"b": "boolean", "f": "number", "i": "integer", "u": "integer"}


@dataclass(frozen=True)
class Interface:
    """Everything that the documents tell.

    ``example`` are rows of the plain call, ``answer`` the model's answer to them as far as it was asked; the schemas
    are those of one row and of its answer; the tensors are V2's metadata.
    """

    config: Config
    flavor: str
    contract: InputContract
    seen: dict[str, dict[str, Any]]
    example: list[Any]
    answer: list[Any] | None
    row_schema: Schema
    answer_schema: Schema
    input_tensors: list[dict[str, Any]]
    output_tensors: list[dict[str, Any]]


def describe(
    config: Config, predictor: Predictor, description: Description, example: list[Any], answers: Answers | None
) -> Interface:
    """Bring together what is known of inputs and outputs; the answers are the model's to the example, if it was asked."""
    contract = predictor.contract
    seen = description.published.inputs
    answer = None if answers is None else json.loads(encode(answers.records()))
    return Interface(
        config=config,
        flavor=predictor.flavor,
        contract=contract,
        seen=seen,
        example=example,
        answer=answer,
        row_schema=row_schema(contract, seen),
        answer_schema=_schema_of(answer[0]) if answer else _answer_schema(description),
        input_tensors=_input_tensors(contract),
        output_tensors=_tensors_of(answers) if answers else _output_tensors(description),
    )


def seen_in_training(seen: dict[str, Any]) -> str:
    """Return what publish noted of a column, in words: its vocabulary or its range, rounded; or nothing."""
    if seen.get("values"):
        return ", ".join(str(each) for each in seen["values"])
    if seen.get("minimum") is not None and seen.get("maximum") is not None:
        return f"{seen['minimum']:g} to {seen['maximum']:g}"
    return ""


def type_name(field: Field) -> str:
    """Return a column's type in the words of JSON."""
    return json_type(_field_schema(field.spec))


def json_type(schema: Schema) -> str:
    """Return a schema's type in words."""
    if schema.get("format") == "date-time":
        return "date or date-time"
    if "contentEncoding" in schema:
        return "base64 string"
    kind = schema.get("type", "any")
    names = {"integer": "whole number", "array": "list"}
    return " or ".join(names.get(each, each) for each in ([kind] if isinstance(kind, str) else kind))


def row_schema(contract: InputContract, seen: dict[str, dict[str, Any]]) -> Schema:
    """Return the JSON Schema of one row.

    What was seen in training is told as description, not as a constraint: the model answers beyond it as well.
    """
    if isinstance(contract, NamedColumns):
        return {
            "type": "object",
            "properties": {each.name: _column_schema(each, seen.get(each.name, {})) for each in contract.fields},
            "required": [each.name for each in contract.fields if each.required],
            "additionalProperties": False,
        }
    if isinstance(contract, UnnamedColumn):
        return _value_schema(contract.field)
    if isinstance(contract, Tensors):
        schemas = {each.name: _tensor_schema(each) for each in contract.tensors}
        if not contract.tensors[0].name:
            return next(iter(schemas.values()))
        return {"type": "object", "properties": schemas, "required": list(schemas), "additionalProperties": False}
    return {"type": ["object", "array"]}


def _column_schema(field: Field, seen: dict[str, Any]) -> Schema:
    schema = _value_schema(field)
    seen_there = seen_in_training(seen)
    told = " ".join([f"In training: {seen_there}."] * bool(seen_there) + [f"{note}." for note in notes(field)])
    return {**schema, "description": told} if told else schema


def notes(field: Field) -> list[str]:
    """Return what a caller should know of a column beside its type: its time zone, that it is the rows' index."""
    column = field.column
    if column is None:
        return []
    of_index = ["The index of the rows"] if field.of_index else []
    return of_index + ([f"Taken in the time zone {column.zone}"] if column.zone else [])


def _value_schema(field: Field) -> Schema:
    """Return the schema of a column's values, with the bounds of its dtype."""
    schema = _field_schema(field.spec)
    if field.column is not None and field.column.bounds is not None and schema.get("type") == "integer":
        low, high = field.column.bounds
        schema |= {"minimum": low, "maximum": high}
    if not field.required and "type" in schema:
        schema = {**schema, "type": [schema["type"], "null"]}
    return schema


def _field_schema(spec: Spec) -> Schema:
    kind = spec["type"]
    if kind == "array":
        return {"type": "array", "items": _field_schema(spec["items"])}
    if kind == "object":
        properties = spec["properties"]
        required = [name for name, each in properties.items() if is_required(each)]
        schemas = {name: _field_schema(each) for name, each in properties.items()}
        return {"type": "object", "properties": schemas, "required": required, "additionalProperties": False}
    if kind == "map":
        return {"type": "object", "additionalProperties": _field_schema(spec["values"])}
    return dict(_SCALARS.get(kind, {}))


def _tensor_schema(tensor: Tensor) -> Schema:
    schema = entry_schema(tensor)
    for size in reversed(tensor.shape[1:]):
        bounds = {"minItems": size, "maxItems": size} if size >= 0 else {}
        schema = {"type": "array", "items": schema, **bounds}
    return schema


def entry_schema(tensor: Tensor) -> Schema:
    """Return the schema of one entry of an array."""
    if tensor.kind == "O":
        return {"type": ["number", "string", "boolean", "null"]}
    kind = _BY_KIND.get(tensor.kind, "string")
    schema: Schema = {"type": [kind, "null"] if tensor.nullable else kind}
    return {**schema, "format": "date-time"} if tensor.kind == "M" else schema


def _schema_of(value: Any) -> Schema:
    """Return the schema of an answer like this one."""
    if isinstance(value, dict):
        properties = {name: _schema_of(each) for name, each in value.items()}
        return {"type": "object", "properties": properties, "required": list(properties)}
    if isinstance(value, list):
        return {"type": "array", "items": _schema_of(value[0]) if value else {}}
    if isinstance(value, bool):
        return {"type": "boolean"}
    if isinstance(value, int):
        return {"type": "integer"}
    if isinstance(value, float):
        return {"type": ["number", "null"]}  # a model's NaN becomes null
    return {"type": "string"} if isinstance(value, str) else {}


def _answer_schema(description: Description) -> Schema:
    """Return the schema of an answer's record by the signature's outputs, as far as they tell."""
    properties = {name: _field_schema(spec) for name, spec in _outputs(description)}
    return {"type": "object", "properties": properties, "required": list(properties)} if properties else {}


def _outputs(description: Description) -> list[tuple[str, Spec]]:
    outputs = description.outputs or []
    if len(outputs) == 1 and "name" not in outputs[0]:
        return [(PREDICTION, _spec_of(outputs[0]))]
    return [(str(each.get("name", position)), _spec_of(each)) for position, each in enumerate(outputs)]


def _spec_of(output: Spec) -> Spec:
    if output["type"] != "tensor":
        return output
    tensor = output["tensor-spec"]
    kind = np.dtype(tensor["dtype"]).kind
    spec: Spec = {"type": {"b": "boolean", "f": "double", "i": "long", "u": "long"}.get(kind, "any")}
    for _ in tensor["shape"][1:]:
        spec = {"type": "array", "items": spec}
    return spec


def _input_tensors(contract: InputContract) -> list[dict[str, Any]]:
    if isinstance(contract, NamedColumns):
        return [_tensor(each.name, _DATATYPES.get(each.type, "BYTES"), [-1]) for each in contract.fields]
    if isinstance(contract, Tensors):
        dtypes = [np.empty(0, dtype=each.dtype) for each in contract.tensors]
        return [
            _tensor(each.name or "input", datatype(dtype), list(each.shape))
            for each, dtype in zip(contract.tensors, dtypes, strict=True)
        ]
    kind = contract.spec["type"] if isinstance(contract, UnnamedColumn) else "any"
    return [_tensor("input", _DATATYPES.get(kind, "BYTES"), [-1])]


def _tensors_of(answers: Answers) -> list[dict[str, Any]]:
    arrays = {name: typed(array) for name, array in answers.tensors().items()}
    return [_tensor(name, datatype(array), [-1, *array.shape[1:]]) for name, array in arrays.items()]


def _output_tensors(description: Description) -> list[dict[str, Any]]:
    return [
        _tensor(name, _DATATYPES.get(_innermost(spec)["type"], "BYTES"), [-1] * (1 + _depth(spec)))
        for name, spec in _outputs(description)
    ]


def _innermost(spec: Spec) -> Spec:
    return _innermost(spec["items"]) if spec["type"] == "array" else spec


def _depth(spec: Spec) -> int:
    return 1 + _depth(spec["items"]) if spec["type"] == "array" else 0


def _tensor(name: str, kind: str, shape: list[int]) -> dict[str, Any]:
    return {"name": name, "datatype": kind, "shape": shape}
