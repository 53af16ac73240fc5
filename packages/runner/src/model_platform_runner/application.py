"""The endpoint's HTTP interface, as callers see it behind the gateway."""

import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from model_platform_runner import __version__, http
from model_platform_runner.errors import CallError
from model_platform_runner.http import Receive, Response, Scope, Send, error_response, json_response
from model_platform_runner.protocols import inference, kserve, plain, scoring
from model_platform_runner.protocols.call import Read
from model_platform_runner.service import Service

_ALWAYS = [(b"x-content-type-options", b"nosniff")]
_CLOSE = (b"connection", b"close")
_BUSY_SECONDS = b"1"


@dataclass(slots=True)
class Request:
    """A request, and what is learnt about it for the journal."""

    headers: dict[bytes, bytes]
    receive: Receive
    rows: int = 0


Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Route:
    """A path: its name in the journal, what answers by method, and whether it runs the model."""

    template: str
    methods: dict[str, Handler]
    predicts: bool = False
    allow: bytes = field(init=False)

    def __post_init__(self) -> None:
        methods = {"OPTIONS", *self.methods, *(["HEAD"] if "GET" in self.methods else [])}
        object.__setattr__(self, "allow", ", ".join(sorted(methods)).encode())


class Application:
    """Answers calls: an ASGI application."""

    def __init__(self, service: Service, documents: dict[str, Response]) -> None:
        self._service = service
        self._headers = [*_ALWAYS, (b"x-model-version", service.config.version.encode())]
        self._routes = self._table(documents)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, count it and note it."""
        start = perf_counter()
        headers = dict(scope["headers"])
        identity = http.request_id(headers)
        request = Request(headers, receive)
        route = self._routes.get(scope["path"])
        response = await self._respond(scope["method"], route, request)
        own = [*self._headers, (b"x-request-id", identity)]
        await http.send_response(send, response, [*own, _CLOSE] if self._service.draining else own)
        seconds = perf_counter() - start
        if route and route.predicts and scope["method"] == "POST":
            self._service.metrics.call(response.status, seconds, request.rows)
        self._service.journal.call(
            method=scope["method"],
            path=route.template if route else None,
            status=response.status,
            rows=request.rows,
            ms=round(seconds * 1000, 3),
            request_id=identity.decode(),
        )

    async def _respond(self, method: str, route: Route | None, request: Request) -> Response:
        try:
            return await self._handler(method, route, request.headers)(request)
        except CallError as error:
            return error_response(error)
        except Exception as error:  # noqa: BLE001 - whatever we did wrong, the caller gets an answer without data
            place = traceback.extract_tb(error.__traceback__)[-1]
            facts = {"type": type(error).__name__, "place": f"{place.name}:{place.lineno}"}
            self._service.journal.event("internal_error", **facts)
            return error_response(CallError(500, "failed_internal", f"The runner failed: {type(error).__name__}."))

    def _handler(self, method: str, route: Route | None, headers: dict[bytes, bytes]) -> Handler:
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
        inference_read = inference.reader(config.endpoint, config.version)
        v1, v2 = f"/v1/models/{config.endpoint}", f"/v2/models/{config.endpoint}"
        versioned = f"{v2}/versions/{config.version}"
        metadata = self._document(documents["/v2/models"])
        routes = {
            "/": Route(
                "/", {"GET": self._document(documents["/"]), "POST": self._predicting(plain.read)}, predicts=True
            ),
            "/schema": Route("/schema", {"GET": self._document(documents["/schema"])}),
            "/openapi.json": Route("/openapi.json", {"GET": self._document(documents["/openapi.json"])}),
            "/ping": Route("/ping", {"GET": self._ready({})}),
            "/invocations": Route(
                "/invocations",
                {"POST": self._predicting(scoring.reader(self._service.predictor.params), scoring.CSV)},
                predicts=True,
            ),
            v1: Route("/v1/models/{model}", {"GET": self._ready({"name": config.endpoint})}),
            f"{v1}:predict": Route(
                "/v1/models/{model}:predict", {"POST": self._predicting(kserve.read)}, predicts=True
            ),
            "/v2": Route(
                "/v2", {"GET": self._static({"name": "model-platform", "version": __version__, "extensions": []})}
            ),
            "/v2/health/live": Route("/v2/health/live", {"GET": self._static({"live": True})}),
            "/v2/health/ready": Route("/v2/health/ready", {"GET": self._ready({})}),
        }
        for path, template in ((v2, "/v2/models/{model}"), (versioned, "/v2/models/{model}/versions/{version}")):
            infer = {"POST": self._predicting(inference_read)}
            routes[path] = Route(template, {"GET": metadata})
            routes[f"{path}/ready"] = Route(f"{template}/ready", {"GET": self._ready({"name": config.endpoint})})
            routes[f"{path}/infer"] = Route(f"{template}/infer", infer, predicts=True)
        return routes

    def _predicting(self, read: Read, *also: str) -> Handler:
        """Return what answers one protocol; ``also`` are media types besides JSON."""
        service, limits = self._service, self._service.config.limits
        contract, metrics = service.predictor.contract, service.metrics
        accepted = ("application/json", *also)

        async def predict(request: Request) -> Response:
            if service.tokens is not None:
                service.tokens.check(request.headers.get(b"authorization"))
            media = http.check_content_type(request.headers, accepted)
            if metrics.in_flight >= limits.concurrent:
                wait = [(b"retry-after", _BUSY_SECONDS)]
                raise CallError(503, "unavailable_overload", "Too many calls at once: try again.", headers=wait)
            metrics.in_flight += 1
            try:
                body = await http.read_body(request.headers, request.receive, limits.body_bytes, limits.seconds)
                call = read(body, media, contract)
                request.rows = call.batch.rows
                return json_response(call.write(await service.answer(call.batch)))
            finally:
                metrics.in_flight -= 1

        return predict

    def _ready(self, document: dict[str, Any]) -> Handler:
        async def ready(_request: Request) -> Response:
            is_ready = not self._service.draining
            return json_response({**document, "ready": is_ready}, 200 if is_ready else 503)

        return ready

    def _static(self, document: dict[str, Any]) -> Handler:
        return self._document(json_response(document))

    def _document(self, response: Response) -> Handler:
        async def document(_request: Request) -> Response:
            return response

        return document
