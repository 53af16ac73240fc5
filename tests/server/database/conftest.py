"""A migrated database, a clock that tests move, and the stores on them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from model_platform_core.access import ActorKind
from model_platform_core.events import EventType, NewEvent
from model_platform_core.wire import ActorRequest
from model_platform_core.zones import Amount, Zone, ZoneSpec
from model_platform_server.adapters.database.actors import SqlActors
from model_platform_server.adapters.database.answers import SqlAnswers
from model_platform_server.adapters.database.catalogue import SqlCatalogue
from model_platform_server.adapters.database.endpoints import SqlEndpoints
from model_platform_server.adapters.database.engine import Database, migrate
from model_platform_server.adapters.database.event_store import SqlEvents
from model_platform_server.adapters.database.zones import SqlZones


class MovableClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time = dt.datetime(2025, 3, 1, 12, 0, 0, 123456, tzinfo=dt.UTC)

    def now(self) -> dt.datetime:
        return self.time

    def move(self, **by: float) -> None:
        self.time += dt.timedelta(**by)


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    migrate(database_url)
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def actors(database: Database, clock: MovableClock) -> SqlActors:
    store = SqlActors(database, clock)
    store.put(
        ActorRequest(name="alice", kind=ActorKind.PERSON, home_zone="dev-alice", roles={"dev-alice": "developer"})
    )
    return store


@pytest.fixture
def zones(database: Database, clock: MovableClock, tell: Callable[..., NewEvent]) -> SqlZones:
    store = SqlZones(database, clock)
    for name in ("dev-alice", "dev-bob", "risk"):
        zone = Zone(name=name, spec=ZoneSpec(owner="alice", limits=Amount(cpu=4, memory=1 << 32, endpoints=5)))
        store.put(zone, tell(EventType.ZONE_CREATED, name))
    return store


@pytest.fixture
def endpoints(database: Database, clock: MovableClock, zones: SqlZones) -> SqlEndpoints:
    return SqlEndpoints(database, clock)


@pytest.fixture
def events(database: Database, clock: MovableClock) -> SqlEvents:
    return SqlEvents(database, clock)


@pytest.fixture
def answers(database: Database, clock: MovableClock) -> SqlAnswers:
    return SqlAnswers(database, clock)


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    folder = tmp_path / "artifacts"
    folder.mkdir()
    return folder


@pytest.fixture
def catalogue(database: Database, clock: MovableClock, zones: SqlZones, artifacts: Path) -> SqlCatalogue:
    return SqlCatalogue(database, clock, artifacts)


@pytest.fixture
def tell() -> Callable[..., NewEvent]:
    """An event of a kind, in a zone, with what it tells."""

    def make(
        kind: EventType = EventType.DEPLOYMENT_REQUESTED, zone: str | None = "dev-alice", **data: object
    ) -> NewEvent:
        return NewEvent(type=kind, actor="alice", zone=zone, subject=f"{zone}/churn", data=data)

    return make
