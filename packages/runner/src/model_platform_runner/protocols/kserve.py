"""KServe's V1 protocol: ``{"instances": […]}`` in, ``{"predictions": […]}`` out."""

from model_platform_runner.inputs import InputContract
from model_platform_runner.protocols.call import Call, decode_object, read_inputs, unfit


def read(body: bytes, _media: str, contract: InputContract) -> Call:
    """Read instances: objects by column name, or lists in the order of the signature."""
    document = decode_object(body)
    name = "instances" if "instances" in document else "inputs"
    if name not in document:
        raise unfit("The body must have 'instances', a list of rows.")
    return Call(read_inputs(document[name], name, contract), lambda answers: {"predictions": answers.predictions()})
