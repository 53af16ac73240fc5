"""The read side of the registry, and card revisions: our tables alone, quick with 100,000 versions.

Lists go by key (never by offset), narrow by zone in SQL (so pages stay full), and take two queries whatever their size.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from model_platform_core.cards import ModelCard
from model_platform_core.errors import ChangedSinceReadError, VersionNotFoundError
from model_platform_core.events import NewEvent
from model_platform_core.lineage import Lineage
from model_platform_core.models import UNDO_FOR, FileEntry, ModelVersion, RegisteredModel
from model_platform_core.refs import ModelRef, VersionRef
from model_platform_core.wire import CardRevision, DeletedVersion, LineageCompletion, Page
from model_platform_server.adapters.database.engine import Database
from model_platform_server.adapters.database.events import write_events
from model_platform_server.adapters.database.paging import key_of, page_of
from model_platform_server.adapters.database.tables import aliases, cards, deleted_versions, files, models, versions
from model_platform_server.ports import Clock, FirstBuild, ModelFilter, Zones

_LOCATION_SCHEME = "mlflow-artifacts:/"
_DIGESTS_AT_ONCE = 500


def _newest_card() -> sa.ColumnElement[bool]:
    """Joins a version with the newest revision of its card."""
    other = cards.alias()
    same = [other.c[key] == versions.c[key] for key in ("zone", "name", "version")]
    newest = sa.select(sa.func.max(other.c.revision)).where(*same).correlate(versions).scalar_subquery()
    return sa.and_(
        *(cards.c[key] == versions.c[key] for key in ("zone", "name", "version")), cards.c.revision == newest
    )


_CARD = (cards.c.content.label("card"), cards.c.sha256.label("card_sha256"), cards.c.revision.label("card_revision"))
_VERSIONS = sa.select(versions, *_CARD).select_from(versions).join(cards, _newest_card())


def _of(ref: ModelRef, table: sa.Table) -> sa.ColumnElement[bool]:
    return (table.c.zone == ref.zone) & (table.c.name == ref.name)


def _version(row: Mapping[str, Any], names: Iterable[str], entries: Iterable[FileEntry] = ()) -> ModelVersion:
    return ModelVersion.model_validate({**row, "aliases": sorted(names), "files": tuple(entries)})


class SqlCatalogue:
    """The Catalogue in SQL.

    Parameters
    ----------
    artifacts
        The local folder that the registry keeps the versions' files in.
    """

    def __init__(self, database: Database, clock: Clock, artifacts: Path) -> None:
        self._database = database
        self._clock = clock
        self._artifacts = artifacts

    def models(
        self, zones: Zones, where: ModelFilter, *, limit: int = 100, cursor: str | None = None
    ) -> Page[RegisteredModel]:
        """Models by full name; those without a version are left out. `where.query` is a part of name or description."""
        query = sa.select(models).where(models.c.newest_version.is_not(None))
        query = query.order_by(models.c.zone, models.c.name).limit(limit + 1)
        if zones is not None:
            query = query.where(models.c.zone.in_(sorted(zones)))
        for column, value in ((models.c.zone, where.zone), (models.c.tier, where.tier), (models.c.owner, where.owner)):
            if value is not None:
                query = query.where(column == value)
        if where.query:
            text = where.query
            found = (column.icontains(text, autoescape=True) for column in (models.c.name, models.c.description))
            query = query.where(sa.or_(*found))
        if cursor is not None:
            query = query.where(sa.tuple_(models.c.zone, models.c.name) > key_of(cursor, (str, str)))
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
            named = _aliases_of_models(connection, [(row["zone"], row["name"]) for row in rows])
        found_models = [
            RegisteredModel.model_validate({**row, "aliases": named[row["zone"], row["name"]]}) for row in rows
        ]
        return page_of(found_models, limit, lambda model: (model.zone, model.name))

    def model(self, ref: ModelRef) -> RegisteredModel | None:
        """One model; `ref` has its zone."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(models).where(_of(ref, models))).mappings().one_or_none()
            if row is None:
                return None
            named = _aliases_of_models(connection, [(row["zone"], row["name"])])
        return RegisteredModel.model_validate({**row, "aliases": named[row["zone"], row["name"]]})

    def versions(self, ref: ModelRef, *, limit: int = 100, cursor: str | None = None) -> Page[ModelVersion]:
        """Versions of a model, newest first, without their file lists."""
        query = _VERSIONS.where(_of(ref, versions)).order_by(versions.c.version.desc()).limit(limit + 1)
        if cursor is not None:
            query = query.where(versions.c.version < key_of(cursor, (int,))[0])
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
            named = _aliases_of_versions(connection, ref, [row["version"] for row in rows])
        return page_of([_version(dict(row), named[row["version"]]) for row in rows], limit, lambda one: (one.version,))

    def version(self, ref: VersionRef) -> ModelVersion | None:
        """One version by number, alias, or the newest; with its file list."""
        query = _VERSIONS.where(_of(ref.model, versions))
        if ref.version is not None:
            query = query.where(versions.c.version == ref.version)
        elif ref.alias is not None:
            named = sa.select(aliases.c.version).where(_of(ref.model, aliases), aliases.c.alias == ref.alias)
            query = query.where(versions.c.version == named.scalar_subquery())
        with self._database.read() as connection:
            row = connection.execute(query.order_by(versions.c.version.desc()).limit(1)).mappings().one_or_none()
            if row is None:
                return None
            number = row["version"]
            names = _aliases_of_versions(connection, ref.model, [number])[number]
            listed = sa.select(files.c.path, files.c.size, files.c.sha256).where(
                _of(ref.model, files), files.c.version == number
            )
            entries = [FileEntry(**entry) for entry in connection.execute(listed.order_by(files.c.path)).mappings()]
        return _version(dict(row), names, entries)

    def deleted(self, ref: VersionRef) -> DeletedVersion | None:
        """A version that was deleted and can come back; `ref` has its number."""
        kept = deleted_versions.c
        query = sa.select(kept.zone, kept.name, kept.version, kept.by, kept.at).where(
            _of(ref.model, deleted_versions), kept.version == ref.version, kept.content.is_not(None)
        )
        with self._database.read() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return DeletedVersion(**row, until=row["at"] + UNDO_FOR) if row else None

    def card_revisions(self, ref: VersionRef) -> list[CardRevision]:
        """Every revision of a version's card, newest first; `ref` has its number."""
        query = (
            sa.select(cards.c.revision, cards.c.content.label("card"), cards.c.sha256, cards.c.by, cards.c.at)
            .where(_of(ref.model, cards), cards.c.version == ref.version)
            .order_by(cards.c.revision.desc())
        )
        with self._database.read() as connection:
            return [CardRevision.model_validate(dict(row)) for row in connection.execute(query).mappings()]

    def revise_card(self, ref: VersionRef, card: ModelCard, revision: int, by: str, event: NewEvent) -> CardRevision:
        """Write the revision after `revision`; what the model's list shows of its newest card follows.

        Raises
        ------
        ChangedSinceReadError
            If `revision` is not the newest; then nothing has been written.
        VersionNotFoundError
            If there is no such version.
        """
        made = CardRevision(revision=revision + 1, card=card, sha256=card.digest(), by=by, at=self._clock.now())
        of_version = _of(ref.model, cards) & (cards.c.version == ref.version)
        try:
            with self._database.write() as connection:
                newest = connection.execute(sa.select(sa.func.max(cards.c.revision)).where(of_version)).scalar_one()
                if newest is None:
                    raise VersionNotFoundError(f"There is no version {ref}.", hint="%mp_models lists what there is")
                if newest != revision:
                    raise _card_changed(ref)
                self._write_card(connection, ref, made)
                write_events(connection, [event], made.at)
        except IntegrityError:  # somebody wrote that revision between our look and our write
            raise _card_changed(ref) from None
        return made

    def _write_card(self, connection: sa.Connection, ref: VersionRef, made: CardRevision) -> None:
        key = {"zone": ref.model.zone, "name": ref.model.name, "version": ref.version}
        revised = {"revision": made.revision, "sha256": made.sha256, "by": made.by, "at": made.at}
        connection.execute(sa.insert(cards).values(**key, **revised, content=_content(made.card)))
        of_newest = _of(ref.model, models) & (models.c.newest_version == ref.version)
        shown = {"tier": int(made.card.tier), "owner": made.card.owner, "updated_at": made.at}
        connection.execute(sa.update(models).where(of_newest).values(shown))

    def complete_lineage(self, ref: VersionRef, completion: LineageCompletion, event: NewEvent) -> None:
        """Add to a version's lineage what was pending; `ref` has its number.

        Raises
        ------
        ConflictError
            If it was not pending; then nothing has been written.
        VersionNotFoundError
            If there is no such version.
        """
        self._change_lineage(ref, lambda before: before.completed(completion.data, completion.environment), event)

    def keep_digests(self, ref: VersionRef, build: FirstBuild, event: NewEvent) -> None:
        """Add to a version's lock what its first build was made of; nothing where that is known, or the lock another.

        Raises
        ------
        VersionNotFoundError
            If there is no such version.
        """
        self._change_lineage(
            ref, lambda before: before.with_digests(build.platform, build.digests, of=build.lock_sha256), event
        )

    def _change_lineage(self, ref: VersionRef, change: Callable[[Lineage], Lineage], event: NewEvent) -> None:
        of_version = _of(ref.model, versions) & (versions.c.version == ref.version)
        with self._database.write() as connection:
            row = connection.execute(sa.select(versions.c.lineage).where(of_version).with_for_update()).one_or_none()
            if row is None:
                raise VersionNotFoundError(f"There is no version {ref}.", hint="%mp_models lists what there is")
            before = Lineage.model_validate(row.lineage)
            after = change(before)
            if after == before:
                return
            values = {"lineage": after.model_dump(mode="json")}
            connection.execute(sa.update(versions).where(of_version).values(values))
            write_events(connection, [event], self._clock.now())

    def directory(self, version: ModelVersion) -> Path:
        """The local folder with the version's files: to be read only, and it stays while the version exists.

        Raises
        ------
        VersionNotFoundError
            If there is no such version any more.
        """
        of_version = _of(ModelRef(version.zone, version.name), versions) & (versions.c.version == version.version)
        with self._database.read() as connection:
            location = connection.execute(sa.select(versions.c.location).where(of_version)).scalar_one_or_none()
        if location is None:
            raise VersionNotFoundError(
                f"There is no version {version.full_name}:{version.version} any more.",
                hint="%mp_models lists what there is",
            )
        return self._local(location)

    def readable_digests(self, zones: Zones, digests: Sequence[str]) -> Mapping[str, Path]:
        """Of these file digests, those that lie in versions of the zones, and where the bytes are."""
        found: dict[str, Path] = {}
        wanted = sorted(set(digests))
        with self._database.read() as connection:
            for start in range(0, len(wanted), _DIGESTS_AT_ONCE):
                query = _one_copy_each(zones, wanted[start : start + _DIGESTS_AT_ONCE])
                for sha256, location in connection.execute(query):
                    if location is not None and (path := self._local(location)).is_file():
                        found[sha256] = path
        return found

    def _local(self, location: str) -> Path:
        return self._artifacts / location.removeprefix(_LOCATION_SCHEME).lstrip("/")


