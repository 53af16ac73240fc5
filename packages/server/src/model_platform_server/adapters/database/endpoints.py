"""Endpoints: desired and observed."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from model_platform_core.deployments import Endpoint, EndpointSpec, EndpointStatus
from model_platform_core.errors import ChangedSinceReadError, EndpointNotFoundError
from model_platform_core.events import NewEvent
from model_platform_core.refs import EndpointRef
from model_platform_core.wire import Page
from model_platform_server.adapters.database.engine import Database
from model_platform_server.adapters.database.events import write_events
from model_platform_server.adapters.database.paging import key_of, page_of
from model_platform_server.adapters.database.tables import endpoints
from model_platform_server.ports import Clock, Zones


def _is(ref: EndpointRef) -> sa.ColumnElement[bool]:
    return (endpoints.c.zone == ref.zone) & (endpoints.c.name == ref.name)


def _one(connection: sa.Connection, ref: EndpointRef) -> Endpoint | None:
    row = connection.execute(sa.select(endpoints).where(_is(ref))).mappings().one_or_none()
    return Endpoint.model_validate(dict(row)) if row else None


class SqlEndpoints:
    """The EndpointStore in SQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def get(self, ref: EndpointRef) -> Endpoint | None:
        """The endpoint; `ref` has its zone."""
        with self._database.read() as connection:
            return _one(connection, ref)

    def page(self, zones: Zones, *, limit: int = 1000, cursor: str | None = None) -> Page[Endpoint]:
        """Endpoints of the zones, by zone and name."""
        query = sa.select(endpoints).order_by(endpoints.c.zone, endpoints.c.name).limit(limit + 1)
        if zones is not None:
            query = query.where(endpoints.c.zone.in_(sorted(zones)))
        if cursor is not None:
            query = query.where(sa.tuple_(endpoints.c.zone, endpoints.c.name) > key_of(cursor, (str, str)))
        with self._database.read() as connection:
            found = [Endpoint.model_validate(dict(row)) for row in connection.execute(query).mappings()]
        return page_of(found, limit, lambda endpoint: (endpoint.zone, endpoint.name))

    def create(self, ref: EndpointRef, spec: EndpointSpec, event: NewEvent) -> Endpoint:
        """A new endpoint; raises ChangedSinceReadError if somebody was faster, or has deleted the zone."""
        assert ref.zone is not None
        now = self._clock.now()
        made = Endpoint(zone=ref.zone, name=ref.name, spec=spec, created_at=now, updated_at=now)
        values = made.model_dump(mode="json", include={"zone", "name", "spec", "status", "generation"})
        try:
            with self._database.write() as connection:
                connection.execute(sa.insert(endpoints).values(**values, created_at=now, updated_at=now))
                write_events(connection, [event], now)
        except IntegrityError:
            raise ChangedSinceReadError(
                f"The endpoint {ref} was made, or its zone deleted, by somebody else meanwhile. Look at it again."
            ) from None
        return made

    def change_spec(self, ref: EndpointRef, spec: EndpointSpec, generation: int, event: NewEvent) -> Endpoint:
        """Replace the spec if the generation is still the one that was read.

        Raises
        ------
        ChangedSinceReadError
            If it is another one; then nothing has been written.
        EndpointNotFoundError
            If the endpoint is gone.
        """
        now = self._clock.now()
        change = (
            sa.update(endpoints)
            .where(_is(ref), endpoints.c.generation == generation)
            .values(spec=spec.model_dump(mode="json"), generation=generation + 1, updated_at=now)
        )
        with self._database.write() as connection:
            changed = connection.execute(change).rowcount == 1
            endpoint = _one(connection, ref)
            if endpoint is None:
                raise EndpointNotFoundError(f"There is no endpoint {ref} any more.", hint="%mp_status lists them")
            if not changed:
                raise ChangedSinceReadError(
                    f"The endpoint {ref} was changed by somebody else meanwhile (change {endpoint.generation}, "
                    f"you had read {generation}). Look at it again and repeat what you meant to do."
                )
            write_events(connection, [event], now)
        return endpoint

    def write_status(self, endpoint: Endpoint, status: EndpointStatus, events: Sequence[NewEvent] = ()) -> None:
        """Replace the status; nothing, and no event, if the endpoint is gone, or another one has its name now."""
        change = (
            sa.update(endpoints)
            .where(_is(endpoint.ref), endpoints.c.created_at == endpoint.created_at)
            .values(status=status.model_dump(mode="json"))
        )
        with self._database.write() as connection:
            if connection.execute(change).rowcount:
                write_events(connection, events, self._clock.now())

    def delete(self, ref: EndpointRef, event: NewEvent) -> None:
        """Forget the endpoint; nothing, and no event, if it is gone."""
        with self._database.write() as connection:
            if connection.execute(sa.delete(endpoints).where(_is(ref))).rowcount:
                write_events(connection, [event], self._clock.now())
