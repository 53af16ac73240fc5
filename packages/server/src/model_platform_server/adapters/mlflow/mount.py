"""MLflow's application under `/mlflow`: behind an allow-list of routes, and only when it is ready.

What the list does not name does not exist for clients: assistant, gateway, scorers, webhooks, jobs, workspaces, data sets
for evaluation, the registry of MCP servers, OTLP. A test names every route of MLflow's as open or shut.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

PREFIX = "/mlflow"

_API = r"/(?:ajax-)?api/2\.0/mlflow"
_OPEN = re.compile(
    "|".join(
        (
            r"/",
            r"/health",
            r"/version",
            r"/static-files/.+",
            r"/graphql",
            r"/get-artifact",
            r"/model-versions/get-artifact",
            rf"{_API}/(?:experiments|runs|metrics|artifacts|logged-models|registered-models|model-versions)(?:/.+)?",
            rf"{_API}/(?:upload-artifact|get-trace-artifact)",
            rf"{_API}-artifacts/(?:artifacts|mpu|presigned)(?:/.*)?",
            rf"{_API}/traces(?:/.*)?",
            r"/(?:ajax-)?api/3\.0/mlflow/(?:traces|get-trace-artifact)(?:/.*)?",
            r"/(?:ajax-)?api/3\.0/mlflow/server-info",
        )
    )
)
_SHUT = re.compile(
    "|".join(
        (
            rf"{_API}/runs/create-promptlab-run",
            rf"{_API}/artifacts/presigned-(?:up|down)load-url",  # past the artifact store
        )
    )
)


def is_open(path: str) -> bool:
    """Whether a path of MLflow's (without the prefix) is there for clients."""
    return _OPEN.fullmatch(path) is not None and _SHUT.fullmatch(path) is None


class MlflowMount:
    """The ASGI application to be mounted at `/mlflow`; the actor is set around it.

    Requests that come before MLflow is ready wait: its clients repeat what was answered with 503 at once, too often.

    Parameters
    ----------
    wait_for
        Gives MLflow's application, waiting for it that many seconds; None if it is not there then.
    """

    def __init__(self, wait_for: Callable[[float], Application | None], *, wait_seconds: float) -> None:
        self._wait_for = wait_for
        self._wait_seconds = wait_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let an open route in, with the prefix taken away for good.

        A bare mount leaves it in `path`, and MLflow's own tests of paths then never match, silently.
        """
        if scope["type"] != "http":
            return
        path = scope["path"].removeprefix(PREFIX) or "/"
        if not is_open(path):
            await _answer(send, 404, "ENDPOINT_NOT_FOUND", f"{path} is not part of this platform.")
            return
        inner = self._wait_for(0) or await asyncio.to_thread(self._wait_for, self._wait_seconds)
        if inner is None:
            await _answer(send, 503, "TEMPORARILY_UNAVAILABLE", "The registry is not up; its log says why.")
            return
        raw_path = scope.get("raw_path", b"").removeprefix(PREFIX.encode()) or b"/"
        await inner({**scope, "path": path, "raw_path": raw_path, "root_path": ""}, receive, send)


async def _answer(send: Send, status: int, code: str, message: str) -> None:
    body = json.dumps({"error_code": code, "message": message}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(b"retry-after", b"10")] if status == 503 else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
