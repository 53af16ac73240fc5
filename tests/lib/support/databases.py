"""Fresh databases in a real PostgreSQL, and the mark of tests that run on every database."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

DATABASES = ("sqlite", "postgresql")

on_every_database = pytest.mark.parametrize("server", DATABASES, indirect=True, scope="module")
"""For tests with a `server` of their module: once over SQLite, once over PostgreSQL."""


@contextlib.contextmanager
def fresh_database(socket_folder: Path) -> Iterator[str]:
    """The address of a database that is gone afterwards, in the PostgreSQL behind a Unix socket."""
    name = f"test_{secrets.token_hex(8)}"
    with psycopg.connect(host=str(socket_folder), user="postgres", dbname="postgres", autocommit=True) as administrator:
        administrator.execute(f"CREATE DATABASE {name}")
        try:
            yield f"postgresql://postgres@/{name}?host={socket_folder}"
        finally:
            administrator.execute(f"DROP DATABASE {name} WITH (FORCE)")
