"""The ASGI application: our routes under `/api/v1`, MLflow under `/mlflow`, and what machines ask."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Annotated

from fastapi import APIRouter, FastAPI, Query
from fastapi.responses import JSONResponse, PlainTextResponse

from model_platform_core.access import Actor
from model_platform_core.wire import Proof
from model_platform_server import __version__
from model_platform_server.guard import MLFLOW, Application, Guard
from model_platform_server.routes import endpoints, environments, errors, events, identity, models, uploads, zones
from model_platform_server.services.platform import Platform

API = "/api/v1"


def create_app(
    platform: Platform,
    *,
    proof_key: str,
    url: str,
    mlflow: Application | None = None,
    acting_as: Callable[[Actor], AbstractContextManager[object]],
    allowed_hosts: tuple[str, ...] = (),
    allowed_origins: tuple[str, ...] = (),
) -> Guard:
    """The whole server as one ASGI program.

    Parameters
    ----------
    proof_key
        What a client's challenge is answered with: it stands in the discovery file that the user alone can read.
    url
        The address that the discovery file names; part of the proof, so that nobody passes on another server's.
    mlflow
        MLflow's application with our allow-list around it.
    """
    app = FastAPI(
        title="Model Platform", version=__version__, openapi_url=f"{API}/openapi.json", docs_url=None, redoc_url=None
    )
    app.state.platform = platform
    errors.install(app)
    for module in (identity, zones, models, uploads, endpoints, environments, events):
        app.include_router(module.router, prefix=API)
    app.include_router(_machines(platform, proof_key, url))
    if mlflow is not None:
        app.mount(MLFLOW, mlflow)
    return Guard(
        app,
        actor_of=platform.actors.by_token,
        acting_as=acting_as,
        allowed_hosts=allowed_hosts,
        allowed_origins=allowed_origins,
    )


def _machines(platform: Platform, proof_key: str, url: str) -> APIRouter:
    router = APIRouter(tags=["machines"])
    started = time.time()

    @router.get("/healthz", response_class=PlainTextResponse)
    def health() -> str:
        """The process answers."""
        return "ok"

    @router.get("/readyz")
    def readiness() -> JSONResponse:
        """The parts that the server needs: the database, and MLflow, which comes up some seconds after the rest."""
        parts = {"database": _answers(platform.events.last_id), "registry": platform.registry.ready()}
        return JSONResponse({"ready": all(parts.values()), **parts}, 200 if all(parts.values()) else 503)

    @router.get(f"{API}/proof")
    def proof(challenge: Annotated[str, Query(pattern="^[0-9a-f]{32,128}$")]) -> Proof:
        """Prove to a client, before it shows its token, that this is the server that its discovery file names."""
        return Proof(proof=hmac.new(proof_key.encode(), (challenge + url).encode(), hashlib.sha256).hexdigest())

    @router.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> str:
        """Figures for Prometheus."""
        return _metrics(platform, started)

    return router


def _answers(question: Callable[[], object]) -> bool:
    try:
        question()
    except Exception:  # noqa: BLE001  # whatever the reason: it does not answer, and that is what was asked
        return False
    return True


def _metrics(platform: Platform, started: float) -> str:
    states: dict[str, int] = {}
    for endpoint in platform.endpoints.page(None).items:
        states[endpoint.status.state] = states.get(endpoint.status.state, 0) + 1
    lines = ["# TYPE mp_server_start_time_seconds gauge", f"mp_server_start_time_seconds {started:.3f}"]
    lines += ["# TYPE mp_events_total counter", f"mp_events_total {platform.events.last_id()}"]
    lines += ["# TYPE mp_registry_ready gauge", f"mp_registry_ready {int(platform.registry.ready())}"]
    lines += ["# TYPE mp_endpoints gauge"]
    lines += [f'mp_endpoints{{state="{state}"}} {count}' for state, count in sorted(states.items())]
    return "\n".join(lines) + "\n"
