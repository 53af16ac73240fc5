"""Plain calls of models, to the gateway or to a runner itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model_platform_core.errors import ReadinessFailedError
from model_platform_core.values import canonical_json
from model_platform_server.adapters.local import sockets


def call(address: str | Path, path: str, records: Sequence[Any], token: str | None, seconds: float) -> list[Any]:
    """The answers to records, from `host:port` or a Unix socket.

    Raises
    ------
    ReadinessFailedError
        With status and code, if there are none.
    """
    headers = {"content-type": "application/json"}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    try:
        status, text = sockets.post(address, path, canonical_json(list(records)), headers, timeout=seconds)
    except OSError as error:
        raise ReadinessFailedError(f"The endpoint gave no answer ({type(error).__name__}).") from error
    answer = _json(text)
    if status == 200 and isinstance(answer, list):
        return answer
    code = str(answer.get("code", "no code")) if isinstance(answer, dict) else "no code"
    raise ReadinessFailedError(f"The endpoint answered {status} ({code}) to its own sample.")


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
