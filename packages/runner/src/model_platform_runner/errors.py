"""The two ways in which a runner says no: to who starts it, and to who calls it."""

from collections.abc import Sequence
from typing import TypedDict


class StartError(Exception):
    """The runner cannot serve this version. The message is one sentence and holds no data.

    Codes: ``failed_integrity``, ``failed_import``, ``failed_start``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class _Problem(TypedDict):
    field: str
    problem: str


class Problem(_Problem, total=False):
    """What is wrong with one field of a request; ``row`` counts from 0 and is left out where it does not apply."""

    row: int


class CallError(Exception):
    """A request that gets no answer, with the HTTP status and stable code that tell its caller why.

    Neither the message nor the problems ever repeat a value of the request.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        fields: Sequence[Problem] = (),
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.fields = tuple(fields)
        self.headers = tuple(headers)

    def document(self) -> dict[str, object]:
        """Return the body that all protocols use: ``error``, ``code`` and, where known, ``fields``."""
        document: dict[str, object] = {"error": self.message, "code": self.code}
        if self.fields:
            document["fields"] = list(self.fields)
        return document


def invalid_input(message: str, fields: Sequence[Problem] = ()) -> CallError:
    """Return the refusal of rows that do not fit the model's signature (422)."""
    return CallError(422, "invalid_input", message, fields=fields)


def malformed(message: str) -> CallError:
    """Return the refusal of a body that is not JSON, or not CSV (400)."""
    return CallError(400, "invalid_body", message)
