"""A small server around the governed MLflow: actors by token from a file, nothing else. `python … STATE DATABASE_URL PORT`."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import uvicorn

from model_platform_core.access import Actor
from model_platform_server.adapters.mlflow.context import acting_as
from model_platform_server.adapters.mlflow.registry import MlflowRegistry

Application = Callable[[MutableMapping[str, Any], Any, Callable[[Any], Awaitable[None]]], Awaitable[None]]


def authenticated(registry: MlflowRegistry, actors: dict[str, Actor]) -> Application:
    """MLflow for the actors; `/ready` for everybody."""

    async def app(scope: MutableMapping[str, Any], receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        if scope["type"] != "http":
            return
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "basic":
            token = base64.b64decode(token).decode().partition(":")[2]
        if scope["path"] == "/ready":
            await answer(send, 200 if registry.ready() else 503, {})
        elif token not in actors:
            await answer(send, 401, {"error_code": "UNAUTHENTICATED", "message": "Sign in."})
        else:
            with acting_as(actors[token]):
                await registry.application(scope, receive, send)

    return app


async def answer(send: Callable[[Any], Awaitable[None]], status: int, content: dict[str, str]) -> None:
    """A JSON answer."""
    body = json.dumps(content).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main(state: Path, database_url: str, port: int) -> None:
    """Serve until the process is ended."""
    content = json.loads((state / "actors.json").read_text())
    actors = {token: Actor.model_validate(actor) for token, actor in content.items()}
    registry = MlflowRegistry(database_url, state / "artifacts")
    registry.start()
    uvicorn.run(authenticated(registry, actors), host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
