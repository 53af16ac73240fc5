"""Publishing: files come in, digests are checked, and one use-case makes run, logged model, version, card and event."""

from __future__ import annotations

from collections.abc import Iterator

from model_platform_core.access import Actor, Scope
from model_platform_core.cards import parse_card
from model_platform_core.errors import ConflictError, UploadNotFoundError
from model_platform_core.models import ModelVersion
from model_platform_core.refs import ModelRef, VersionRef, check_name
from model_platform_core.values import digest_of
from model_platform_core.wire import RegisterVersion, UploadStart, UploadStatus
from model_platform_server.ports import Registration, RequestKey
from model_platform_server.services.platform import Platform


def _publishable(platform: Platform, actor: Actor, name: str) -> ModelRef:
    ref = actor.qualify(name)
    actor.require(Scope.MODELS_PUBLISH, ref.zone or "")
    platform.zone(ref.zone or "")
    return ref


def start_upload(platform: Platform, actor: Actor, request: UploadStart) -> UploadStatus:
    """Announce the files of a version. What the actor may read already is taken from there and need not come again.

    Raises
    ------
    ForbiddenError
        Unless the actor may publish in the model's zone.
    """
    ref = _publishable(platform, actor, request.model)
    status = platform.uploads.start(ref, actor.name, request.files)
    digests = [file.sha256 for file in request.files if file.size]
    known = platform.catalogue.readable_digests(actor.zones(Scope.MODELS_READ), digests)
    for file in request.files:
        if file.sha256 in known:
            platform.uploads.link(status.id, file.path, known[file.sha256])
    return platform.uploads.status(status.id)


def _own_upload(platform: Platform, actor: Actor, upload_id: str) -> ModelRef:
    model, owner = platform.uploads.owner(upload_id)
    if owner != actor.name:
        raise UploadNotFoundError(f"There is no upload {upload_id}.", hint="publish again")
    return model


def write_part(platform: Platform, actor: Actor, upload_id: str, path: str, offset: int, data: Iterator[bytes]) -> int:
    """Take bytes of one file at an offset; how many it has now."""
    _own_upload(platform, actor, upload_id)
    return platform.uploads.write(upload_id, path, offset, data)


def upload_status(platform: Platform, actor: Actor, upload_id: str) -> UploadStatus:
    """What has come of an upload."""
    _own_upload(platform, actor, upload_id)
    return platform.uploads.status(upload_id)


def finish_upload(platform: Platform, actor: Actor, upload_id: str) -> UploadStatus:
    """Check that every file is there with its digest."""
    _own_upload(platform, actor, upload_id)
    platform.uploads.finish(upload_id)
    return platform.uploads.status(upload_id)


def discard_upload(platform: Platform, actor: Actor, upload_id: str) -> None:
    """Give up an upload."""
    _own_upload(platform, actor, upload_id)
    platform.uploads.discard(upload_id)


def register_version(
    platform: Platform, actor: Actor, name: str, request: RegisterVersion, idempotency_key: str | None
) -> ModelVersion:
    """Make a version of an upload, or refuse it with everything that is missing at once; then nothing is registered.

    Parameters
    ----------
    idempotency_key
        A second request with the same key and content gets the version that the first one made. So does one that would
        make the last version once more: it gets that one.

    Raises
    ------
    CardIncompleteError, FormatRefusedError, InvalidCardError, InvalidModelError
        The gate.
    ConflictError
        If the key was used for another request.
    """
    ref = _publishable(platform, actor, name)
    digest = digest_of([str(ref), request.model_dump(mode="json")])
    key = RequestKey(idempotency_key, digest) if idempotency_key else None
    if made := _made_before(platform, actor, key):
        platform.uploads.discard(request.upload)  # who made it may have been killed before that
        return made
    if _own_upload(platform, actor, request.upload) != ref:
        raise ConflictError(f"The upload {request.upload} is for another model than {ref}.")
    card = parse_card(request.card)
    if card.owner is None:
        card = card.model_copy(update={"owner": actor.name})
    aliases = tuple(check_name("alias", alias) for alias in request.aliases)
    if aliases:
        actor.require(Scope.MODELS_MANAGE, ref.zone or "")
    directory, files = platform.uploads.finish(request.upload)
    registration = Registration(
        model=ref,
        directory=directory,
        files=files,
        card=card,
        lineage=request.lineage,
        metrics=request.metrics,
        description=request.description,
        tags=request.tags,
        aliases=aliases,
        key=key,
        new=request.new,
    )
    try:
        number = platform.registry.register(actor, registration)
    except ConflictError:  # the same request may have come twice at once
        if made := _made_before(platform, actor, key):
            return made
        raise
    platform.uploads.discard(request.upload)
    platform.changes.notify()
    version = platform.catalogue.version(number)
    if version is None:
        raise ConflictError(f"{number} was deleted by somebody else just now; publish again.")
    return version


def _made_before(platform: Platform, actor: Actor, key: RequestKey | None) -> ModelVersion | None:
    found = platform.answers.get(actor.name, key.key) if key else None
    if key is None or found is None:
        return None
    if found[0] != key.sha256:
        raise ConflictError(f"The idempotency key {key.key} was used for another request; use a new one.")
    return platform.catalogue.version(VersionRef.parse(found[1]))
