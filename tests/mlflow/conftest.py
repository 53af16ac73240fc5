"""One governed server for each database, shared by all tests: MLflow takes seconds to come up. Zones are each test's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from governed_mlflow.world import GovernedServer, World, make_world
from support.databases import DATABASES, fresh_database


@pytest.fixture(scope="session")
def sqlite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GovernedServer]:
    """A governed MLflow over SQLite."""
    state = tmp_path_factory.mktemp("sq")
    with closing(GovernedServer(state, f"sqlite:///{state}/platform.db")) as server:
        yield server.start()


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory, postgresql: Path) -> Iterator[GovernedServer]:
    """A governed MLflow over PostgreSQL."""
    with fresh_database(postgresql) as url, closing(GovernedServer(tmp_path_factory.mktemp("pg"), url)) as server:
        yield server.start()


@pytest.fixture
def world(sqlite_server: GovernedServer) -> Iterator[World]:
    """People and zones of this test alone, on SQLite."""
    with make_world(sqlite_server) as made:
        yield made


@pytest.fixture(params=DATABASES)
def every_world(request: pytest.FixtureRequest) -> Iterator[World]:
    """People and zones of this test alone: once on SQLite, once on PostgreSQL."""
    with make_world(request.getfixturevalue(f"{request.param}_server")) as made:
        yield made
