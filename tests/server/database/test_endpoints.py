from __future__ import annotations

import threading
from typing import Any

import pytest

from model_platform_core.cards import Resources
from model_platform_core.deployments import (
    Access,
    DeploymentSpec,
    DeploymentStatus,
    EndpointSpec,
    EndpointState,
    EndpointStatus,
    TrafficSplit,
)
from model_platform_core.errors import ChangedSinceReadError, EndpointNotFoundError, InvalidError
from model_platform_core.events import EventType
from model_platform_core.refs import EndpointRef
from model_platform_server.adapters.database.endpoints import SqlEndpoints
from model_platform_server.adapters.database.event_store import SqlEvents

CHURN = EndpointRef("dev-alice", "churn")


def spec(version: int = 1) -> EndpointSpec:
    deployment = DeploymentSpec(
        name=f"v{version}",
        model="dev-alice.churn",
        version=version,
        artifact_sha256="sha256:" + "a" * 64,
        resources=Resources(cpu=0.1, memory=1 << 33),
    )
    return EndpointSpec(deployments=(deployment,), traffic=TrafficSplit(weights={deployment.name: 100}))


def test_an_endpoint_comes_back_as_it_was_made(endpoints: SqlEndpoints, clock: Any, tell: Any) -> None:
    made = endpoints.create(CHURN, spec(), tell())
    assert made == endpoints.get(CHURN)
    assert (made.generation, made.spec, made.created_at) == (1, spec(), clock.now())
    assert made.status == EndpointStatus()
    assert endpoints.get(EndpointRef("dev-bob", "churn")) is None


def test_an_endpoint_is_made_once(endpoints: SqlEndpoints, events: SqlEvents, tell: Any) -> None:
    endpoints.create(CHURN, spec(), tell())
    last = events.last_id()
    with pytest.raises(ChangedSinceReadError, match="dev-alice/churn"):
        endpoints.create(CHURN, spec(2), tell())
    assert endpoints.get(CHURN).spec == spec()  # type: ignore[union-attr]
    assert events.last_id() == last


def test_no_endpoint_is_made_in_a_zone_that_is_gone(endpoints: SqlEndpoints, events: SqlEvents, tell: Any) -> None:
    last = events.last_id()
    with pytest.raises(ChangedSinceReadError, match="zone deleted"):
        endpoints.create(EndpointRef("nowhere", "churn"), spec(), tell(zone="nowhere"))
    assert events.last_id() == last


def test_a_change_counts_and_is_told(endpoints: SqlEndpoints, events: SqlEvents, clock: Any, tell: Any) -> None:
    made = endpoints.create(CHURN, spec(), tell())
    clock.move(minutes=1)
    changed = endpoints.change_spec(CHURN, spec(2), 1, tell(version=2))
    assert changed == endpoints.get(CHURN)
    assert (changed.generation, changed.spec) == (2, spec(2))
    assert (changed.created_at, changed.updated_at) == (made.created_at, clock.now())
    assert changed.etag != made.etag
    assert events.after(events.last_id() - 1, None)[0].data == {"version": 2}


def test_who_read_an_older_spec_is_told_and_changes_nothing(
    endpoints: SqlEndpoints, events: SqlEvents, tell: Any
) -> None:
    endpoints.create(CHURN, spec(), tell())
    endpoints.change_spec(CHURN, spec(2), 1, tell())
    last = events.last_id()
    with pytest.raises(ChangedSinceReadError, match="somebody else"):
        endpoints.change_spec(CHURN, spec(3), 1, tell())
    assert endpoints.get(CHURN).spec == spec(2)  # type: ignore[union-attr]
    assert events.last_id() == last


def test_what_is_gone_cannot_be_changed(endpoints: SqlEndpoints, events: SqlEvents, tell: Any) -> None:
    made = endpoints.create(CHURN, spec(), tell())
    endpoints.delete(CHURN, tell(EventType.ENDPOINT_DELETED))
    last = events.last_id()
    with pytest.raises(EndpointNotFoundError):
        endpoints.change_spec(CHURN, spec(2), 1, tell())
    endpoints.write_status(made, EndpointStatus(state=EndpointState.LIVE), [tell(EventType.ENDPOINT_LIVE)])
    endpoints.delete(CHURN, tell(EventType.ENDPOINT_DELETED))
    assert endpoints.get(CHURN) is None
    assert events.last_id() == last


