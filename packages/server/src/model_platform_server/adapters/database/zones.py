"""Zones."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from model_platform_core.errors import InUseError
from model_platform_core.events import NewEvent
from model_platform_core.zones import Zone
from model_platform_server.adapters.database.engine import Database
from model_platform_server.adapters.database.events import write_events
from model_platform_server.adapters.database.tables import actors, endpoints, models, zones
from model_platform_server.ports import Clock, Zones


class SqlZones:
    """The ZoneStore in SQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def get(self, name: str) -> Zone | None:
        """The zone of that name."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(zones).where(zones.c.name == name)).mappings().one_or_none()
        return Zone(name=row["name"], spec=row["spec"]) if row else None

    def visible(self, zones_seen: Zones) -> list[Zone]:
        """The zones that may be seen, by name."""
        query = sa.select(zones).order_by(zones.c.name)
        if zones_seen is not None:
            query = query.where(zones.c.name.in_(sorted(zones_seen)))
        with self._database.read() as connection:
            return [Zone(name=row["name"], spec=row["spec"]) for row in connection.execute(query).mappings()]

    def put(self, zone: Zone, event: NewEvent) -> None:
        """Create or change, with the event in the same transaction."""
        spec, now = zone.spec.model_dump(mode="json"), self._clock.now()
        known = sa.update(zones).where(zones.c.name == zone.name).values(spec=spec)
        with self._database.write() as connection:
            if connection.execute(known).rowcount == 0:
                try:
                    with connection.begin_nested():
                        connection.execute(sa.insert(zones).values(name=zone.name, spec=spec, created_at=now))
                except IntegrityError:  # somebody has created it meanwhile: the last one to write wins
                    connection.execute(known)
            write_events(connection, [event], now)

    def delete(self, name: str, event: NewEvent) -> None:
        """Delete; nothing if it is gone.

        Raises
        ------
        InUseError
            If models or endpoints are in it (the database's own keys say so, also for one that comes at this moment),
            or anything that would be somebody else's if the name were given again: experiments, homes, roles.
        """
        try:
            with self._database.write() as connection:
                if left := _what_stays(connection, name):
                    raise InUseError(f"Zone {name} cannot be deleted: {left}.")
                if connection.execute(sa.delete(zones).where(zones.c.name == name)).rowcount:
                    write_events(connection, [event], self._clock.now())
        except IntegrityError:
            raise InUseError(f"Zone {name} cannot be deleted: {self._content(name)}. Delete these first.") from None

    def _content(self, name: str) -> str:
        """What is in a zone, in words."""
        found = []
        with self._database.read() as connection:
            for table, words in ((models, "models"), (endpoints, "endpoints")):
                names = connection.execute(
                    sa.select(table.c.name).where(table.c.zone == name).order_by(table.c.name).limit(4)
                ).scalars()
                shown = list(names)
                if shown:
                    found.append(f"it has the {words} {', '.join(shown[:3])}{' and more' if len(shown) > 3 else ''}")
        return " and ".join(found) or "something was being made in it"


def _what_stays(connection: sa.Connection, zone: str) -> str:
    """People's homes and roles in a zone, and MLflow's experiments there, in words; empty if there are none."""
    rows = connection.execute(sa.select(actors.c.name, actors.c.home_zone, actors.c.roles).order_by(actors.c.name))
    people = [row.name for row in rows if row.home_zone == zone or zone in row.roles]
    if people:
        return f"it is the home of {people[0]}, or they have a role in it"
    if sa.inspect(connection).has_table("experiments"):
        name = sa.column("name", sa.String)
        inside = (
            sa.select(name)
            .select_from(sa.table("experiments", name))
            .where(name.startswith(f"{zone}.", autoescape=True))
        )
        if found := connection.execute(inside.limit(1)).scalar():
            return f"it has the experiment {found}; delete that for good first"
    return ""
