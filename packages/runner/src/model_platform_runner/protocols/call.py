"""What all protocols share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from model_platform_runner.answers import Answers
from model_platform_runner.batch import Batch
from model_platform_runner.errors import CallError, malformed
from model_platform_runner.inputs import InputContract


@dataclass(slots=True)
class Call:
    """A request that was read: its rows, and how to write the answers to them."""

    batch: Batch
    write: Callable[[Answers], Any]


Read = Callable[[bytes, str, InputContract], Call]  # body, media type, what the model takes


def decode(body: bytes) -> Any:
    """Parse JSON, strictly: literal NaN and Infinity, and numbers beyond a float's range, are refused (400)."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        what = "is empty" if not body.strip() else f"is not JSON (line {error.lineno}, column {error.colno})"
        hint = "; write a missing value as null" if b"NaN" in body else ""
        raise malformed(f"The body {what}{hint}.") from None


def decode_object(body: bytes) -> dict[str, Any]:
    """Parse JSON that must be an object."""
    document = decode(body)
    if not isinstance(document, dict):
        raise unfit("The body must be a JSON object.")
    return document


def read_inputs(given: Any, name: str, contract: InputContract) -> Batch:
    """Read rows (a list) or whole columns (an object of lists); the name is for the refusal."""
    if isinstance(given, list):
        return contract.read_rows(given)
    if isinstance(given, dict) and given and all(isinstance(values, list) for values in given.values()):
        return contract.read_columns(given)
    raise unfit(f"'{name}' must be a list of rows, or an object with a list for each column.")


def unfit(message: str) -> CallError:
    """Return the refusal of JSON that is not in the form of the protocol (422)."""
    return CallError(422, "invalid_input", message)
