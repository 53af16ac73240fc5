"""The Open Inference Protocol (V2) over REST: named tensors in, named tensors out."""

import math
from typing import Any

import numpy as np

from model_platform_runner.answers import Answers, datatype, encode
from model_platform_runner.batch import Batch
from model_platform_runner.inputs import InputContract, NamedColumns
from model_platform_runner.protocols.call import Call, Read, decode_object, unfit
from model_platform_runner.tensors import Tensors
from model_platform_runner.values import Array, object_array

DATATYPES = frozenset(
    {"BOOL", "BYTES", "FP16", "FP32", "FP64"} | {f"{s}INT{bits}" for s in ("", "U") for bits in (8, 16, 32, 64)}
)


def reader(model: str, version: str) -> Read:
    """Return the protocol's reader for a model of this name and version."""

    def read(body: bytes, _media: str, contract: InputContract) -> Call:
        document = decode_object(body)
        batch = _read_tensors(document.get("inputs"), contract)
        wanted = _wanted_outputs(document.get("outputs"))

        def write(answers: Answers) -> Any:
            answer = {"model_name": model, "model_version": version, "outputs": _outputs(answers, wanted)}
            identity = document.get("id")
            return {"id": identity, **answer} if isinstance(identity, str) else answer

        return Call(batch, write)

    return read


def _read_tensors(inputs: Any, contract: InputContract) -> Batch:
    if not isinstance(inputs, list) or not inputs:
        raise unfit("'inputs' must be a list of tensors.")
    tensors = {}
    for position, tensor in enumerate(inputs):
        name, values = _read_tensor(tensor, position)
        if name in tensors:
            raise unfit(f"Input {position} has the name of another.")
        tensors[name] = values
    if isinstance(contract, Tensors):
        return contract.read_columns(tensors)
    if len(tensors) > 1 or (isinstance(contract, NamedColumns) and tensors.keys() <= contract.names):
        return contract.read_columns({name: _column(values) for name, values in tensors.items()})
    (rows,) = tensors.values()
    return contract.read_rows(rows if isinstance(contract, NamedColumns) else _column(rows))


def _read_tensor(tensor: Any, position: int) -> tuple[str, list[Any]]:
    """Return a tensor's name, and its data nested as its shape says."""
    if not isinstance(tensor, dict) or not isinstance(name := tensor.get("name"), str):
        raise unfit(f"Input {position} must be an object with name, shape, datatype and data.")
    shape, data = tensor.get("shape"), tensor.get("data")
    if not isinstance(shape, list) or not shape or any(type(size) is not int or size < 1 for size in shape):
        raise unfit(f"The shape of input {position} must be a list of whole numbers above 0.")
    if tensor.get("datatype") not in DATATYPES:
        raise unfit(f"The datatype of input {position} must be one of {', '.join(sorted(DATATYPES))}.")
    if not isinstance(data, list):
        raise unfit(f"The data of input {position} must be a list; binary data are not supported.")
    flat = _flat(data, len(shape))
    if len(flat) != math.prod(shape):
        raise unfit(f"Input {position} has {len(flat)} values, but its shape says {math.prod(shape)}.")
    return name, _nested(flat, shape)


def _flat(data: list[Any], depth: int) -> list[Any]:
    for _ in range(depth - 1):
        if not data or not all(isinstance(each, list) for each in data):
            break
        data = [value for each in data for value in each]
    return data


def _nested(flat: list[Any], shape: list[int]) -> list[Any]:
    for size in reversed(shape[1:]):
        flat = [flat[start : start + size] for start in range(0, len(flat), size)]
    return flat


def _column(values: list[Any]) -> list[Any]:
    """Return the values of a tensor [n] or [n, 1], one per row; deeper ones are rows of lists."""
    return [each[0] if isinstance(each, list) and len(each) == 1 else each for each in values]


def _wanted_outputs(outputs: Any) -> list[str] | None:
    if outputs is None or outputs == []:
        return None
    names: list[Any] = (
        [each.get("name") for each in outputs if isinstance(each, dict)] if isinstance(outputs, list) else [None]
    )
    if len(names) != len(outputs) or not all(isinstance(name, str) for name in names):
        raise unfit("'outputs' must be a list of objects with a name.")
    return names


def _outputs(answers: Answers, wanted: list[str] | None) -> list[dict[str, Any]]:
    tensors = answers.tensors()
    if wanted is not None:
        if unknown := [name for name in wanted if name not in tensors]:
            raise unfit(f"There is no output '{unknown[0][:60]}'; there are: {', '.join(tensors)}.")
        tensors = {name: tensors[name] for name in wanted}
    return [_output(name, array) for name, array in tensors.items()]


def _output(name: str, array: Array) -> dict[str, Any]:
    array = typed(array)
    return {"name": name, "shape": array.shape, "datatype": datatype(array), "data": array.reshape(-1)}


def typed(array: Array) -> Array:
    """Find the datatype of Python objects; BYTES are texts, so what is neither text nor missing becomes its JSON."""
    if array.dtype != object:
        return array
    kinds = set(map(type, array.flat))
    if kinds <= {int, float} or kinds <= {bool}:
        return np.array(array.tolist())
    return object_array([_text(each) for each in array.flat]).reshape(array.shape)


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    written = encode(value).decode()
    return None if written == "null" else written  # missing, in whatever form the model has it
