"""What was acknowledged is there, whatever is killed or filled up; and what cannot be done is said in our own words."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from model_platform_core.errors import (
    DatabaseUnavailableError,
    InvalidError,
    ModelPlatformError,
    StorageUnavailableError,
)
from model_platform_core.wire import ActorRequest
from model_platform_server.adapters.database import engine
from model_platform_server.adapters.database.actors import SqlActors
from model_platform_server.adapters.database.engine import Database, migrate
from model_platform_server.adapters.database.event_store import SqlEvents
from model_platform_server.adapters.database.tables import UtcDateTime, answers, event_counter


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for a lock."""
    monkeypatch.setattr(engine, "_WAIT_SECONDS", 1)


@pytest.fixture
def sqlite(sqlite_url: str) -> Iterator[Database]:
    migrate(sqlite_url)
    with closing(Database(sqlite_url)) as database:
        yield database


def test_sqlite_keeps_what_it_acknowledged_and_checks_keys(sqlite: Database) -> None:
    with sqlite.read() as connection:
        setting = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert setting == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 20_000}


def test_a_transaction_is_written_as_a_whole_or_not_at_all(database: Database) -> None:
    def fail() -> None:
        with database.write() as connection:
            connection.execute(sa.update(event_counter).values(last_id=7))
            1 / 0  # noqa: B018

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.write() as connection:
        assert connection.execute(sa.select(event_counter.c.last_id)).scalar_one() == 0
        connection.execute(sa.update(event_counter).values(last_id=8))
    with database.read() as connection:
        assert connection.execute(sa.select(event_counter.c.last_id)).scalar_one() == 8


def test_readers_do_not_wait_for_a_writer(database: Database) -> None:
    with database.write() as writer:
        writer.execute(sa.update(event_counter).values(last_id=7))
        with database.read() as reader:
            assert reader.execute(sa.select(event_counter.c.last_id)).scalar_one() == 0


def test_text_is_compared_without_regard_to_case_in_every_language(database: Database) -> None:
    with database.read() as connection:
        assert connection.execute(sa.select(sa.literal("Große ÄPFEL").icontains("äpf"))).scalar_one()
        assert connection.execute(sa.select(sa.func.lower(sa.null()))).scalar_one() is None


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="names its zone"):
        UtcDateTime().process_bind_param(
            sa.func.now().type.python_type(2025, 3, 1), sa.create_engine("sqlite://").dialect
        )


def test_a_fault_of_our_own_keeps_its_name(database: Database) -> None:
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(sa.insert(event_counter).values(name="events", last_id=1))


# ---------------------------------------------------------------- kill -9

_WRITER = """
import datetime as dt, sys
from model_platform_core.events import EventType, NewEvent
from model_platform_server.adapters.database.engine import Database
from model_platform_server.adapters.database.event_store import SqlEvents

class Clock:
    def now(self):
        return dt.datetime.now(dt.UTC)

events = SqlEvents(Database(sys.argv[1]), Clock())
for number in range(1_000_000):
    events.append([NewEvent(type=EventType.MODEL_CHANGED, actor="a", zone="z", subject="s", data={"number": number})] * 3)
    print(number, flush=True)
"""


