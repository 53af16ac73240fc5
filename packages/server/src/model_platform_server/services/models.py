"""Registered models, their versions, cards and aliases."""

from __future__ import annotations

from pathlib import Path

from model_platform_core.access import Actor, Scope
from model_platform_core.cards import ModelCard
from model_platform_core.errors import (
    AliasNotFoundError,
    ForbiddenError,
    ModelNotFoundError,
    NotFoundError,
    VersionNotFoundError,
)
from model_platform_core.events import EventType, NewEvent
from model_platform_core.gate import check_registration, contents_of
from model_platform_core.models import ModelVersion, RegisteredModel
from model_platform_core.refs import ModelRef, VersionRef, check_name
from model_platform_core.wire import CardRevision, DeletedVersion, LineageCompletion, ModelPatch, Page
from model_platform_server.ports import ModelFilter
from model_platform_server.services.platform import Platform


def readable_model(platform: Platform, actor: Actor, name: str) -> RegisteredModel:
    """A model that the actor may see; a bare name means the home zone.

    Raises
    ------
    ModelNotFoundError
        Also for a model that the actor may not know of.
    """
    ref = actor.qualify(name)
    model = platform.catalogue.model(ref) if actor.may(Scope.MODELS_READ, ref.zone or "") else None
    if model is None:
        raise _no_model(name)
    return model


def _no_model(name: str) -> ModelNotFoundError:
    return ModelNotFoundError(f"There is no model {name}.", hint="%mp_models lists the models")


def readable_version(platform: Platform, actor: Actor, ref: VersionRef) -> ModelVersion:
    """A version by number, by alias, or the newest.

    Raises
    ------
    ModelNotFoundError, VersionNotFoundError, AliasNotFoundError
        With what there is instead.
    """
    model = readable_model(platform, actor, str(ref.model))
    found = platform.catalogue.version(VersionRef(ModelRef(model.zone, model.name), ref.version, ref.alias))
    if found is not None:
        return found
    if ref.alias:
        known = ", ".join(sorted(model.aliases)) or "none"
        raise AliasNotFoundError(f"{model.name} has no alias {ref.alias}; its aliases: {known}.")
    number = VersionRef(ModelRef(model.zone, model.name), ref.version)
    if ref.version is not None and (gone := platform.catalogue.deleted(number)) is not None:
        raise VersionNotFoundError(
            f"{model.name} version {gone.version} was deleted by {gone.by} on {gone.at:%-d %B %Y}; "
            f"until {gone.until:%-d %B %Y} it can come back.",
            hint=f"%mp_delete {model.name}:{gone.version} --undo",
        )
    newest = f"the newest is {model.newest_version}" if model.newest_version else "it has no version"
    raise _no_version(model.name, ref.version, newest)


def _no_version(name: str, version: int | None, what_there_is: str) -> VersionNotFoundError:
    which = f"version {version}" if version else "version"
    return VersionNotFoundError(f"{name} has no {which}; {what_there_is}.")


def list_models(
    platform: Platform, actor: Actor, where: ModelFilter, *, limit: int, cursor: str | None
) -> Page[RegisteredModel]:
    """The models that the actor may see, narrowed."""
    return platform.catalogue.models(actor.zones(Scope.MODELS_READ), where, limit=limit, cursor=cursor)


def list_versions(platform: Platform, actor: Actor, name: str, *, limit: int, cursor: str | None) -> Page[ModelVersion]:
    """The versions of a model, newest first."""
    model = readable_model(platform, actor, name)
    return platform.catalogue.versions(ModelRef(model.zone, model.name), limit=limit, cursor=cursor)


def patch_model(platform: Platform, actor: Actor, name: str, patch: ModelPatch) -> RegisteredModel:
    """Change description and tags."""
    model = readable_model(platform, actor, name)
    actor.require(Scope.MODELS_PUBLISH, model.zone)
    platform.registry.patch_model(actor, ModelRef(model.zone, model.name), patch)
    platform.changes.notify()
    return readable_model(platform, actor, model.full_name)


def set_alias(platform: Platform, actor: Actor, name: str, alias: str, version: int) -> None:
    """Point an alias at a version. What is deployed does not move with it."""
    found = readable_version(platform, actor, VersionRef(ModelRef.parse(name), version))
    actor.require(Scope.MODELS_MANAGE, found.zone)
    platform.registry.set_alias(actor, ModelRef(found.zone, found.name), check_name("alias", alias), version)
    platform.changes.notify()


def delete_alias(platform: Platform, actor: Actor, name: str, alias: str) -> None:
    """Remove an alias."""
    model = readable_model(platform, actor, name)
    actor.require(Scope.MODELS_MANAGE, model.zone)
    if alias not in model.aliases:
        raise AliasNotFoundError(f"{model.name} has no alias {alias}.")
    platform.registry.delete_alias(actor, ModelRef(model.zone, model.name), alias)
    platform.changes.notify()


