"""The plain call: a list of records in, a list of records out; one record alone is answered by one record."""

from typing import Any

from model_platform_runner.answers import Answers
from model_platform_runner.inputs import InputContract
from model_platform_runner.protocols.call import Call, decode


def read(body: bytes, _media: str, contract: InputContract) -> Call:
    """Read a list of records, or one record."""
    document = decode(body)
    if isinstance(document, list):
        return Call(contract.read_rows(document), lambda answers: answers.records())
    return Call(contract.read_rows([document]), _alone)


def _alone(answers: Answers) -> Any:
    records = answers.records()
    return records[0] if len(records) == 1 else records
