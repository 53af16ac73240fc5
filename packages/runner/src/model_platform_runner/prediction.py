"""One protocol's way to the model: who may call, what is read, what is written."""

import asyncio
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter

from model_platform_runner import http
from model_platform_runner.batching import ModelError, Outcome
from model_platform_runner.errors import CallError
from model_platform_runner.http import Headers, Receive, Response, error_response, json_response
from model_platform_runner.protocols.call import Call, Read
from model_platform_runner.service import Service

_BUSY_SECONDS = b"1"
_TIMED = b"x-server-timing"

Done = Callable[[Response], None]


@dataclass(slots=True)
class Request:
    """A request, and what is learnt about it for the journal."""

    headers: Headers
    began: float = field(default_factory=perf_counter)
    rows: int = 0

    @property
    def is_timed(self) -> bool:
        """Whether its caller wants to know what took how long."""
        return _TIMED in self.headers


class Prediction:
    """Answers the calls of one protocol, at once or after their bodies have arrived.

    Parameters
    ----------
    read
        The protocol.
    accepted
        Media types that it takes.
    template
        The path's name in the journal.
    """

    def __init__(self, service: Service, read: Read, accepted: tuple[str, ...], template: str) -> None:
        self.template = template
        self._service = service
        self._read = read
        self._accepted = accepted

    def begin(self, request: Request) -> str:
        """Let a call in, before its body is there; returns its media type. Whatever follows, ``end`` must.

        Raises
        ------
        CallError
            401, 415, or 503 where too many calls are being answered.
        """
        service = self._service
        if service.tokens is not None:
            service.tokens.check(request.headers.get(b"authorization"))
        media = http.check_content_type(request.headers, self._accepted)
        if service.metrics.in_flight >= service.config.limits.concurrent:
            wait = [(b"retry-after", _BUSY_SECONDS)]
            raise CallError(503, "unavailable_overload", "Too many calls at once: try again.", headers=wait)
        service.metrics.in_flight += 1
        return media

    def end(self) -> None:
        """A call that was let in is answered."""
        self._service.metrics.in_flight -= 1

    async def answer(self, request: Request, receive: Receive) -> Response:
        """Read the body of a call and answer it; raises :class:`CallError` for what gets no answer."""
        limits = self._service.config.limits
        media = self.begin(request)
        try:
            body = await http.read_body(request.headers, receive, limits.body_bytes, limits.seconds)
            future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

            def done(response: Response) -> None:
                if not future.done():  # nobody waits any more where this process ends
                    future.set_result(response)

            self.submit(request, media, body, done)
            return await future
        finally:
            self.end()

    def submit(self, request: Request, media: str, body: bytes, done: Done) -> None:
        """Put the rows of a body into the model's line; ``done`` gets the answer, never before this returns.

        Raises
        ------
        CallError
            413, 400 or 422, for a body that can be refused before it is its turn.
        """
        service, start = self._service, perf_counter()
        http.check_size(len(body), service.config.limits.body_bytes)
        call = self._read(body, media, service.predictor.contract)
        request.rows = call.batch.rows
        if request.is_timed or not service.line.quick:
            call.batch.read()  # else it is read together with others, when its turn comes in a moment
        now = perf_counter()
        service.line.submit(call.batch, partial(self._write, request, call, now - start, now, done))

    def _write(
        self,
        request: Request,
        call: Call,
        checking: float,
        submitted: float,
        done: Done,
        outcome: Outcome,
        model: float,
    ) -> None:
        start = perf_counter()
        response = self._response(call, outcome)
        if request.is_timed:
            waited = start - submitted - model
            parts = {"queue": waited, "check": checking, "model": model, "encode": perf_counter() - start}
            told = ", ".join(f"{name};dur={max(seconds, 0.0) * 1000:.3f}" for name, seconds in parts.items())
            response.headers.append((b"server-timing", told.encode()))
        done(response)

    def _response(self, call: Call, outcome: Outcome) -> Response:
        if isinstance(outcome, ModelError):
            return error_response(CallError(500, "failed_prediction", f"The model failed: {outcome}."))
        if isinstance(outcome, CallError):
            return error_response(outcome)
        try:
            return json_response(call.write(outcome))
        except CallError as error:
            return error_response(error)
        except Exception as error:  # noqa: BLE001 - whatever we did wrong, the caller gets an answer without data
            return failed(self._service, error)


def failed(service: Service, error: Exception) -> Response:
    """Return the answer to a call on which the runner itself failed; the journal tells where."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    service.journal.event("internal_error", type=type(error).__name__, place=f"{place.name}:{place.lineno}")
    return error_response(CallError(500, "failed_internal", f"The runner failed: {type(error).__name__}."))
