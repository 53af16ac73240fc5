"""Ids in commit order: a reader that goes on from its last id misses nothing, whoever writes at the same time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest
import sqlalchemy as sa

from model_platform_core.errors import InvalidError
from model_platform_core.events import EventType
from model_platform_server.adapters.database.engine import Database
from model_platform_server.adapters.database.event_store import SqlEvents
from model_platform_server.adapters.database.events import write_events
from model_platform_server.adapters.database.tables import event_counter


def test_events_come_back_as_they_were_written(events: SqlEvents, clock: Any, tell: Any) -> None:
    written = [tell(zone="risk", rows=[1, 2.5, None, "„Größe“ 🐧"]), tell(EventType.TOKEN_CREATED, None)]
    events.append(written)
    read = events.after(0, None)
    assert [event.model_dump(exclude={"id", "at", "schema_version"}) for event in read] == [
        event.model_dump() for event in written
    ]
    assert [(event.id, event.at, event.schema_version) for event in read] == [
        (1, clock.now(), 1),
        (2, clock.now(), 1),
    ]


def test_nothing_is_written_of_nothing(events: SqlEvents) -> None:
    events.append([])
    assert events.last_id() == 0
    assert events.after(0, None) == []


def test_a_reader_sees_its_zones_alone_and_goes_on_from_its_last_id(events: SqlEvents, tell: Any) -> None:
    events.append([tell(zone=zone) for zone in ("a", "b", None, "a", "c", "b")])
    assert [event.id for event in events.after(0, None)] == [1, 2, 3, 4, 5, 6]
    assert [event.id for event in events.after(0, frozenset({"a", "c"}))] == [1, 4, 5]
    assert [event.id for event in events.after(1, frozenset({"a", "c"}), limit=1)] == [4]
    assert events.after(0, frozenset()) == []
    assert events.after(6, None) == []
    with pytest.raises(InvalidError):
        events.after(10**30, None)
    assert events.last_id() == 6


def test_an_event_lives_and_dies_with_its_transaction(
    events: SqlEvents, database: Database, clock: Any, tell: Any
) -> None:
    def fail() -> None:
        with database.write() as connection:
            write_events(connection, [tell()], clock.now())
            1 / 0  # noqa: B018

    with pytest.raises(ZeroDivisionError):
        fail()
    assert events.last_id() == 0
    events.append([tell()])
    assert [event.id for event in events.after(0, None)] == [1]


def test_a_second_writer_waits_for_the_first_and_is_never_seen_before_it(
    events: SqlEvents, database: Database, clock: Any, tell: Any
) -> None:
    """A takes an id and stays open; B writes. Whatever a reader asks meanwhile, A's event comes before B's."""
    second_began = threading.Event()

    def second() -> None:
        second_began.set()
        events.append([tell(zone="b")])

    with ThreadPoolExecutor() as pool:
        with database.write() as first:
            write_events(first, [tell(zone="a")], clock.now())
            written = pool.submit(second)
            second_began.wait()
            done, _ = wait([written], timeout=0.5)  # B had time to overtake, if it could
            assert not done
            assert events.after(0, None) == []
            assert events.last_id() == 0
        written.result()
    assert [(event.id, event.zone) for event in events.after(0, None)] == [(1, "a"), (2, "b")]


def test_a_writer_that_gives_up_leaves_no_gap_that_a_reader_would_wait_at(
    events: SqlEvents, database: Database, clock: Any, tell: Any
) -> None:
    with ThreadPoolExecutor() as pool:
        first = database.engine.execution_options(writes=True).connect()
        write_events(first, [tell(zone="a")], clock.now())
        written = pool.submit(events.append, [tell(zone="b")])
        first.rollback()
        first.close()
        written.result()
    assert [(event.id, event.zone) for event in events.after(0, None)] == [(1, "b")]


def test_readers_that_poll_miss_nothing_while_many_write(events: SqlEvents, tell: Any) -> None:
    writers, each = 6, 25
    done = threading.Event()

    def write(writer: int) -> None:
        for number in range(each):
            events.append([tell(zone=f"zone-{writer}", number=number)] * (1 + number % 3))

    def read() -> list[tuple[int, str | None, int]]:
        seen: list[tuple[int, str | None, int]] = []
        while True:
            ended = done.is_set()
            new = events.after(seen[-1][0] if seen else 0, None, limit=7)
            seen += [(event.id, event.zone, event.data["number"]) for event in new]
            if ended and not new:
                return seen

    with ThreadPoolExecutor(writers + 3) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        wait([pool.submit(write, writer) for writer in range(writers)])
        done.set()
        read_by_each = [reader.result() for reader in readers]
    total = events.last_id()
    assert total == writers * sum(1 + number % 3 for number in range(each))
    for seen in read_by_each:
        assert [event_id for event_id, _, _ in seen] == list(range(1, total + 1))
    for writer in range(writers):
        numbers = [number for _, zone, number in read_by_each[0] if zone == f"zone-{writer}"]
        assert numbers == sorted(numbers)


def test_there_is_one_counter(database: Database) -> None:
    with database.read() as connection:
        assert connection.execute(sa.select(event_counter)).all() == [("events", 0)]
