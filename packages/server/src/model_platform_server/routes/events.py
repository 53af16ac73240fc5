"""`/events`: what happened, as a page or as a stream that can be resumed by id."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from model_platform_core.access import Actor
from model_platform_core.events import Event
from model_platform_core.wire import Page
from model_platform_server.routes.common import ActorOf, PlatformOf
from model_platform_server.services.events import events_after
from model_platform_server.services.platform import Platform

router = APIRouter(prefix="/events", tags=["events"])

_LOOK_SECONDS = 0.5
_KEEP_ALIVE_LOOKS = 30
_STREAM_SECONDS = 300.0  # then the reader comes back with its last id and shows its token again


@router.get("", response_model=Page[Event])
async def read_events(
    platform: PlatformOf,
    actor: ActorOf,
    request: Request,
    after: Annotated[int | None, Query(ge=0)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 500,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response | Page[Event]:
    """Events after an id. With `Accept: text/event-stream` a stream: `Last-Event-ID` or `after` resumes it without loss.

    Without an id the page begins at the beginning, the stream at what comes next.
    """
    resume = int(last_event_id) if last_event_id and last_event_id.isdigit() else after
    if "text/event-stream" in request.headers.get("accept", ""):
        start = await run_in_threadpool(platform.events.last_id) if resume is None else resume
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return StreamingResponse(_stream(platform, actor, start), media_type="text/event-stream", headers=headers)
    found = await run_in_threadpool(events_after, platform, actor, resume or 0, limit)
    return Page(items=found, next_cursor=str(found[-1].id) if len(found) == limit else None)


async def _stream(platform: Platform, actor: Actor, last_id: int) -> AsyncIterator[str]:
    idle, ends = 0, time.monotonic() + _STREAM_SECONDS
    yield ": connected\n\n"
    with suppress(asyncio.CancelledError), platform.changes.watched() as changes:
        while time.monotonic() < ends:
            found = await run_in_threadpool(events_after, platform, actor, last_id)
            for event in found:
                yield f"id: {event.id}\nevent: {event.type}\ndata: {event.model_dump_json()}\n\n"
                last_id = event.id
            idle = 0 if found else idle + 1
            if idle >= _KEEP_ALIVE_LOOKS:
                yield ": keep-alive\n\n"
                idle = 0
            if not found:
                await changes.wait(_LOOK_SECONDS)
