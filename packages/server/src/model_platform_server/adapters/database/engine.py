"""One database, SQLite or PostgreSQL: connections, transactions, migration."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from model_platform_core.errors import DatabaseUnavailableError
from model_platform_server.adapters.database.failures import BUSY, translated
from model_platform_server.adapters.database.tables import VERSION_TABLE

NEWEST_REVISION = "0001"
"""The migration at which the tables are what this version needs."""

_WAIT_SECONDS = 20
"""How long a transaction waits for another one's lock before it is told that the database is busy."""


class Database:
    """Transactions on the platform's database; safe to share between threads.

    Parameters
    ----------
    url
        `sqlite:////absolute/path.db` or `postgresql://…`.
    """

    def __init__(self, url: str) -> None:
        parsed = sa.make_url(url)
        if parsed.drivername in {"postgres", "postgresql"}:
            parsed = parsed.set(drivername="postgresql+psycopg")
        self.engine = _sqlite_engine(parsed) if parsed.get_backend_name() == "sqlite" else _postgresql_engine(parsed)
        self._writing = self.engine.execution_options(writes=True)
        self._turn = threading.Lock() if parsed.get_backend_name() == "sqlite" else None

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that only reads. Raises DatabaseUnavailableError, StorageUnavailableError."""
        with translated(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that writes: committed at the end, undone if anything is raised. Errors as for `read`."""
        with translated(), self._in_turn(), self._writing.begin() as connection:
            yield connection

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        # SQLite has one writer at a time, and those who wait look again after pauses that grow: of many threads, some
        # would starve. Ours wait for one another here, where the next one goes on at once.
        if self._turn is None:
            yield
            return
        if not self._turn.acquire(timeout=_WAIT_SECONDS):
            raise DatabaseUnavailableError(BUSY)
        try:
            yield
        finally:
            self._turn.release()

    def close(self) -> None:
        """Close every connection that is not in use."""
        self.engine.dispose()


def _sqlite_engine(url: sa.URL) -> sa.Engine:
    # Connections are cheap, and the server's thread pool has 40 threads: nobody should wait for one.
    engine = sa.create_engine(
        url, hide_parameters=True, connect_args={"timeout": _WAIT_SECONDS}, pool_size=10, max_overflow=40
    )
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, see below
    connection.execute("PRAGMA journal_mode = WAL")  # readers go on while somebody writes
    # What was acknowledged survives a power cut too, not only kill -9: one fsync for each commit.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    # SQLite's own lower() knows ASCII only; searches should find „Größe“ by „GRÖSSE“'s neighbours as PostgreSQL does.
    connection.create_function("lower", 1, lambda text: text.lower() if text is not None else None, deterministic=True)


def _begin_sqlite(connection: sa.Connection) -> None:
    # IMMEDIATE takes the write lock at once. A transaction that reads first and then wants to write would be refused
    # without waiting if another one has written meanwhile (SQLITE_BUSY_SNAPSHOT).
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql_engine(url: sa.URL) -> sa.Engine:
    waiting = f"-c lock_timeout={_WAIT_SECONDS * 1000}"
    options = {"connect_timeout": _WAIT_SECONDS, "tcp_user_timeout": _WAIT_SECONDS * 1000, "options": waiting}
    return sa.create_engine(
        url, hide_parameters=True, connect_args=options, pool_size=10, max_overflow=20, pool_pre_ping=True
    )


def migrate(url: str) -> None:
    """Bring the platform's tables to what this version needs; safe when several servers start at once.

    Raises
    ------
    DatabaseUnavailableError
        If the database does not answer, or was written by a newer version of the platform.
    StorageUnavailableError
        If the disk is full or the file cannot be written.
    """
    database = Database(url)
    try:
        if _revision(database) != NEWEST_REVISION:
            # Imported here: it takes longer than everything else that a start with nothing to migrate does.
            from model_platform_server.adapters.database.upgrade import upgrade  # noqa: PLC0415

            upgrade(database)
    finally:
        database.close()


def _revision(database: Database) -> str | None:
    """The migration that the tables are at; None if there are none."""
    with database.read() as connection:
        if not sa.inspect(connection).has_table(VERSION_TABLE):
            return None
        return connection.execute(sa.select(sa.column("version_num")).select_from(sa.table(VERSION_TABLE))).scalar()
