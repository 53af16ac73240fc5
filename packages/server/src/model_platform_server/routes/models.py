"""`/models` and what belongs to them: versions, cards, aliases, files."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Query, Response
from fastapi.responses import FileResponse, PlainTextResponse

from model_platform_core.cards import parse_card
from model_platform_core.models import ModelVersion, RegisteredModel
from model_platform_core.wire import (
    AliasTarget,
    CardRevision,
    DeletedVersion,
    LineageCompletion,
    ModelPatch,
    Page,
    RegisterVersion,
)
from model_platform_server.ports import ModelFilter
from model_platform_server.routes.common import (
    ActorOf,
    Cursor,
    IdempotencyKey,
    IfMatch,
    Limit,
    PlatformOf,
    VersionOf,
    revision_of,
)
from model_platform_server.services import models, publish

router = APIRouter(prefix="/models", tags=["models"])


@router.get("")
def list_models(
    platform: PlatformOf,
    actor: ActorOf,
    zone: str | None = None,
    q: Annotated[str | None, Query(max_length=200)] = None,
    tier: Annotated[int | None, Query(ge=0, le=3)] = None,
    owner: str | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[RegisteredModel]:
    """The models that the actor may see."""
    where = ModelFilter(zone=zone, query=q, tier=tier, owner=owner)
    return models.list_models(platform, actor, where, limit=limit, cursor=cursor)


@router.get("/{model}")
def get_model(platform: PlatformOf, actor: ActorOf, model: str) -> RegisteredModel:
    """One model."""
    return models.readable_model(platform, actor, model)


@router.patch("/{model}")
def patch_model(platform: PlatformOf, actor: ActorOf, model: str, patch: ModelPatch) -> RegisteredModel:
    """Change description and tags."""
    return models.patch_model(platform, actor, model, patch)


@router.get("/{model}/versions")
def list_versions(
    platform: PlatformOf, actor: ActorOf, model: str, limit: Limit = 100, cursor: Cursor = None
) -> Page[ModelVersion]:
    """The versions of a model, newest first."""
    return models.list_versions(platform, actor, model, limit=limit, cursor=cursor)


@router.post("/{model}/versions", status_code=201)
def register_version(
    platform: PlatformOf,
    actor: ActorOf,
    model: str,
    request: RegisterVersion,
    idempotency_key: IdempotencyKey = None,
) -> ModelVersion:
    """Make a version of files uploaded before; the gate answers with everything that is missing at once.

    Where it is the last version once more, that one is the answer, unless `new` is set.
    """
    return publish.register_version(platform, actor, model, request, idempotency_key)


@router.get("/{model}/versions/{version}")
def get_version(platform: PlatformOf, actor: ActorOf, ref: VersionOf) -> ModelVersion:
    """One version: by number, `latest`, or `@alias`."""
    return models.readable_version(platform, actor, ref)


@router.delete("/{model}/versions/{version}")
def delete_version(platform: PlatformOf, actor: ActorOf, ref: VersionOf) -> DeletedVersion:
    """Delete a version that nothing refers to; for 30 days it can come back."""
    return models.delete_version(platform, actor, ref)


@router.post("/{model}/versions/{version}/restore")
def restore_version(platform: PlatformOf, actor: ActorOf, ref: VersionOf) -> ModelVersion:
    """Bring a deleted version back, with its card, files and number."""
    return models.restore_version(platform, actor, ref)


@router.get("/{model}/versions/{version}/card")
def get_card(platform: PlatformOf, actor: ActorOf, ref: VersionOf, response: Response) -> CardRevision:
    """The newest revision of a version's card; its number is the ETag."""
    newest = models.card_revisions(platform, actor, ref)[0]
    response.headers["ETag"] = f'"{newest.revision}"'
    return newest


@router.get("/{model}/versions/{version}/card/revisions")
def list_card_revisions(platform: PlatformOf, actor: ActorOf, ref: VersionOf) -> Page[CardRevision]:
    """Every revision of a version's card, newest first."""
    return Page(items=models.card_revisions(platform, actor, ref))


@router.put("/{model}/versions/{version}/card")
def put_card(
    platform: PlatformOf,
    actor: ActorOf,
    ref: VersionOf,
    content: Annotated[dict[str, object], Body()],
    response: Response,
    if_match: IfMatch = None,
) -> CardRevision:
    """Write a new revision; `If-Match` holds the revision that was read."""
    written = models.revise_card(platform, actor, ref, parse_card(content), revision_of(if_match))
    response.headers["ETag"] = f'"{written.revision}"'
    return written


@router.patch("/{model}/versions/{version}/lineage")
def complete_lineage(
    platform: PlatformOf, actor: ActorOf, ref: VersionOf, completion: LineageCompletion
) -> ModelVersion:
    """Add what became known after the publish; only its publisher, and only what was recorded as pending."""
    return models.complete_lineage(platform, actor, ref, completion)


@router.get("/{model}/versions/{version}/files/{path:path}", response_class=FileResponse)
def get_file(platform: PlatformOf, actor: ActorOf, ref: VersionOf, path: str) -> FileResponse:
    """The bytes of one file of a version."""
    return FileResponse(models.version_file(platform, actor, ref, path), media_type="application/octet-stream")


@router.get("/{model}/versions/{version}/lock", response_class=PlainTextResponse)
def get_lock(platform: PlatformOf, actor: ActorOf, ref: VersionOf) -> str:
    """The lock of a version's environment, with what was added after the publish; wheels are among the version's files."""
    return models.version_lock(platform, actor, ref)


@router.put("/{model}/aliases/{alias}")
def set_alias(platform: PlatformOf, actor: ActorOf, model: str, alias: str, target: AliasTarget) -> RegisteredModel:
    """Point an alias at a version."""
    models.set_alias(platform, actor, model, alias, target.version)
    return models.readable_model(platform, actor, model)


@router.delete("/{model}/aliases/{alias}", status_code=204)
def delete_alias(platform: PlatformOf, actor: ActorOf, model: str, alias: str) -> Response:
    """Remove an alias."""
    models.delete_alias(platform, actor, model, alias)
    return Response(status_code=204)
