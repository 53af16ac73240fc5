from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from model_platform_core.cards import Tier
from model_platform_core.deployments import EndpointSpec
from model_platform_core.errors import InUseError
from model_platform_core.events import EventType
from model_platform_core.refs import EndpointRef
from model_platform_core.zones import Amount, Zone, ZoneKind, ZoneSpec
from model_platform_server.adapters.database.endpoints import SqlEndpoints
from model_platform_server.adapters.database.engine import Database
from model_platform_server.adapters.database.event_store import SqlEvents
from model_platform_server.adapters.database.tables import models
from model_platform_server.adapters.database.zones import SqlZones


def test_a_zone_comes_back_as_it_was_written(zones: SqlZones, tell: Any) -> None:
    spec = ZoneSpec(
        kind=ZoneKind.DEPLOYMENT,
        owner="Größe 🐧",
        limits=Amount(cpu=2.5, memory=3 << 40, gpu=1, endpoints=7),
        minimum_tier=Tier.MATERIAL,
        mandatory_fields=("purpose", "licence"),
    )
    zones.put(Zone(name="risk", spec=spec), tell(EventType.ZONE_RESIZED, "risk"))
    assert zones.get("risk") == Zone(name="risk", spec=spec)
    assert zones.get("nowhere") is None


def test_only_zones_that_may_be_seen_are_listed(zones: SqlZones) -> None:
    assert [zone.name for zone in zones.visible(None)] == ["dev-alice", "dev-bob", "risk"]
    assert [zone.name for zone in zones.visible(frozenset({"risk", "dev-bob", "nowhere"}))] == ["dev-bob", "risk"]
    assert zones.visible(frozenset()) == []


def test_every_change_is_told_once(zones: SqlZones, events: SqlEvents, tell: Any) -> None:
    zones.delete("dev-bob", tell(EventType.ZONE_DELETED, "dev-bob"))
    zones.delete("dev-bob", tell(EventType.ZONE_DELETED, "dev-bob"))
    told = [(event.id, event.type, event.zone) for event in events.after(0, None)]
    assert told == [
        (1, EventType.ZONE_CREATED, "dev-alice"),
        (2, EventType.ZONE_CREATED, "dev-bob"),
        (3, EventType.ZONE_CREATED, "risk"),
        (4, EventType.ZONE_DELETED, "dev-bob"),
    ]
    assert zones.get("dev-bob") is None


def test_a_zone_with_an_endpoint_stays_and_says_why(
    zones: SqlZones, endpoints: SqlEndpoints, events: SqlEvents, tell: Any
) -> None:
    endpoints.create(EndpointRef("risk", "churn"), EndpointSpec(), tell(zone="risk"))
    last = events.last_id()
    with pytest.raises(InUseError, match="endpoints churn"):
        zones.delete("risk", tell(EventType.ZONE_DELETED, "risk"))
    assert zones.get("risk") is not None
    assert events.last_id() == last


def test_a_zone_with_models_stays_and_names_some(zones: SqlZones, database: Database, clock: Any, tell: Any) -> None:
    known = {"description": "", "tags": {}, "created_by": "alice", "created_at": clock.now(), "updated_at": clock.now()}
    with database.write() as connection:
        rows = [{"zone": "risk", "name": name, **known} for name in ("d", "c", "b", "a")]
        connection.execute(sa.insert(models), rows)
    with pytest.raises(InUseError, match="models a, b, c and more"):
        zones.delete("risk", tell(EventType.ZONE_DELETED, "risk"))
