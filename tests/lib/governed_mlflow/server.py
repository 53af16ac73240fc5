"""A server around the governed MLflow, for tests: `python … STATE DATABASE_URL PORT SOCKET`.

A token is an actor, written as JSON in base64. The registry's port answers on the socket: a pickled method name and its
arguments come in, the result or the error goes out.
"""

from __future__ import annotations

import base64
import json
import sys
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any

import uvicorn

from model_platform_core.access import Actor
from model_platform_server.adapters.mlflow.context import acting_as
from model_platform_server.adapters.mlflow.registry import MlflowRegistry

Send = Callable[[Any], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Any, Send], Awaitable[None]]


def token_of(actor: Actor) -> str:
    """The token that this server knows the actor by."""
    return base64.urlsafe_b64encode(actor.model_dump_json().encode()).decode()


def authenticated(registry: MlflowRegistry) -> Application:
    """MLflow for actors; `/ready` for everybody."""

    async def app(scope: MutableMapping[str, Any], receive: Any, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] == "/ready":
            await _answer(send, 200 if registry.ready() else 503)
            return
        headers = dict(scope["headers"])
        kind, _, token = headers.get(b"authorization", b"").decode().partition(" ")
        if kind != "Bearer":
            await _answer(send, 401)
            return
        with acting_as(Actor.model_validate_json(base64.urlsafe_b64decode(token))):
            await registry.application(scope, receive, send)

    return app


async def _answer(send: Send, status: int) -> None:
    body = json.dumps({"error_code": "UNAUTHENTICATED", "message": "Sign in."}).encode()
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


def answer_calls(registry: MlflowRegistry, listener: Listener) -> None:
    """Answer every caller in a thread of its own."""
    while True:
        threading.Thread(target=_answer_caller, args=(registry, listener.accept()), daemon=True).start()


def _answer_caller(registry: MlflowRegistry, caller: Connection) -> None:
    while True:
        try:
            method, arguments = caller.recv()
        except EOFError:
            return
        try:
            caller.send((getattr(registry, method)(*arguments), None))
        except Exception as error:  # noqa: BLE001  # it is raised on the other side
            caller.send((None, error))


def main(state: Path, database_url: str, port: int, socket: str) -> None:
    """Serve until the process is ended."""
    registry = MlflowRegistry(database_url, state / "artifacts")
    registry.start()
    threading.Thread(target=answer_calls, args=(registry, Listener(socket)), daemon=True).start()
    uvicorn.run(authenticated(registry), host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4])
