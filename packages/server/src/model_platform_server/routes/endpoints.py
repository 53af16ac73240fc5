"""`/endpoints`: what is deployed, and changing it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from model_platform_core.deployments import Endpoint
from model_platform_core.values import digest_of
from model_platform_core.wire import DeployRequest, EndpointMetrics, EndpointResource, LogLine, Page
from model_platform_server.routes.common import (
    ActorOf,
    Cursor,
    EndpointOf,
    IfMatch,
    IfNoneMatch,
    Limit,
    PlatformOf,
    etag_of,
)
from model_platform_server.services import endpoints

router = APIRouter(prefix="/endpoints", tags=["endpoints"])

_LOOK_SECONDS = 0.25


def _status_digest(endpoint: Endpoint) -> str:
    return digest_of(endpoint.status.model_dump(mode="json"))[7:23]


def _shown(endpoint: Endpoint, response: Response) -> EndpointResource:
    response.headers["ETag"] = f'"{endpoint.etag}"'
    response.headers["X-Status"] = _status_digest(endpoint)
    return EndpointResource.of(endpoint)


@router.get("")
def list_endpoints(
    platform: PlatformOf, actor: ActorOf, zone: str | None = None, limit: Limit = 100, cursor: Cursor = None
) -> Page[EndpointResource]:
    """The endpoints that the actor may see."""
    page = endpoints.list_endpoints(platform, actor, zone, limit=limit, cursor=cursor)
    return Page(items=[EndpointResource.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/{zone}/{name}")
async def get_endpoint(
    platform: PlatformOf,
    actor: ActorOf,
    ref: EndpointOf,
    response: Response,
    wait: Annotated[float, Query(ge=0, le=60)] = 0,
    since: str | None = None,
) -> EndpointResource:
    """One endpoint. With `wait` and `since` (the `X-Status` of an earlier answer) it answers when the status changes."""
    deadline = time.monotonic() + wait
    with platform.changes.watched() as changes:
        while True:
            found = await run_in_threadpool(endpoints.readable_endpoint, platform, actor, ref)
            left = deadline - time.monotonic()
            if left <= 0 or since is None or _status_digest(found) != since:
                return _shown(found, response)
            await changes.wait(min(left, _LOOK_SECONDS))


@router.put("/{zone}/{name}", status_code=202)
def deploy(
    platform: PlatformOf,
    actor: ActorOf,
    ref: EndpointOf,
    request: DeployRequest,
    response: Response,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> EndpointResource:
    """Put a version behind the endpoint. `If-Match` holds the etag that was read; `If-None-Match: *` means a new one."""
    etag = endpoints.ANY_ETAG if if_none_match == "*" else etag_of(if_match)
    return _shown(endpoints.deploy(platform, actor, ref, request, etag), response)


@router.delete("/{zone}/{name}", status_code=204)
def delete_endpoint(platform: PlatformOf, actor: ActorOf, ref: EndpointOf) -> Response:
    """Delete the endpoint and end what runs behind it."""
    endpoints.delete(platform, actor, ref)
    return Response(status_code=204)


@router.post("/{zone}/{name}/rollback", status_code=202)
def roll_back(platform: PlatformOf, actor: ActorOf, ref: EndpointOf, response: Response) -> EndpointResource:
    """Go back to what was live before; a change under way is given up."""
    return _shown(endpoints.roll_back(platform, actor, ref), response)


@router.post("/{zone}/{name}/stop", status_code=202)
def stop(platform: PlatformOf, actor: ActorOf, ref: EndpointOf, response: Response) -> EndpointResource:
    """End what runs; the endpoint keeps its name and its history."""
    return _shown(endpoints.set_stopped(platform, actor, ref, stopped=True), response)


@router.post("/{zone}/{name}/start", status_code=202)
def start(platform: PlatformOf, actor: ActorOf, ref: EndpointOf, response: Response) -> EndpointResource:
    """Run again what was live when it was stopped."""
    return _shown(endpoints.set_stopped(platform, actor, ref, stopped=False), response)


@router.get("/{zone}/{name}/metrics")
def get_metrics(platform: PlatformOf, actor: ActorOf, ref: EndpointOf) -> EndpointMetrics:
    """Calls, errors and latencies since the runners started."""
    return endpoints.metrics(platform, actor, ref)


@router.get("/{zone}/{name}/logs", response_class=StreamingResponse)
def get_logs(
    platform: PlatformOf,
    actor: ActorOf,
    ref: EndpointOf,
    deployment: str | None = None,
    lines: Annotated[int, Query(ge=0, le=10_000)] = 100,
    follow: bool = False,
) -> StreamingResponse:
    """The end of the runners' logs as NDJSON, one line of the log in each; with `follow`, what comes as well."""
    found = endpoints.logs(platform, actor, ref, deployment, lines, follow=follow)
    return StreamingResponse(_as_ndjson(found), media_type="application/x-ndjson")


def _as_ndjson(lines: Iterator[LogLine]) -> Iterator[str]:
    for line in lines:
        yield line.model_dump_json() + "\n"