def test_of_many_changes_at_once_one_wins_and_the_others_are_told(
    endpoints: SqlEndpoints, events: SqlEvents, tell: Any
) -> None:
    endpoints.create(CHURN, spec(), tell())
    last, ready = events.last_id(), threading.Barrier(8)
    won: list[int] = []
    lost: list[int] = []

    def change(version: int) -> None:
        ready.wait()
        try:
            endpoints.change_spec(CHURN, spec(version), 1, tell(version=version))
            won.append(version)
        except ChangedSinceReadError:
            lost.append(version)

    threads = [threading.Thread(target=change, args=(version,)) for version in range(2, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 7)
    assert endpoints.get(CHURN).spec == spec(won[0])  # type: ignore[union-attr]
    assert [event.data["version"] for event in events.after(last, None)] == won


def test_status_and_spec_are_written_by_two_without_losing_either(endpoints: SqlEndpoints, tell: Any) -> None:
    endpoints.create(CHURN, spec(), tell())
    done = threading.Event()
    problems: list[Exception] = []

    def reconcile() -> None:
        seen = 0
        try:
            while not done.is_set() or seen < 21:
                found = endpoints.get(CHURN)
                assert found is not None
                seen = found.generation
                endpoints.write_status(found, EndpointStatus(observed_generation=seen, message=f"saw {seen}"))
        except Exception as error:  # noqa: BLE001
            problems.append(error)

    reconciler = threading.Thread(target=reconcile)
    reconciler.start()
    for generation in range(1, 21):
        endpoints.change_spec(CHURN, spec(generation + 1), generation, tell())
    done.set()
    reconciler.join()
    endpoint = endpoints.get(CHURN)
    assert problems == []
    assert endpoint is not None
    assert (endpoint.generation, endpoint.spec, endpoint.status.message) == (21, spec(21), "saw 21")


def test_a_status_comes_back_as_it_was_written(
    endpoints: SqlEndpoints, events: SqlEvents, clock: Any, tell: Any
) -> None:
    made = endpoints.create(CHURN, spec(), tell())
    clock.move(minutes=1)
    deployment = made.spec.deployments[0]
    status = EndpointStatus(
        state=EndpointState.DEGRADED,
        message="one of 2 runners is down – „Größe“ 🐧",
        observed_generation=1,
        traffic=TrafficSplit(weights={"v1": 100}),
        deployments=(DeploymentStatus(spec=deployment, ready_replicas=1, warm_until=clock.now()),),
        history=(deployment,),
        seconds=0.1,
    )
    endpoints.write_status(made, status, [tell(EventType.ENDPOINT_DEGRADED), tell(EventType.DEPLOYMENT_PROGRESSED)])
    found = endpoints.get(CHURN)
    assert found is not None
    assert found.status == status
    assert (found.generation, found.updated_at, found.etag) == (1, made.updated_at, made.etag)
    told = [event.type for event in events.after(events.last_id() - 2, None)]
    assert told == [EventType.ENDPOINT_DEGRADED, EventType.DEPLOYMENT_PROGRESSED]


def test_the_status_of_an_endpoint_that_was_deleted_and_made_anew_is_dropped(
    endpoints: SqlEndpoints, events: SqlEvents, clock: Any, tell: Any
) -> None:
    first = endpoints.create(CHURN, spec(), tell())
    endpoints.delete(CHURN, tell(EventType.ENDPOINT_DELETED))
    clock.move(seconds=1)
    endpoints.create(CHURN, spec(2), tell())
    last = events.last_id()
    endpoints.write_status(first, EndpointStatus(observed_generation=1), [tell(EventType.ENDPOINT_LIVE)])
    assert not endpoints.get(CHURN).settled  # type: ignore[union-attr]
    assert events.last_id() == last


def test_pages_hold_every_endpoint_of_the_zones_once_and_in_order(endpoints: SqlEndpoints, tell: Any) -> None:
    names = [("dev-alice", f"e{number}") for number in range(5)] + [("risk", "e0"), ("risk", "e9")]
    for zone, name in reversed(names):
        endpoints.create(EndpointRef(zone, name), EndpointSpec(access=Access.OPEN), tell(zone=zone))
    endpoints.create(EndpointRef("dev-bob", "hidden"), spec(), tell(zone="dev-bob"))
    for limit in (1, 2, 3, 7, 8):
        seen, cursor = [], None
        while True:
            page = endpoints.page(frozenset({"dev-alice", "risk"}), limit=limit, cursor=cursor)
            assert len(page.items) <= limit
            seen += [(endpoint.zone, endpoint.name) for endpoint in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert seen == names
    assert len(endpoints.page(None).items) == 8
    assert endpoints.page(frozenset()).items == []


@pytest.mark.parametrize(
    "cursor", ["", "x", "é", "W10", "WyJhIl0", "WzEsMl0", "eyJhIjoxfQ", "A" * 10_000, "WyJcdWQ4MDAiLCJhIl0"]
)
def test_a_cursor_that_no_list_gave_is_refused(endpoints: SqlEndpoints, cursor: str) -> None:
    with pytest.raises(InvalidError):
        endpoints.page(None, cursor=cursor)
