"""`/uploads`: files of a version on their way in, resumable by offset."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from model_platform_core.errors import InvalidUploadError
from model_platform_core.models import check_relative_path
from model_platform_core.wire import UploadStart, UploadStatus
from model_platform_server.routes.common import ActorOf, PlatformOf
from model_platform_server.services import publish

router = APIRouter(prefix="/uploads", tags=["uploads"])

_BLOCK_BYTES = 1 << 20


@router.post("", status_code=201)
def start_upload(platform: PlatformOf, actor: ActorOf, request: UploadStart) -> UploadStatus:
    """Announce the files of a version. `received` says what need not come: the actor could read it already."""
    return publish.start_upload(platform, actor, request)


@router.get("/{upload}")
def get_upload(platform: PlatformOf, actor: ActorOf, upload: str) -> UploadStatus:
    """What has come of an upload."""
    return publish.upload_status(platform, actor, upload)


@router.put("/{upload}/files/{path:path}")
async def write_part(
    platform: PlatformOf,
    actor: ActorOf,
    upload: str,
    path: str,
    request: Request,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> UploadStatus:
    """Bytes of one file from an offset on. After a break, go on at what `GET /uploads/{upload}` says was received."""
    try:
        check_relative_path(path)
    except ValueError as error:
        raise InvalidUploadError(f"{path!r} is no path of a file: {error}.") from None
    async for block in _blocks(request):
        offset = await run_in_threadpool(publish.write_part, platform, actor, upload, path, offset, iter([block]))
    return await run_in_threadpool(publish.upload_status, platform, actor, upload)


async def _blocks(request: Request) -> AsyncIterator[bytes]:
    """The body in blocks of a useful size, so that memory stays flat and each block is one write."""
    block = bytearray()
    async for piece in request.stream():
        block += piece
        if len(block) >= _BLOCK_BYTES:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)


@router.post("/{upload}/finish")
def finish_upload(platform: PlatformOf, actor: ActorOf, upload: str) -> UploadStatus:
    """Check that every file is there with its digest."""
    return publish.finish_upload(platform, actor, upload)


@router.delete("/{upload}", status_code=204)
def discard_upload(platform: PlatformOf, actor: ActorOf, upload: str) -> Response:
    """Give up an upload."""
    publish.discard_upload(platform, actor, upload)
    return Response(status_code=204)
