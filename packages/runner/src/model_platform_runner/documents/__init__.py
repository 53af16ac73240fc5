"""What an endpoint says about itself: a page, a schema, OpenAPI, metadata. Made once, at the start."""

from typing import Any

from model_platform_runner.answers import Answers
from model_platform_runner.config import Config
from model_platform_runner.description import Description
from model_platform_runner.http import Response, json_response
from model_platform_runner.inputs import InputContract


def documents(
    config: Config, contract: InputContract, description: Description, example: list[Any], answers: Answers | None
) -> dict[str, Response]:
    """Return all documents by path."""
    return dict.fromkeys(("/", "/schema", "/openapi.json", "/v2/models"), json_response({"example": example}))
