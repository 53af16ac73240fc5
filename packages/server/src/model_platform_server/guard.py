"""The door: Host and Origin are checked, and nobody without an actor gets an answer. Pure ASGI, so that streams stay streams."""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool

from model_platform_core.access import Actor
from model_platform_core.errors import ForbiddenError, ModelPlatformError, UnauthenticatedError
from model_platform_core.wire import Problem
from model_platform_server import __version__

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
WITHOUT_ACTOR = frozenset({"/healthz", "/readyz", "/api/v1/proof"})
MLFLOW = "/mlflow"

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_STATUS = {"unauthenticated": 401, "forbidden": 403}


class Guard:
    """Wraps the whole application.

    Parameters
    ----------
    actor_of
        The actor of a token; None if there is none.
    acting_as
        Makes an actor known to MLflow's stores for the time of a request.
    """

    def __init__(
        self,
        inner: Application,
        *,
        actor_of: Callable[[str], Actor | None],
        acting_as: Callable[[Actor], AbstractContextManager[object]],
        allowed_hosts: Collection[str] = (),
        allowed_origins: Collection[str] = (),
    ) -> None:
        self._inner = inner
        self._actor_of = actor_of
        self._acting_as = acting_as
        self._hosts = LOOPBACK | {host.lower() for host in allowed_hosts}
        self._origins = frozenset(allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer why not."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        answer = _with_our_headers(send, headers.get(b"x-request-id", b""))
        try:
            self._check_origin(headers)
            if scope["path"] in WITHOUT_ACTOR:
                await self._inner(scope, receive, answer)
                return
            actor = await self._authenticate(headers)
        except ModelPlatformError as error:
            await _refuse(answer, error, mlflow=scope["path"].startswith(MLFLOW))
            return
        scope["actor"] = actor
        with self._acting_as(actor):
            await self._inner(scope, receive, answer)

    def _check_origin(self, headers: dict[bytes, bytes]) -> None:
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if _hostname(host) not in self._hosts:
            raise ForbiddenError("This server is not addressed by that name; set allowed_hosts if it should be.")
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if origin and origin not in self._origins and urlsplit(origin).netloc != host:
            raise ForbiddenError("A page of another origin may not call this server; set allowed_origins if it should.")

    async def _authenticate(self, headers: dict[bytes, bytes]) -> Actor:
        token = _token_in(headers.get(b"authorization", b"").decode("latin-1"))
        actor = await run_in_threadpool(self._actor_of, token) if token else None
        if actor is None:
            why = "The token is unknown, expired or revoked." if token else "There is no token."
            raise UnauthenticatedError(f"{why} Set MP_TOKEN, or for MLflow's client MLFLOW_TRACKING_TOKEN.")
        return actor


def _hostname(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _token_in(authorization: str) -> str:
    kind, _, value = authorization.partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return ""


def _with_our_headers(send: Send, request_id: bytes) -> Send:
    if not _REQUEST_ID.fullmatch(request_id):
        request_id = secrets.token_hex(8).encode()
    ours = [
        (b"x-request-id", request_id),
        (b"x-model-platform-version", __version__.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"SAMEORIGIN"),
    ]

    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *ours]}
        await send(message)

    return with_headers


async def _refuse(send: Send, error: ModelPlatformError, *, mlflow: bool) -> None:
    status = _STATUS[error.code]
    if mlflow:
        code = "UNAUTHENTICATED" if status == 401 else "PERMISSION_DENIED"
        body, kind = json.dumps({"error_code": code, "message": error.message}).encode(), b"application/json"
    else:
        problem = Problem(title=error.code, status=status, detail=error.message, code=error.code, hint=error.hint)
        body, kind = problem.model_dump_json().encode(), b"application/problem+json"
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