def test_what_was_acknowledged_survives_kill_9(database: Database, database_url: str, clock: Any) -> None:
    for _ in range(2):
        before = SqlEvents(database, clock).last_id()
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, database_url], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for line in writer.stdout:
                if int(line) >= 20:
                    writer.send_signal(signal.SIGKILL)
                    break
            acknowledged = max([20, *(int(line) for line in writer.stdout.read().split())])
        events = SqlEvents(database, clock).after(before, None, limit=1_000_000)
        numbers = [event.data["number"] for event in events]
        assert numbers == [number for number in range(len(numbers) // 3) for _ in range(3)]
        assert acknowledged < len(numbers) // 3 <= acknowledged + 2
        assert [event.id for event in events] == list(range(before + 1, before + 1 + len(events)))


# ---------------------------------------------------------------- what cannot be done


def check_words(error: ModelPlatformError) -> None:
    """The sentence is ours: it says what still works, and shows neither SQL nor an address."""
    assert "Endpoints that are live go on answering." in error.message
    assert "sqlite" not in error.message.lower()
    assert "SELECT" not in error.message


@pytest.mark.parametrize("shared", [True, False], ids=["another thread", "another server"])
def test_a_database_that_stays_locked_is_busy(database_url: str, impatient: None, shared: bool) -> None:
    migrate(database_url)
    with closing(Database(database_url)) as one, closing(Database(database_url)) as other, one.write() as first:
        first.execute(sa.update(event_counter).values(last_id=7))
        with (
            pytest.raises(DatabaseUnavailableError, match="busy") as caught,
            (one if shared else other).write() as second,
        ):
            second.execute(sa.update(event_counter).values(last_id=8))
    check_words(caught.value)


def test_a_postgresql_that_is_not_there_does_not_answer(tmp_path: Path, clock: Any) -> None:
    url = f"postgresql://somebody:secret@/nothing?host={tmp_path}"
    calls: list[Callable[[], object]] = [lambda: migrate(url), lambda: SqlActors(Database(url), clock).get("a")]
    for call in calls:
        with pytest.raises(DatabaseUnavailableError, match="does not answer") as caught:
            call()
        check_words(caught.value)
        assert "secret" not in str(caught.value) + str(caught.value.__cause__)


def test_a_database_that_does_not_exist_or_admits_nobody_does_not_answer(postgresql: Path) -> None:
    for url in (
        f"postgresql://postgres@/nothing?host={postgresql}",
        f"postgresql://nobody@/postgres?host={postgresql}",
    ):
        with pytest.raises(DatabaseUnavailableError, match="does not answer"):
            migrate(url)


def test_connections_that_the_server_cut_are_made_anew(postgresql: Path, postgresql_url: str, clock: Any) -> None:
    migrate(postgresql_url)
    with closing(Database(postgresql_url)) as database:
        actors = SqlActors(database, clock)
        actors.put(ActorRequest(name="alice"))
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        name = str(sa.make_url(postgresql_url).database)
        with psycopg.connect(
            host=str(postgresql), user="postgres", dbname="postgres", autocommit=True
        ) as administrator:
            administrator.execute(cut, [name])
            assert actors.get("alice") is not None

            def cut_while_writing() -> None:
                with database.write() as connection:
                    administrator.execute(cut, [name])
                    connection.execute(sa.update(event_counter).values(last_id=8))

            with pytest.raises(DatabaseUnavailableError, match="does not answer"):
                cut_while_writing()
            assert actors.get("alice") is not None


@pytest.mark.parametrize("name", ["x" * 201, "a\x00b"])
def test_what_postgresql_does_not_keep_is_the_callers_fault(postgresql_url: str, clock: Any, name: str) -> None:
    migrate(postgresql_url)
    known = {"key": "k", "request_sha256": "d", "subject": "s", "at": clock.now()}
    statement = sa.insert(answers).values(actor=name, **known)
    with (
        closing(Database(postgresql_url)) as database,
        pytest.raises(InvalidError, match="does not keep"),
        database.write() as connection,
    ):
        connection.execute(statement)


def test_a_full_disk_is_told_and_when_there_is_room_again_it_goes_on(
    small_disk: Path, fill_small_disk: Any, clock: Any, tell: Any
) -> None:
    url = f"sqlite:///{small_disk}/platform.db"
    migrate(url)
    acknowledged: list[int] = []

    def write_on_and_on() -> None:
        while True:
            events.append([tell(text="x" * 2000)])
            acknowledged.append(events.last_id())

    with closing(Database(url)) as database:
        events = SqlEvents(database, clock)
        events.append([tell()])
        other = fill_small_disk()
        with pytest.raises(StorageUnavailableError, match="full") as caught:
            write_on_and_on()
        check_words(caught.value)
        assert events.last_id() == 1 + len(acknowledged)
        other.unlink()
        events.append([tell()])
        assert [event.id for event in events.after(0, None)] == list(range(1, len(acknowledged) + 3))
    with closing(sqlite3.connect(small_disk / "platform.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_no_database_is_made_on_a_full_disk(small_disk: Path, fill_small_disk: Any) -> None:
    other = fill_small_disk()
    with pytest.raises(StorageUnavailableError) as caught:
        migrate(f"sqlite:///{small_disk}/platform.db")
    check_words(caught.value)
    other.unlink()
    migrate(f"sqlite:///{small_disk}/platform.db")


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "platform.db").mkdir()
    for path in (tmp_path / "nowhere" / "platform.db", tmp_path / "platform.db"):
        with pytest.raises(StorageUnavailableError, match="cannot be read or written") as caught:
            migrate(f"sqlite:///{path}")
        check_words(caught.value)


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "platform.db").write_bytes(os.urandom(8192))
    with pytest.raises(DatabaseUnavailableError, match="damaged") as caught:
        migrate(f"sqlite:///{tmp_path}/platform.db")
    check_words(caught.value)