def _content(card: ModelCard) -> dict[str, Any]:
    # As in the digest: what is not said is not stored, so that a default that changes later is not frozen in here.
    return card.model_dump(mode="json", exclude_defaults=True)


def _card_changed(ref: VersionRef) -> ChangedSinceReadError:
    return ChangedSinceReadError(
        f"The card of {ref} was changed by somebody else meanwhile. Look at it again and repeat what you meant to do."
    )


def _one_copy_each(zones: Zones, digests: Sequence[str]) -> sa.Select[Any]:
    """For each digest one place of its bytes, or None.

    One copy is looked for by index and the search ends there: a file may lie in every one of 100,000 versions.
    """
    wanted = sa.values(sa.column("sha256", sa.String), name="wanted").data([(digest,) for digest in digests]).cte()
    copy = (
        sa.select(versions.c.location + "/" + files.c.path)
        .select_from(files)
        .join(versions, sa.and_(*(versions.c[key] == files.c[key] for key in ("zone", "name", "version"))))
        .where(files.c.sha256 == wanted.c.sha256)
        .order_by(files.c.zone)  # as in the index: without it PostgreSQL reads the table for a digest that is common
        .limit(1)
        .correlate(wanted)
    )
    if zones is not None:
        copy = copy.where(files.c.zone.in_(sorted(zones)))
    return sa.select(wanted.c.sha256, copy.scalar_subquery())


def _aliases_of_models(
    connection: sa.Connection, keys: Sequence[tuple[str, str]]
) -> defaultdict[tuple[str, str], dict[str, int]]:
    query = sa.select(aliases).where(sa.tuple_(aliases.c.zone, aliases.c.name).in_(keys)).order_by(aliases.c.alias)
    found: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for row in connection.execute(query):
        found[row.zone, row.name][row.alias] = row.version
    return found


def _aliases_of_versions(
    connection: sa.Connection, ref: ModelRef, numbers: Sequence[int]
) -> defaultdict[int, list[str]]:
    query = sa.select(aliases.c.alias, aliases.c.version).where(_of(ref, aliases), aliases.c.version.in_(numbers))
    found: defaultdict[int, list[str]] = defaultdict(list)
    for row in connection.execute(query):
        found[row.version].append(row.alias)
    return found
