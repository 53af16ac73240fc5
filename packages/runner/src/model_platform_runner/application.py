"""The endpoint's HTTP interface, as callers see it behind the gateway."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

from model_platform_runner import __version__, http
from model_platform_runner.errors import CallError
from model_platform_runner.http import Headers, Receive, Response, Scope, Send, error_response, json_response
from model_platform_runner.prediction import Prediction, Request, failed
from model_platform_runner.protocols import inference, kserve, plain, scoring
from model_platform_runner.protocols.call import Read
from model_platform_runner.service import Service

_ALWAYS = [(b"x-content-type-options", b"nosniff")]
_CLOSE = (b"connection", b"close")
_CLOSE_LINE = http.header_lines([_CLOSE])

Handler = Callable[[Request, Receive], Awaitable[Response]]
Write = Callable[[Response, bytes], None]
"""Sends an answer with lines of headers besides its own."""


@dataclass(frozen=True)
class Route:
    """A path: its name in the journal, what answers by method, and what runs the model, if anything does."""

    template: str
    methods: dict[str, Handler]
    prediction: Prediction | None = None
    allow: bytes = field(init=False)

    def __post_init__(self) -> None:
        methods = {"OPTIONS", *self.methods, *(["HEAD"] if "GET" in self.methods else [])}
        object.__setattr__(self, "allow", ", ".join(sorted(methods)).encode())


class Application:
    """Answers calls: an ASGI application."""

    def __init__(self, service: Service, documents: dict[str, Response]) -> None:
        self._service = service
        self._headers = [*_ALWAYS, (b"x-model-version", service.config.version.encode())]
        self._lines = http.header_lines(self._headers)
        self._ids = http.RequestIds()
        self._routes = self._table(documents)
        self._predictions = {path.encode(): one.prediction for path, one in self._routes.items() if one.prediction}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, count it and note it."""
        request = Request(dict(scope["headers"]))
        method, route = scope["method"], self._routes.get(scope["path"])
        response = await self._respond(method, route, request, receive)
        identity = self._ids.of(request.headers)
        own = [*self._headers, (b"x-request-id", identity)]
        await http.send_response(send, response, [*own, _CLOSE] if self._service.draining else own)
        counts = route is not None and route.prediction is not None and method == "POST"
        self._note(method, route.template if route else None, request, response, identity, counts=counts)

    async def _respond(self, method: str, route: Route | None, request: Request, receive: Receive) -> Response:
        try:
            return await self._handler(method, route, request.headers)(request, receive)
        except CallError as error:
            return error_response(error)
        except Exception as error:  # noqa: BLE001 - whatever we did wrong, the caller gets an answer without data
            return failed(self._service, error)

    def prediction(self, path: bytes) -> Prediction | None:
        """What answers a POST to this path by running the model."""
        return self._predictions.get(path)

    def answer_at_once(self, prediction: Prediction, headers: Headers, body: bytes, write: Write) -> None:
        """Answer a call whose body is there: the same as a request of ASGI, without its tasks and messages.

        ``write`` gets the answer once, perhaps before this returns.
        """
        request = Request(headers)
        end = partial(self._end, prediction, request, write)
        try:
            http.check_origin(headers, self._service.config.url)
            media = prediction.begin(request)
        except CallError as error:
            end(error_response(error))
            return
        except Exception as error:  # noqa: BLE001 - whatever we did wrong, the caller gets an answer without data
            end(failed(self._service, error))
            return

        def done(response: Response) -> None:
            prediction.end()
            end(response)

        try:
            prediction.submit(request, media, body, done)
        except CallError as error:
            done(error_response(error))
        except Exception as error:  # noqa: BLE001 - whatever we did wrong, the caller gets an answer without data
            done(failed(self._service, error))

    def _end(self, prediction: Prediction, request: Request, write: Write, response: Response) -> None:
        identity = self._ids.of(request.headers)
        own = b"%bx-request-id: %b\r\n" % (self._lines, identity)
        write(response, own + _CLOSE_LINE if self._service.draining else own)
        self._note("POST", prediction.template, request, response, identity, counts=True)

    def _note(
        self, method: str, template: str | None, request: Request, response: Response, identity: bytes, *, counts: bool
    ) -> None:
        seconds = perf_counter() - request.began
        if counts:
            self._service.metrics.call(response.status, seconds, request.rows)
        self._service.journal.call(method, template, response.status, request.rows, seconds, identity)

    def _handler(self, method: str, route: Route | None, headers: Headers) -> Handler:
        if route is None:
            raise CallError(404, "path_not_found", f"There is no such path; {self._service.config.url} tells which.")
        http.check_origin(headers, self._service.config.url)
        handler = route.methods.get("GET" if method == "HEAD" else method)
        if handler is not None:
            return handler
        allow = [(b"allow", route.allow)]
        if method == "OPTIONS":
            return self._document(Response(status=204, headers=allow))
        raise CallError(405, "invalid_method", f"This path takes {route.allow.decode()}.", headers=allow)

    def _table(self, documents: dict[str, Response]) -> dict[str, Route]:
        config = self._service.config
        v1, v2 = f"/v1/models/{config.endpoint}", f"/v2/models/{config.endpoint}"
        metadata = self._document(documents["/v2/models"])
        server = {"name": "model-platform", "version": __version__, "extensions": []}
        scores = scoring.reader(self._service.predictor.params)
        infers = inference.reader(config.endpoint, config.version)
        routes = {
            "/": self._predicting("/", plain.read, get=self._document(documents["/"])),
            "/schema": Route("/schema", {"GET": self._document(documents["/schema"])}),
            "/openapi.json": Route("/openapi.json", {"GET": self._document(documents["/openapi.json"])}),
            "/ping": Route("/ping", {"GET": self._ready({})}),
            "/invocations": self._predicting("/invocations", scores, scoring.CSV),
            v1: Route("/v1/models/{model}", {"GET": self._ready({"name": config.endpoint})}),
            f"{v1}:predict": self._predicting("/v1/models/{model}:predict", kserve.read),
            "/v2": Route("/v2", {"GET": self._static(server)}),
            "/v2/health/live": Route("/v2/health/live", {"GET": self._static({"live": True})}),
            "/v2/health/ready": Route("/v2/health/ready", {"GET": self._ready({})}),
        }
        versioned = f"{v2}/versions/{config.version}"
        for path, template in ((v2, "/v2/models/{model}"), (versioned, "/v2/models/{model}/versions/{version}")):
            routes[path] = Route(template, {"GET": metadata})
            routes[f"{path}/ready"] = Route(f"{template}/ready", {"GET": self._ready({"name": config.endpoint})})
            routes[f"{path}/infer"] = self._predicting(f"{template}/infer", infers)
        return routes

    def _predicting(self, template: str, read: Read, *also: str, get: Handler | None = None) -> Route:
        """Return a route that answers one protocol; ``also`` are media types besides JSON."""
        prediction = Prediction(self._service, read, ("application/json", *also), template)
        methods: dict[str, Handler] = {"POST": prediction.answer}
        return Route(template, methods | ({"GET": get} if get else {}), prediction)

    def _ready(self, document: dict[str, Any]) -> Handler:
        async def ready(_request: Request, _receive: Receive) -> Response:
            is_ready = not self._service.draining
            return json_response({**document, "ready": is_ready}, 200 if is_ready else 503)

        return ready

    def _static(self, document: dict[str, Any]) -> Handler:
        return self._document(json_response(document))

    def _document(self, response: Response) -> Handler:
        async def document(_request: Request, _receive: Receive) -> Response:
            return response

        return document
