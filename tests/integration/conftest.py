"""A real server, and the client connected to it as its owner."""

from __future__ import annotations

import contextlib
import importlib
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.databases import fresh_database
from support.servers import RunningServer, running_server, wait_until


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for the tests of a module, with MLflow up: over SQLite, or over what the module is parametrised with."""
    with contextlib.ExitStack() as stack:
        more = {}
        if getattr(request, "param", "sqlite") == "postgresql":
            more["MP_SERVER_DATABASE_URL"] = stack.enter_context(fresh_database(request.getfixturevalue("postgresql")))
        found = stack.enter_context(running_server(tmp_path_factory.mktemp("home"), **more))
        wait_until(found.ready, 120, "MLflow's start")
        yield found


@pytest.fixture
def mp(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The client package, connected to the module's server."""
    import model_platform

    with warnings.catch_warnings():  # MLflow warns of itself while it is imported
        warnings.simplefilter("ignore")
        importlib.import_module("mlflow.pyfunc")
    monkeypatch.setenv("MP_HOME", str(server.state))
    for name in ("MP_SERVER", "MP_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    client = model_platform.connect()
    yield model_platform
    client.close()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own to work in, from which modules can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path
