"""What a runner tells its supervisor, on a socket of its own: life, readiness, metrics, what serves."""

from model_platform_runner.errors import CallError
from model_platform_runner.http import Receive, Response, Scope, Send, error_response, json_response, send_response
from model_platform_runner.service import Service

_METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class Control:
    """Answers the supervisor: an ASGI application. Whoever may open the socket (mode 0600) may ask."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer one request."""
        await send_response(send, self._respond(scope["method"], scope["path"]), [])

    def _respond(self, method: str, path: str) -> Response:
        if method not in ("GET", "HEAD"):
            return error_response(CallError(405, "invalid_method", "Only GET.", headers=[(b"allow", b"GET, HEAD")]))
        if path == "/live":
            return json_response({"live": True})
        if path == "/ready":
            ready = not self._service.draining
            return json_response({"ready": ready}, 200 if ready else 503)
        if path == "/metrics":
            return Response(self._service.metrics_text().encode(), content_type=_METRICS_TYPE)
        if path == "/info":
            return json_response(self._service.info())
        return error_response(CallError(404, "path_not_found", "There are /live, /ready, /metrics and /info."))
