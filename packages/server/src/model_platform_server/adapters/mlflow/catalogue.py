"""Our own rows of the registry: written with MLflow's, in one transaction, and the event last of all.

All faces read these (`ports.Catalogue`). Prompts are governed by rights and are not models of the catalogue.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import sqlalchemy as sa
from mlflow.entities.model_registry.prompt_version import IS_PROMPT_TAG_KEY
from mlflow.store.model_registry.dbmodels import models as mlflow_rows
from sqlalchemy import event
from sqlalchemy.orm import Session

from model_platform_core.cards import ModelCard
from model_platform_core.errors import ConflictError
from model_platform_core.events import EventType, NewEvent
from model_platform_server.adapters.database import tables
from model_platform_server.adapters.database.events import write_events
from model_platform_server.adapters.mlflow import changes as collected
from model_platform_server.adapters.mlflow import deleted
from model_platform_server.adapters.mlflow.changes import Changes, NewVersion
from model_platform_server.adapters.mlflow.evidence import Evidence
from model_platform_server.adapters.mlflow.naming import prefix_of, split
from model_platform_server.adapters.mlflow.refusals import Refusal
from model_platform_server.adapters.mlflow.sessions import GovernedSession, acting

_OF_MODEL = (
    tables.models,
    tables.aliases,
    tables.versions,
    tables.files,
    tables.cards,
    tables.seals,
    tables.deleted_versions,
)

_evidence: ContextVar[Evidence | None] = ContextVar("mlflow_evidence", default=None)


@contextmanager
def registering(evidence: Evidence) -> Iterator[None]:
    """Versions that are written inside are those that were examined."""
    token = _evidence.set(evidence)
    try:
        yield
    finally:
        _evidence.reset(token)


def examined() -> Evidence | None:
    """What the version that is being written was examined as, if that was done before."""
    return _evidence.get()


@event.listens_for(GovernedSession, "before_commit")
def _write(session: Session) -> None:
    session.flush()
    changes = collected.take(session)
    if changes is not None:
        Writer(session.connection(), acting().name).write(changes)


class Writer:
    """Writes changes in the transaction in which they happen; `by` is the actor."""

    def __init__(self, connection: sa.Connection, by: str) -> None:
        self._connection = connection
        self._by = by
        self._now = dt.datetime.now(dt.UTC)
        self._events: list[NewEvent] = []

    def write(self, changes: Changes) -> None:
        """Write what one session has changed in MLflow's rows."""
        for name in changes.new_models:
            self._new_model(name)
        for before, after in changes.renamed:
            self._rename(before, after)
        for new in changes.new_versions:
            self._new_version(new)
        for (name, version), written in changes.deleted_versions.items():
            self._delete_version(name, version, written)
        for name in changes.deleted_models:
            self._delete_model(name)
        for name, version in changes.touched_versions:
            self._follow_version(name, version)
        touched = {*changes.touched_models, *(new.name for new in changes.new_versions)}
        for name in sorted(touched | {name for name, _ in changes.deleted_versions}):
            self._follow_model(name)
        self._tell(changes)
        write_events(self._connection, self._events, self._now)

    def _new_model(self, name: str) -> None:
        if self._is_prompt(name):
            return
        made = {"created_by": self._by, "created_at": self._now, "updated_at": self._now}
        self._connection.execute(sa.insert(tables.models).values(**split(name), description="", tags={}, **made))
        self._follow_model(name)
        self._event(EventType.MODEL_REGISTERED, name)

    def _rename(self, before: str, after: str) -> None:
        for table in _OF_MODEL:
            self._connection.execute(sa.update(table).where(*_of(table, before)).values(**split(after)))
        self._event(EventType.MODEL_CHANGED, after, changed=["name"], before=before)

    def _new_version(self, new: NewVersion) -> None:
        if self._is_prompt(new.name):
            return
        evidence = _evidence.get()
        if evidence is None or evidence.location != new.location:
            raise Refusal(ConflictError(f"{new.name} moved while it was being checked; register it again."))
        key = {**split(new.name), "version": new.version}
        self._connection.execute(sa.insert(tables.versions).values(**key, **self._version_row(new, evidence)))
        files = [{**key, **file.model_dump()} for file in evidence.files]
        if files:
            self._connection.execute(sa.insert(tables.files), files)
        card = evidence.card
        self._connection.execute(
            sa.insert(tables.cards).values(
                **key, revision=1, content=_content(card), sha256=card.digest(), by=self._by, at=self._now
            )
        )
        self._seal(evidence, key)
        self._follow_version(new.name, new.version)
        self._event(
            EventType.VERSION_REGISTERED,
            new.name,
            version=new.version,
            artifact_sha256=evidence.sha256,
            card_sha256=card.digest(),
            tier=int(card.tier),
            format=str(evidence.format),
            size=evidence.size,
            model_id=evidence.model_id,
            run_id=new.run_id or None,
        )

    def _version_row(self, new: NewVersion, evidence: Evidence) -> dict[str, Any]:
        return {
            "artifact_sha256": evidence.sha256,
            "content_sha256": evidence.content_sha256,
            "location": evidence.location,
            "size": evidence.size,
            "format": str(evidence.format),
            "signature": evidence.signature.model_dump(mode="json"),
            "behaviour": dict(evidence.behaviour),
            "lineage": evidence.lineage.model_dump(mode="json"),
            "description": new.description,
            "tags": {},
            "model_id": evidence.model_id,
            "run_id": new.run_id or None,
            "published_by": self._by,
            "published_at": self._now,
        }

    def _seal(self, evidence: Evidence, key: dict[str, Any]) -> None:
        prefix = prefix_of(evidence.location)
        if self._connection.scalar(sa.select(tables.seals.c.prefix).where(tables.seals.c.prefix == prefix)) is None:
            sealed = {"prefix": prefix, "artifact_sha256": evidence.sha256, "at": self._now}
            self._connection.execute(sa.insert(tables.seals).values(**key, **sealed))

    def _delete_version(self, name: str, version: int, written: Mapping[str, Any]) -> None:
        found = deleted.keep(self._connection, name, version, written, self._by, self._now)
        if found is not None:
            self._event(EventType.VERSION_DELETED, name, version=version, artifact_sha256=found.artifact_sha256)

    def restore(self, name: str, version: int) -> None:
        """Bring a deleted version back, and tell it."""
        deleted.bring_back(self._connection, name, version)
        self._follow_model(name)
        self._event(EventType.VERSION_RESTORED, name, version=version)
        write_events(self._connection, self._events, self._now)

    def purge(self, before: dt.datetime) -> int:
        """Give up what was deleted before, and tell it; how many versions."""
        found = deleted.forget(self._connection, before)
        for one in found:
            self._event(EventType.VERSION_PURGED, one.name, version=one.version)
        write_events(self._connection, self._events, self._now)
        return len(found)

    def _delete_model(self, name: str) -> None:
        of_model = _of(tables.models, name)
        if self._connection.execute(sa.select(tables.models.c.name).where(*of_model)).first() is None:
            return
        for table in (tables.aliases, tables.models):
            self._connection.execute(sa.delete(table).where(*_of(table, name)))
        self._event(EventType.MODEL_DELETED, name)

    def _follow_version(self, name: str, version: int) -> None:
        row = mlflow_rows.SqlModelVersion.__table__
        tag = mlflow_rows.SqlModelVersionTag.__table__
        description = self._connection.scalar(
            sa.select(row.c.description).where(row.c.name == name, row.c.version == version)
        )
        tags = self._connection.execute(
            sa.select(tag.c.key, tag.c.value).where(tag.c.name == name, tag.c.version == version)
        )
        values = {"description": description or "", "tags": {one.key: one.value for one in tags}}
        self._connection.execute(
            sa.update(tables.versions).where(*_of(tables.versions, name, version)).values(**values)
        )

    def _follow_model(self, name: str) -> None:
        if self._connection.execute(sa.select(tables.models.c.name).where(*_of(tables.models, name))).first() is None:
            return
        row, tag, alias = (
            table.__table__
            for table in (
                mlflow_rows.SqlRegisteredModel,
                mlflow_rows.SqlRegisteredModelTag,
                mlflow_rows.SqlRegisteredModelAlias,
            )
        )
        description = self._connection.scalar(sa.select(row.c.description).where(row.c.name == name))
        tags = self._connection.execute(sa.select(tag.c.key, tag.c.value).where(tag.c.name == name))
        values = {
            "description": description or "",
            "tags": {one.key: one.value for one in tags},
            "updated_at": self._now,
            **self._newest(name),
        }
        self._connection.execute(sa.update(tables.models).where(*_of(tables.models, name)).values(**values))
        self._connection.execute(sa.delete(tables.aliases).where(*_of(tables.aliases, name)))
        for one in self._connection.execute(
            sa.select(alias.c.alias, alias.c.version).where(alias.c.name == name)
        ).all():
            pointing = {**split(name), "alias": one.alias, "version": one.version}
            self._connection.execute(sa.insert(tables.aliases).values(**pointing))

    def _newest(self, name: str) -> dict[str, Any]:
        cards = tables.cards
        newest = self._connection.scalar(
            sa.select(sa.func.max(tables.versions.c.version)).where(*_of(tables.versions, name))
        )
        content = self._connection.scalar(
            sa.select(cards.c.content).where(*_of(cards, name, newest or 0)).order_by(cards.c.revision.desc()).limit(1)
        )
        card = ModelCard.model_validate(content) if content is not None else None
        tier, owner = (int(card.tier), card.owner) if card else (None, None)
        return {"newest_version": newest, "tier": tier, "owner": owner}

    def _tell(self, changes: Changes) -> None:
        """What was changed in models that are still there and not new: the rest has an event of its own."""
        fresh = {*changes.new_models, *changes.deleted_models}
        made = {(new.name, new.version) for new in changes.new_versions} | set(changes.deleted_versions)
        for (kind, name, about), data in changes.told.items():
            of_version = kind is EventType.VERSION_CHANGED
            if name in fresh or (of_version and (name, about) in made) or self._is_prompt(name):
                continue
            told = {"version": about} if of_version else {"alias": about} if about else {}
            self._event(kind, name, **told, **data)

    def _event(self, kind: EventType, name: str, **data: Any) -> None:
        event_ = NewEvent(type=kind, actor=self._by, zone=split(name)["zone"], subject=name, data=data)
        self._events.append(event_)

    def _is_prompt(self, name: str) -> bool:
        tag = mlflow_rows.SqlRegisteredModelTag.__table__
        value = self._connection.scalar(
            sa.select(tag.c.value).where(tag.c.name == name, tag.c.key == IS_PROMPT_TAG_KEY)
        )
        return str(value).lower() == "true"


def _of(table: sa.Table, full_name: str, version: int | None = None) -> list[sa.ColumnElement[bool]]:
    key: dict[str, Any] = split(full_name) | ({} if version is None else {"version": version})
    return [table.c[column] == value for column, value in key.items()]


def _content(card: ModelCard) -> dict[str, Any]:
    return card.model_dump(mode="json", exclude_defaults=True)
