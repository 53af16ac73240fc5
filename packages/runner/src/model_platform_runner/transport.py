"""Connections: uvicorn's, with two things changed.

An answer leaves in one piece: whoever reads gets all of it, or, should this process be killed, nothing of it. A gateway
that has seen the head of an answer cannot ask another runner any more.

A call that arrives in one piece is answered at once, without the task and the messages that ASGI makes of a request:
they cost more than most models. Whatever is out of the ordinary (a body that comes in parts, requests sent ahead of
answers, HTTP/1.0, the end of the service) goes uvicorn's way.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from model_platform_runner.application import Application
from model_platform_runner.http import Response, header_lines, whole_response
from model_platform_runner.prediction import Prediction
from model_platform_runner.service import Service

_CLOSE = b"connection: close\r\n"


class _Joined:
    """A transport that keeps the first write back for the second: uvicorn writes head and body one after the other."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._kept = b""

    def write(self, data: bytes) -> None:
        if self._kept:
            self._kept += data
            self._send()
        else:
            self._kept = data
            self._loop.call_soon(self._send)  # should there be no second: an answer to HEAD has no body

    def write_whole(self, data: bytes) -> None:
        self._send()
        self._transport.write(data)

    def close(self) -> None:
        self._send()
        self._transport.close()

    def _send(self) -> None:
        kept, self._kept = self._kept, b""
        if kept:
            self._transport.write(kept)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class WholeAnswers(HttpToolsProtocol):
    """Uvicorn's protocol, with answers in one piece."""

    def connection_made(self, transport: Any) -> None:
        """Begin with a connection."""
        super().connection_made(_Joined(transport, self.loop))  # type: ignore[arg-type]


class _Exchange:
    """A call that is being answered at once, in the form in which uvicorn looks at what it answers itself."""

    def __init__(self, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        self.disconnected = False
        self.response_complete = False
        self.message_event = self

    def set(self) -> None:
        """Nobody waits for more of the request."""


class Connection(WholeAnswers):
    """Answers calls that arrive in one piece at once."""

    def __init__(self, service: Service, application: Application, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._service = service
        self._application = application
        self._prediction: Prediction | None = None  # what answers the request that is arriving, if it is all there
        self._parts: list[bytes] = []
        self._used = False
        self._defaults: list[tuple[bytes, bytes]] | None = None
        self._lines = b""
        self._next_look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin with a connection."""
        super().connection_made(transport)
        self._look_again()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        super().connection_lost(exc)
        if self._next_look is not None:
            self._next_look.cancel()

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""
        super().data_received(data)
        if self._prediction is not None:  # its body is not all there
            self._prediction, parts, self._parts = None, self._parts, []
            if not self.transport.is_closing():
                self._begin_cycle()
                for part in parts:
                    super().on_body(part)

    def on_message_begin(self) -> None:
        """The parser has seen that a request comes."""
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        """The parser has read the head of a request."""
        prediction = self._application.prediction(self.url)
        if prediction is not None and self._is_ordinary():
            self._prediction = prediction
        else:
            self._begin_cycle()

    def _begin_cycle(self) -> None:
        """Go uvicorn's way, as if its own callbacks had been there from the beginning."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """The parser has read a part of a body."""
        if self._prediction is None:
            super().on_body(body)
        else:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        """The parser has read a request to its end."""
        prediction = self._prediction
        if prediction is None:
            super().on_message_complete()
            return
        self._prediction, parts, self._parts = None, self._parts, []
        self.cycle = exchange = _Exchange(self.parser.should_keep_alive())  # type: ignore[assignment]
        write = partial(self._write, exchange)
        self._application.answer_at_once(prediction, dict(self.headers), b"".join(parts), write)

    def _is_ordinary(self) -> bool:
        idle = self.cycle is None or self.cycle.response_complete
        return (
            idle
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and not self.expect_100_continue
            and not self.parser.should_upgrade()
            and not self.flow.write_paused
            and not self._service.draining
        )

    def _write(self, exchange: _Exchange, response: Response, lines: bytes) -> None:
        exchange.response_complete = True
        if exchange.disconnected or self.transport.is_closing():
            return
        draining = self._service.draining  # then the header that says so is among the lines
        if not (exchange.keep_alive or draining):
            lines += _CLOSE
        lines += self._default_lines()
        self.transport.write_whole(whole_response(response, lines))  # type: ignore[attr-defined]
        if draining or not exchange.keep_alive:
            self.transport.close()
        if self.pipeline:
            self.on_response_complete()  # which goes on with the next one
        else:
            self.server_state.total_requests += 1
            self._used = True

    def _default_lines(self) -> bytes:
        """The headers of every answer; uvicorn makes a new list of them each second, for the date."""
        given = self.server_state.default_headers
        if given is not self._defaults:
            self._defaults, self._lines = given, header_lines(given)
        return self._lines

    def _look_whether_idle(self) -> None:
        """Close a connection that was not used since the last look: a timer for each answer would cost more."""
        if not self._used and (self.cycle is None or self.cycle.response_complete):
            self.timeout_keep_alive_handler()
        self._used = False
        self._look_again()

    def _look_again(self) -> None:
        self._next_look = self.loop.call_later(self.timeout_keep_alive, self._look_whether_idle)


def connections(service: Service, application: Application) -> Callable[..., Connection]:
    """Return what makes a connection of each one that uvicorn accepts."""
    return partial(Connection, service, application)
