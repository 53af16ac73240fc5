"""Writing events inside somebody's transaction."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Protocol

import sqlalchemy as sa

from model_platform_core.events import SCHEMA_VERSION, NewEvent
from model_platform_server.adapters.database.tables import event_counter, events


class Executes(Protocol):
    """A connection or a session."""

    def execute(self, statement: sa.Executable, /) -> sa.Result[tuple[object, ...]]:
        """Run a statement in the transaction that is open."""
        ...


def write_events(connection: Executes, new: Sequence[NewEvent], now: dt.datetime) -> None:
    """Write events in the caller's transaction, with ids that follow the order of commits.

    The counter's row stays locked until that transaction ends, so a writer with a lower id has always committed first.
    Call it last: other writers of events wait from here on.
    """
    if not new:
        return
    connection.execute(sa.update(event_counter).values(last_id=event_counter.c.last_id + len(new)))
    last_id = connection.execute(sa.select(event_counter.c.last_id)).scalar_one()
    assert isinstance(last_id, int)
    rows = [
        {
            "id": event_id,
            "at": now,
            "schema_version": SCHEMA_VERSION[event.type],
            **event.model_dump(mode="json", include={"type", "actor", "zone", "subject", "data"}),
        }
        for event_id, event in enumerate(new, start=last_id - len(new) + 1)
    ]
    connection.execute(sa.insert(events).values(rows))
