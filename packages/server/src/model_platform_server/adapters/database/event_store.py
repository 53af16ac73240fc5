"""Events that belong to no other row, and reading what happened."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from model_platform_core.events import Event, NewEvent
from model_platform_server.adapters.database.engine import Database
from model_platform_server.adapters.database.events import write_events
from model_platform_server.adapters.database.tables import event_counter, events
from model_platform_server.ports import Clock, Zones


class SqlEvents:
    """The EventStore in SQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def append(self, events: Sequence[NewEvent]) -> None:
        """Write events that belong to no other row."""
        with self._database.write() as connection:
            write_events(connection, events, self._clock.now())

    def after(self, last_id: int, zones: Zones, limit: int = 500) -> list[Event]:
        """Events after an id that the reader may see, oldest first; events without a zone are for those who see all."""
        query = sa.select(events).where(events.c.id > last_id).order_by(events.c.id).limit(limit)
        if zones is not None:
            query = query.where(events.c.zone.in_(sorted(zones)))
        with self._database.read() as connection:
            return [Event.model_validate(dict(row)) for row in connection.execute(query).mappings()]

    def last_id(self) -> int:
        """The id of the newest event, 0 if there is none: one row by its place, cheap enough to be asked often."""
        with self._database.read() as connection:
            return int(connection.execute(sa.select(event_counter.c.last_id)).scalar_one())
