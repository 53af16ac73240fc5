"""Versions that were deleted: their rows are kept aside, so that they can come back, until they are purged.

Out of our tables and out of sight in MLflow's, a deleted version is gone for every reader at once. Its files stay sealed
where they lie. A purged one leaves its number, which is never given again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa
from mlflow.entities.lifecycle_stage import LifecycleStage
from mlflow.entities.model_registry.model_version_stages import STAGE_DELETED_INTERNAL
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion, SqlModelVersionTag
from mlflow.store.tracking.dbmodels.models import SqlLoggedModel

from model_platform_server.adapters.database import tables
from model_platform_server.adapters.mlflow.naming import split

_KEPT = tables.deleted_versions
_TABLES = {"files": tables.files, "cards": tables.cards}
_KEY = ("zone", "name", "version")

WIPED = (
    "description",
    "user_id",
    "current_stage",
    "source",
    "storage_location",
    "run_id",
    "run_link",
    "status",
    "status_message",
    "creation_time",
)
"""What MLflow has written of a version, and wipes when it is deleted."""


class Purged(NamedTuple):
    """A version that cannot come back any more."""

    name: str
    version: int


def keep(
    connection: sa.Connection, name: str, version: int, written: Mapping[str, Any], by: str, now: dt.datetime
) -> sa.Row[Any] | None:
    """Set a version's rows aside; the row of the version, None if it is none of ours. `written` is what MLflow wiped.

    Its files stay sealed: for another version of them, where there is one.
    """
    row = connection.execute(sa.select(tables.versions).where(*_of(tables.versions, name, version))).first()
    if row is None:
        return None
    content: dict[str, Any] = {"version": _plain(row), "mlflow": dict(written)}
    for what, table in _TABLES.items():
        content[what] = [_plain(one) for one in connection.execute(sa.select(table).where(*_of(table, name, version)))]
    for table in (tables.versions, *_TABLES.values()):
        connection.execute(sa.delete(table).where(*_of(table, name, version)))
    key = {**split(name), "version": version}
    where = {"location": row.location, "model_id": row.model_id}
    connection.execute(sa.insert(_KEPT).values(**key, **where, content=content, by=by, at=now))
    if (heir := heir_of(connection, row.location)) is not None:
        connection.execute(sa.update(tables.seals).where(*_of(tables.seals, name, version)).values(**heir))
    return row


def is_kept(connection: sa.Connection, name: str, version: int) -> bool:
    """Whether a deleted version can come back; it is not purged before the transaction ends."""
    kept = sa.select(_KEPT.c.version).where(*_of(_KEPT, name, version), _KEPT.c.content.is_not(None))
    return connection.execute(kept.with_for_update()).first() is not None


def bring_back(connection: sa.Connection, name: str, version: int) -> None:
    """Put the rows of a version that is kept back where they were, MLflow's too; its model is there, and locked."""
    key = {**split(name), "version": version}
    row = connection.execute(sa.select(_KEPT).where(*_of(_KEPT, name, version))).one()
    content = row.content
    connection.execute(sa.insert(tables.versions).values(**key, **_typed(tables.versions, content["version"])))
    for what, table in _TABLES.items():
        rows = [{**key, **_typed(table, one)} for one in content[what]]
        if rows:
            connection.execute(sa.insert(table), rows)
    connection.execute(sa.delete(_KEPT).where(*_of(_KEPT, name, version)))
    _bring_back_mlflow(connection, name, version, content)
    if row.model_id is not None:
        models = SqlLoggedModel.__table__
        active = {"lifecycle_stage": LifecycleStage.ACTIVE}
        connection.execute(sa.update(models).where(models.c.model_id == row.model_id).values(**active))


def _bring_back_mlflow(connection: sa.Connection, name: str, version: int, content: Mapping[str, Any]) -> None:
    rows, tags = SqlModelVersion.__table__, SqlModelVersionTag.__table__
    known = connection.execute(
        sa.update(rows).where(rows.c.name == name, rows.c.version == version).values(**content["mlflow"])
    )
    if known.rowcount == 0:  # the whole model was deleted, and its rows with it
        connection.execute(sa.insert(rows).values(name=name, version=version, **content["mlflow"]))
    there = set(connection.scalars(sa.select(tags.c.key).where(tags.c.name == name, tags.c.version == version)))
    for key, value in content["version"]["tags"].items():
        if key not in there:
            connection.execute(sa.insert(tags).values(name=name, version=version, key=key, value=value))


