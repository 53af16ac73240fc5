"""What a session changes in the registry, collected while it is flushed, with the values before."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from mlflow.entities.model_registry.model_version_stages import STAGE_DELETED_INTERNAL
from mlflow.store.model_registry.dbmodels.models import (
    SqlModelVersion,
    SqlModelVersionTag,
    SqlRegisteredModel,
    SqlRegisteredModelAlias,
    SqlRegisteredModelTag,
)
from sqlalchemy import event
from sqlalchemy.orm import Session, UOWTransaction

from model_platform_core.events import EventType
from model_platform_server.adapters.mlflow.deleted import WIPED
from model_platform_server.adapters.mlflow.sessions import GovernedSession

_KEY = "registry_changes"


@dataclass(frozen=True)
class NewVersion:
    """A version as MLflow writes it."""

    name: str
    version: int
    location: str
    run_id: str | None
    description: str


@dataclass
class Changes:
    """Everything that happened to the registry since the last commit; names are full.

    `deleted_versions` hold what MLflow had written of them; those of a deleted model are among them.
    """

    new_models: list[str] = field(default_factory=list)
    new_versions: list[NewVersion] = field(default_factory=list)
    deleted_versions: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    deleted_models: list[str] = field(default_factory=list)
    renamed: list[tuple[str, str]] = field(default_factory=list)
    touched_versions: set[tuple[str, int]] = field(default_factory=set)
    touched_models: set[str] = field(default_factory=set)
    told: dict[tuple[EventType, str, int | str], dict[str, Any]] = field(default_factory=dict)

    def tell(self, kind: EventType, name: str, about: int | str = 0, **data: Any) -> None:
        """Something to write an event of; what is told twice of one thing in one commit is one event."""
        known = self.told.setdefault((kind, name, about), {})
        changed = {*known.get("changed", ()), *data.get("changed", ())}
        known.update(data, **({"changed": sorted(changed)} if changed else {}))


def take(session: Session) -> Changes | None:
    """The changes since the last commit, once; None if there are none."""
    changes = session.info.pop(_KEY, None)
    return changes if isinstance(changes, Changes) else None


@event.listens_for(GovernedSession, "after_soft_rollback")
def _forget(session: Session, _previous: object) -> None:
    session.info.pop(_KEY, None)


@event.listens_for(GovernedSession, "after_flush")
def _collect(session: Session, _context: UOWTransaction) -> None:
    rows = [*session.new, *session.dirty, *session.deleted]
    if not any(type(row) in _COLLECTORS for row in rows):
        return
    changes = session.info.setdefault(_KEY, Changes())
    for row in rows:
        if (collect := _COLLECTORS.get(type(row))) is not None:
            what = "new" if row in session.new else "deleted" if row in session.deleted else "changed"
            collect(changes, row, what)


def _before(row: Any, attribute: str) -> Any:
    """The value before, if the attribute changes; None otherwise."""
    history = sa.inspect(row).attrs[attribute].history
    return history.deleted[0] if history.has_changes() and history.deleted else None


def _changes(row: Any, attribute: str) -> bool:
    return bool(sa.inspect(row).attrs[attribute].history.has_changes())


def _model(changes: Changes, row: SqlRegisteredModel, what: str) -> None:
    if what == "new":
        changes.new_models.append(row.name)
    elif what == "deleted":
        changes.deleted_models.append(row.name)
    else:
        changes.touched_models.add(row.name)
        if before := _before(row, "name"):
            changes.renamed.append((before, row.name))
        if _changes(row, "description"):
            changes.tell(EventType.MODEL_CHANGED, row.name, changed=["description"])


def _version(changes: Changes, row: SqlModelVersion, what: str) -> None:
    if what == "new":
        location = row.storage_location or row.source or ""
        changes.new_versions.append(NewVersion(row.name, row.version, location, row.run_id, row.description or ""))
    elif what == "changed":
        if _changes(row, "current_stage") and row.current_stage == STAGE_DELETED_INTERNAL:
            changes.deleted_versions[row.name, row.version] = _written(row)
            return
        changed = [name for name in ("description", "current_stage") if _changes(row, name)]
        if changed:
            changes.touched_versions.add((row.name, row.version))
            stage = {"stage": row.current_stage} if "current_stage" in changed else {}
            changes.tell(EventType.VERSION_CHANGED, row.name, row.version, changed=changed, **stage)
    elif what == "deleted" and row.current_stage != STAGE_DELETED_INTERNAL:
        changes.deleted_versions[row.name, row.version] = _written(row)


def _written(row: SqlModelVersion) -> dict[str, Any]:
    """What MLflow had written of a version before it wiped it."""
    return {name: _before(row, name) if _changes(row, name) else getattr(row, name) for name in WIPED}


def _model_tag(changes: Changes, row: SqlRegisteredModelTag, _what: str) -> None:
    changes.touched_models.add(row.name)
    changes.tell(EventType.MODEL_CHANGED, row.name, changed=[f"tag {row.key}"])


def _version_tag(changes: Changes, row: SqlModelVersionTag, _what: str) -> None:
    changes.touched_versions.add((row.name, row.version))
    changes.tell(EventType.VERSION_CHANGED, row.name, row.version, changed=[f"tag {row.key}"])


def _alias(changes: Changes, row: SqlRegisteredModelAlias, what: str) -> None:
    changes.touched_models.add(row.name)
    if what == "deleted":
        changes.tell(EventType.ALIAS_DELETED, row.name, row.alias, version=row.version)
    elif what == "new" or _changes(row, "version"):
        changes.tell(EventType.ALIAS_SET, row.name, row.alias, version=row.version, before=_before(row, "version"))


_COLLECTORS: dict[type, Any] = {
    SqlRegisteredModel: _model,
    SqlModelVersion: _version,
    SqlRegisteredModelTag: _model_tag,
    SqlModelVersionTag: _version_tag,
    SqlRegisteredModelAlias: _alias,
}