def delete_version(platform: Platform, actor: Actor, ref: VersionRef) -> DeletedVersion:
    """Delete a version that nothing refers to: the registry refuses to delete what is in use. It can come back.

    Raises
    ------
    InUseError
        Names the endpoints that run it or could roll back to it, or the alias that means it.
    """
    found = readable_version(platform, actor, ref)
    actor.require(Scope.MODELS_MANAGE, found.zone)
    number = VersionRef(ModelRef(found.zone, found.name), found.version)
    platform.registry.delete_version(actor, number)
    platform.changes.notify()
    kept = platform.catalogue.deleted(number)
    if kept is None:
        raise _no_version(found.name, found.version, "somebody has brought it back already")
    return kept


def restore_version(platform: Platform, actor: Actor, ref: VersionRef) -> ModelVersion:
    """Bring a deleted version back. What is there already is given as it is.

    Raises
    ------
    VersionNotFoundError
        If it was never there, or is purged.
    """
    model = actor.qualify(str(ref.model))
    if not actor.may(Scope.MODELS_READ, model.zone or ""):
        raise _no_model(str(ref.model))
    actor.require(Scope.MODELS_MANAGE, model.zone or "")
    number = VersionRef(model, ref.version)
    if (there := platform.catalogue.version(number)) is not None:
        return there
    platform.registry.restore_version(actor, number)
    platform.changes.notify()
    return readable_version(platform, actor, number)


def card_revisions(platform: Platform, actor: Actor, ref: VersionRef) -> list[CardRevision]:
    """Every revision of a version's card, newest first."""
    found = readable_version(platform, actor, ref)
    return platform.catalogue.card_revisions(VersionRef(ModelRef(found.zone, found.name), found.version))


def revise_card(
    platform: Platform, actor: Actor, ref: VersionRef, card: ModelCard, revision: int | None
) -> CardRevision:
    """Write a new revision of a version's card.

    Parameters
    ----------
    revision
        The revision that was read; None means the newest.

    Raises
    ------
    CardIncompleteError, FormatRefusedError
        If the version could not have been registered with this card.
    ChangedSinceReadError
        If somebody revised it in between.
    """
    found = readable_version(platform, actor, ref)
    actor.require(Scope.MODELS_PUBLISH, found.zone)
    paths = [file.path for file in found.files]
    name = f"The card of {found.name} version {found.version}"
    contents = contents_of(found.format, found.behaviour)
    check_registration(platform.zone(found.zone), name, card, paths, contents=contents, done="changed")
    data = {"version": found.version, "sha256": card.digest()}
    event = NewEvent(type=EventType.CARD_REVISED, actor=actor.name, zone=found.zone, subject=found.full_name, data=data)
    number = VersionRef(ModelRef(found.zone, found.name), found.version)
    written = platform.catalogue.revise_card(number, card, revision or found.card_revision, actor.name, event)
    platform.changes.notify()
    return written


def complete_lineage(platform: Platform, actor: Actor, ref: VersionRef, completion: LineageCompletion) -> ModelVersion:
    """Add what became known after the publish, to the parts of the lineage that were recorded as pending.

    Raises
    ------
    ForbiddenError
        Unless the actor published the version.
    ConflictError
        If a part is not pending.
    """
    found = readable_version(platform, actor, ref)
    actor.require(Scope.MODELS_PUBLISH, found.zone)
    if found.published_by != actor.name:
        raise ForbiddenError(
            f"{found.published_by} published {found.name} version {found.version}; nobody else completes its lineage."
        )
    environment = completion.environment
    data = {
        "version": found.version,
        "data": [one.name for one in completion.data],
        "lock_sha256": environment.lock_sha256 if environment else None,
    }
    kind = EventType.LINEAGE_COMPLETED
    event = NewEvent(type=kind, actor=actor.name, zone=found.zone, subject=found.full_name, data=data)
    number = VersionRef(ModelRef(found.zone, found.name), found.version)
    platform.catalogue.complete_lineage(number, completion, event)
    platform.changes.notify()
    return readable_version(platform, actor, number)


def version_lock(platform: Platform, actor: Actor, ref: VersionRef) -> str:
    """The text of a version's lock as it is built from: `lock.txt` among its files, and what was completed since.

    Raises
    ------
    NotFoundError
        If nobody recorded one.
    """
    found = readable_version(platform, actor, ref)
    environment = found.lineage.environment
    if environment is None or not environment.locked:
        raise NotFoundError(f"{found.name} version {found.version} has no lock; its files say what it needs.")
    return environment.lock


def version_file(platform: Platform, actor: Actor, ref: VersionRef, path: str) -> Path:
    """Where one file of a version lies.

    Raises
    ------
    NotFoundError
        If the version has no such file.
    """
    found = readable_version(platform, actor, ref)
    if path not in {file.path for file in found.files}:
        raise NotFoundError(f"{found.name} version {found.version} has no file {path}.")
    return platform.catalogue.directory(found) / path
