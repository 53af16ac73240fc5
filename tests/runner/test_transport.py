"""An answer leaves in one piece."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from model_platform_runner.http import Response
from model_platform_runner.transport import WholeAnswers, connections

CALL = b"%s / HTTP/1.1\r\nhost: x\r\n\r\n"


class Wire(asyncio.Transport):
    """A transport that notes what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def resume_reading(self) -> None:
        pass


async def _answer(scope: dict[str, Any], receive: Any, send: Any) -> None:
    body = b"" if scope["method"] == "OPTIONS" else b"[3.0]"
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _written(request: bytes) -> Wire:
    config = Config(_answer, ws="none", lifespan="off", interface="asgi3", log_config=None)
    config.load()
    protocol, wire = WholeAnswers(config=config, server_state=ServerState(), app_state={}), Wire()
    protocol.connection_made(wire)
    protocol.data_received(request)
    for _ in range(5):
        await asyncio.sleep(0)
    protocol.connection_lost(None)
    return wire


@pytest.mark.parametrize(
    ("method", "end"), [(b"GET", b"\r\n\r\n[3.0]"), (b"OPTIONS", b"\r\n\r\n"), (b"HEAD", b"\r\n\r\n")]
)
def test_head_and_body_are_one_write(method: bytes, end: bytes) -> None:
    wire = asyncio.run(_written(CALL % method))
    assert len(wire.writes) == 1
    assert wire.writes[0].startswith(b"HTTP/1.1 200 OK\r\n")
    assert wire.writes[0].endswith(end)


def test_what_is_written_before_the_end_leaves_before_it() -> None:
    wire = asyncio.run(_written(b"nonsense\r\n\r\n"))
    assert b"400 Bad Request" in b"".join(wire.writes)
    assert wire.closed


class AtOnce:
    """Takes calls of `/` at once, and notes them."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def prediction(self, path: bytes) -> Any:
        return self if path == b"/" else None

    def answer_at_once(self, _prediction: Any, _headers: Any, body: bytes, write: Any) -> None:
        self.bodies.append(body)
        write(Response(b"[at once]"), b"")


def _connected(application: AtOnce, **options: Any) -> tuple[Any, Wire]:
    config = Config(_answer, ws="none", lifespan="off", interface="asgi3", log_config=None, **options)
    config.load()
    make, wire = connections(SimpleNamespace(draining=False), application), Wire()  # type: ignore[arg-type]
    protocol = make(config=config, server_state=ServerState(), app_state={}, _loop=asyncio.get_running_loop())
    protocol.connection_made(wire)
    return protocol, wire


def test_only_a_call_that_is_all_there_is_answered_at_once() -> None:
    async def ask() -> None:
        application = AtOnce()
        protocol, wire = _connected(application)
        whole = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n[42]"
        protocol.data_received(whole)
        assert len(wire.writes) == 1  # before the loop has turned
        assert wire.writes[0].endswith(b"[at once]")
        protocol.data_received(whole[:-2])
        protocol.data_received(whole[-2:])
        for _ in range(5):
            await asyncio.sleep(0)
        assert wire.writes[1].endswith(b"[3.0]")  # by the application of ASGI
        assert application.bodies == [b"[42]"]
        protocol.connection_lost(None)

    asyncio.run(ask())


def test_a_connection_that_nobody_uses_is_closed() -> None:
    async def wait() -> None:
        _, wire = _connected(AtOnce(), timeout_keep_alive=0)
        deadline = time.monotonic() + 30
        while not wire.closed:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.001)

    asyncio.run(wait())