def remember_numbers(connection: sa.Connection, name: str) -> None:
    """Let MLflow, which counts up from the versions of a model, go on after those of a deleted one of that name."""
    newest = connection.scalar(sa.select(sa.func.max(_KEPT.c.version)).where(*_of(_KEPT, name)))
    if newest is not None:
        gone = {"name": name, "version": newest, "current_stage": STAGE_DELETED_INTERNAL}
        connection.execute(sa.insert(SqlModelVersion.__table__).values(**gone))


# ---------------------------------------------------------------- the end


def forget(connection: sa.Connection, before: dt.datetime) -> list[Purged]:
    """Drop what could bring back the versions that were deleted before; their files are removed by `remove_files`."""
    due = (_KEPT.c.at <= before, _KEPT.c.content.is_not(None))
    rows = connection.execute(sa.select(_KEPT.c.zone, _KEPT.c.name, _KEPT.c.version).where(*due).with_for_update())
    found = [Purged(f"{row.zone}.{row.name}", row.version) for row in rows]
    for one in found:
        connection.execute(sa.update(_KEPT).where(*_of(_KEPT, one.name, one.version)).values(content=None))
    return found


def remove_files(engine: sa.Engine, remove: Callable[[str], bool]) -> None:
    """Remove the files of purged versions, then their seals: whoever is killed in between leaves the rest to the next.

    Parameters
    ----------
    remove
        Removes what lies at a place of the artifact store; whether it is gone.
    """
    seals = tables.seals
    same = sa.and_(*(seals.c[key] == _KEPT.c[key] for key in _KEY))
    query = sa.select(seals.c.prefix, _KEPT.c.location, _KEPT.c.model_id).join(_KEPT, same)
    with engine.connect() as connection:
        ended = connection.execute(query.where(_KEPT.c.content.is_(None))).all()
    for row in ended:
        with engine.connect().execution_options(writes=True) as connection, connection.begin():
            heir = heir_of(connection, row.location)
            of_seal = seals.c.prefix == row.prefix
            if heir is not None:
                connection.execute(sa.update(seals).where(of_seal).values(**heir))
                continue
            if not _is_active(connection, row.model_id) and not remove(row.prefix):
                continue
            connection.execute(sa.delete(seals).where(of_seal))


def heir_of(connection: sa.Connection, location: str) -> dict[str, Any] | None:
    """Another version of the same files, for which they stay sealed: one that is there, or could come back."""
    for table, more in ((tables.versions, ()), (_KEPT, (_KEPT.c.content.is_not(None),))):
        columns = [table.c[key] for key in _KEY]
        found = connection.execute(sa.select(*columns).where(table.c.location == location, *more)).first()
        if found is not None:
            return dict(zip(_KEY, found, strict=True))
    return None


def _is_active(connection: sa.Connection, model_id: str | None) -> bool:
    """Whether MLflow still shows a logged model with these files: who deletes a version there keeps it."""
    models = SqlLoggedModel.__table__
    stage = connection.scalar(sa.select(models.c.lifecycle_stage).where(models.c.model_id == model_id))
    return bool(stage == LifecycleStage.ACTIVE)


# ---------------------------------------------------------------- rows


def _of(table: sa.Table, full_name: str, version: int | None = None) -> list[sa.ColumnElement[bool]]:
    key: dict[str, Any] = split(full_name) | ({} if version is None else {"version": version})
    return [table.c[column] == value for column, value in key.items()]


def _plain(row: sa.Row[Any]) -> dict[str, Any]:
    """A row as JSON keeps it, without its key."""
    return {
        name: value.isoformat() if isinstance(value, dt.datetime) else value
        for name, value in row._asdict().items()
        if name not in _KEY
    }


def _typed(table: sa.Table, kept: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: dt.datetime.fromisoformat(value) if isinstance(table.c[name].type, tables.UtcDateTime) else value
        for name, value in kept.items()
    }
