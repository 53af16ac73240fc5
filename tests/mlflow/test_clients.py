"""Real MLflow clients, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from governed_mlflow.world import START_SECONDS, GovernedServer, free_port, make_world, run_client, told
from model_platform_server.adapters.database import tables
from support.servers import wait_until


@pytest.fixture
def plain_server(tmp_path: Path) -> Iterator[str]:
    """MLflow's own server, as it comes."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/m.db",
        "--artifacts-destination",
        str(tmp_path / "artifacts"),
    ]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    environment = {**os.environ, **quiet}
    environment.pop("PYTEST_CURRENT_TEST")
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=tmp_path)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _answers(url), START_SECONDS, "the start of MLflow's server")
        yield url
    finally:
        server.terminate()
        server.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.TransportError:
        return False


def test_the_same_script_of_two_people_finds_what_it_finds_on_a_plain_server(
    plain_server: str, sqlite_server: GovernedServer, postgresql_server: GovernedServer
) -> None:
    """Nobody's script names a zone, all run at once, and each sees its own things as if it were alone."""
    with make_world(sqlite_server) as on_sqlite, make_world(postgresql_server) as on_postgresql:
        plain = run_client("operations.py", plain_server, "")
        everybody = (on_sqlite.ana, on_sqlite.ben, on_postgresql.ana)
        people = {person: person.client("operations.py") for person in everybody}
        expected = dict(told(plain))
        assert len(expected) > 120
        for person, client in people.items():
            answers = dict(told(client))
            different = {name: (value, answers[name]) for name, value in expected.items() if answers[name] != value}
            assert different == {}, person.actor.name + "".join(
                f"\n{name}:\n  plain    {one}\n  governed {other}" for name, (one, other) in different.items()
            )
            zone = person.actor.home_zone
            assert {row.name for row in person.server.rows(tables.models, zone=zone)} >= {"churn", "twice", "renamed"}
