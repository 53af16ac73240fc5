"""The little of HTTP that stands between ASGI and what a runner does."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from random import Random
from typing import Any
from urllib.parse import urlsplit

from model_platform_runner.answers import encode
from model_platform_runner.errors import CallError, malformed

Scope = dict[str, Any]
Headers = dict[bytes, bytes]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON = b"application/json"
_STATUS_LINES = {one.value: f"HTTP/1.1 {one.value} {one.phrase}\r\n".encode() for one in HTTPStatus}
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(slots=True)
class Response:
    """A whole answer."""

    body: bytes = b""
    status: int = 200
    content_type: bytes = JSON
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


def json_response(document: Any, status: int = 200) -> Response:
    """Return a document as JSON."""
    return Response(encode(document), status)


def error_response(error: CallError) -> Response:
    """Return the answer to a request that gets none."""
    return Response(encode(error.document()), error.status, headers=list(error.headers))


async def send_response(send: Send, response: Response, headers: list[tuple[bytes, bytes]]) -> None:
    """Send an answer with headers besides its own."""
    own = [(b"content-type", response.content_type), (b"content-length", b"%d" % len(response.body))]
    if response.status == 204:
        own = []
    start = {"type": "http.response.start", "status": response.status, "headers": own + response.headers + headers}
    await send(start)
    await send({"type": "http.response.body", "body": response.body})


def header_lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return headers as they go over the wire."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def whole_response(response: Response, lines: bytes) -> bytes:
    """Return an answer with a body as it goes over the wire, with lines of headers besides its own."""
    status, body = _STATUS_LINES[response.status], response.body
    if response.headers:
        lines += header_lines(response.headers)
    return b"%bcontent-type: %b\r\ncontent-length: %d\r\n%b\r\n%b" % (
        status,
        response.content_type,
        len(body),
        lines,
        body,
    )


class RequestIds:
    """Ids of requests: the caller's own where it has a harmless form, or else new ones, unlikely to come twice."""

    def __init__(self) -> None:
        self._random = Random()  # noqa: S311 - no secret; seeded by the system: siblings that were forked draw others

    def of(self, headers: Headers) -> bytes:
        """Return the id of a request."""
        given = headers.get(b"x-request-id")
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given
        return b"%016x" % self._random.getrandbits(64)


async def read_body(headers: Headers, receive: Receive, limit: int, seconds: float) -> bytes:
    """Read a body of at most ``limit`` bytes.

    Raises
    ------
    CallError
        413 for a larger one, announced or not; 408 for one that does not arrive in time.
    """
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit():
        check_size(int(announced), limit)
    chunks: list[bytes] = []
    size = 0
    with _Deadline(seconds):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise malformed("The caller went away before the body was there.")
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            check_size(size, limit)
            if not message.get("more_body"):
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)


class _Deadline:
    """Ends what it surrounds after some seconds (408). Unlike ``asyncio.wait_for`` it makes no task of its own."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._expired = False

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._expire)

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        self._timer.cancel()
        if self._expired and kind is asyncio.CancelledError:
            raise CallError(408, "exceeds_time", f"The body did not arrive within {self._seconds:g} seconds.")

    def _expire(self) -> None:
        self._expired = True
        if self._task:
            self._task.cancel()


def check_content_type(headers: Headers, accepted: tuple[str, ...] = ("application/json",)) -> str:
    """Return the media type of a request's body.

    Raises
    ------
    CallError
        415 for any other than those accepted (browsers send those to other sites only after asking), and for
        compressed bodies.
    """
    given = headers.get(b"content-type", b"")
    if given == JSON and b"content-encoding" not in headers:
        return "application/json"  # as nearly everybody sends it; every protocol takes it
    media, _, parameters = given.decode("latin-1").lower().partition(";")
    charset = parameters.partition("charset=")[2].strip().strip('"')
    if media.strip() not in accepted or (charset and charset not in ("utf-8", "utf8", "us-ascii")):
        wanted = " or ".join(accepted)
        raise CallError(415, "invalid_content_type", f"Send the body with 'Content-Type: {wanted}', in UTF-8.")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise CallError(415, "invalid_content_type", "Send the body without compression.")
    return media.strip()


def check_origin(headers: Headers, url: str) -> None:
    """Refuse (403) requests that a page of another site makes a browser send."""
    given = headers.get(b"origin")
    if given is None:
        return
    try:
        origin, own = urlsplit(given.decode("latin-1")), urlsplit(url)
        same_port = (origin.port or _port(origin.scheme)) == (own.port or _port(own.scheme))
        same_host = origin.hostname == own.hostname or {origin.hostname, own.hostname} <= _LOOPBACK
        same = origin.scheme == own.scheme and same_host and same_port
    except ValueError:
        same = False
    if not same:
        raise CallError(403, "forbidden_origin", "Pages of other sites may not call this endpoint from a browser.")


def _port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def check_size(size: int, limit: int) -> None:
    """Refuse (413) a body of more than so many bytes."""
    if size > limit:
        raise CallError(413, "exceeds_body", f"The body is larger than {limit} bytes: send the rows in several calls.")
