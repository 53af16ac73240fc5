"""What the tests of the governed MLflow act with: servers, people in zones of their own, plain calls, real clients."""

from __future__ import annotations

import datetime as dt
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Client
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from governed_mlflow.server import token_of
from model_platform_core.access import EVERY_ZONE, ROLES, Actor
from model_platform_core.cards import ModelCard
from model_platform_core.models import FileEntry
from model_platform_core.refs import ModelRef
from model_platform_core.zones import Amount, ZoneSpec
from model_platform_server.adapters.database import tables
from model_platform_server.adapters.database.engine import Database, migrate
from model_platform_server.adapters.mlflow.evidence import digest_files
from model_platform_server.ports import Registration
from support.servers import wait_until

START_SECONDS = 240
CLIENT_SECONDS = 900
SERVER = Path(__file__).with_name("server.py")
ROOT = Path(__file__).parents[3]
MLMODEL = """
flavors:
  python_function: {loader_module: mlflow.sklearn, python_version: 3.11.9}
  sklearn: {serialization_format: skops}
signature:
  inputs: '[{"name": "x", "type": "double", "required": true}]'
  outputs: '[{"type": "long", "required": true}]'
"""
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


class GovernedServer:
    """A server process over a database, and the database itself."""

    def __init__(self, state: Path, database_url: str) -> None:
        self.state = state
        self.url = database_url.replace("postgresql://", "postgresql+psycopg://")
        migrate(database_url)
        self.database = Database(database_url)
        self.process: subprocess.Popen[bytes] | None = None

    def start(
        self, *, ready: bool = True, while_starting: Callable[[], object] = lambda: None, **environment: str
    ) -> GovernedServer:
        """Start it; it is up when this returns, and MLflow too unless `ready` is false."""
        self.port = free_port()
        self._socket = str(self.state / f"{self.port}.socket")
        command = [sys.executable, str(SERVER), str(self.state), self.url, str(self.port), self._socket]
        library = str(ROOT / "tests" / "lib")
        path = os.pathsep.join([library, *([environment.pop("PYTHONPATH")] if "PYTHONPATH" in environment else [])])
        known = {**os.environ, **environment, "PYTHONPATH": path}
        known.pop("PYTEST_CURRENT_TEST", None)
        with (self.state / "log").open("ab") as log:
            self.process = subprocess.Popen(command, env=known, stdout=log, stderr=log, cwd=self.state)
        while_starting()
        wanted = {200} if ready else {200, 503}
        wait_until(lambda: self._answers() in wanted, START_SECONDS, "the start of the governed MLflow")
        return self

    def _answers(self) -> int:
        """The status of the readiness; 0 if nothing answers."""
        assert self.process is not None
        assert self.process.poll() is None, (self.state / "log").read_text()
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/ready").status_code
        except httpx.TransportError:
            return 0

    @property
    def mlflow(self) -> str:
        return f"http://127.0.0.1:{self.port}/mlflow"

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)

    def close(self) -> None:
        self.stop()
        self.database.close()

    def call(self, method: str, *arguments: object) -> Any:
        """Call the registry's port in the server; raises what it raises."""
        with Client(self._socket) as line:
            line.send((method, arguments))
            result, error = line.recv()
        if error is not None:
            raise error
        return result

    def rows(self, table: sa.Table, **where: object) -> list[Any]:
        query = sa.select(table).where(*(table.c[column] == value for column, value in where.items()))
        with self.database.read() as connection:
            return list(connection.execute(query.order_by(*table.primary_key.columns)).all())

    def events(self, zone: str) -> list[Any]:
        return self.rows(tables.events, zone=zone)

    def add_zone(self, name: str, **spec: object) -> str:
        content = ZoneSpec.model_validate({"owner": "somebody", "limits": Amount(), **spec}).model_dump(mode="json")
        with self.database.write() as connection:
            made = dt.datetime.now(dt.UTC)
            connection.execute(sa.insert(tables.zones).values(name=name, spec=content, created_at=made))
        return name


class Api:
    """Plain calls of one actor."""

    def __init__(self, server: GovernedServer, actor: Actor) -> None:
        self.server, self.actor = server, actor
        self.token = token_of(actor)
        headers = {"Authorization": f"Bearer {self.token}"}
        self.http = httpx.Client(base_url=server.mlflow, headers=headers, timeout=60)

    def close(self) -> None:
        self.http.close()

    def get(self, path: str, /, **parameters: object) -> httpx.Response:
        return self.http.get(_full(path), params=parameters)  # type: ignore[arg-type]

    def post(self, path: str, /, **content: object) -> httpx.Response:
        return self.http.post(_full(path), json=content)

    def send(self, method: str, path: str, /, **content: object) -> httpx.Response:
        return self.http.request(method, _full(path), json=content)

    def ok(self, path: str, /, **content: object) -> dict[str, Any]:
        answer = self.post(path, **content)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def found(self, path: str, /, **parameters: object) -> dict[str, Any]:
        answer = self.get(path, **parameters)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def put_file(self, location: str, name: str, content: bytes) -> httpx.Response:
        return self.http.put(f"{ARTIFACTS}/{place(location)}/{name}", content=content)

    def experiment(self, name: str) -> str:
        return str(self.ok("experiments/create", name=name)["experiment_id"])

    def run(self, experiment: str = "0", **tags: str) -> str:
        listed = [{"key": key, "value": value} for key, value in tags.items()]
        return str(self.ok("runs/create", experiment_id=experiment, start_time=1, tags=listed)["run"]["info"]["run_id"])

    def logged_model(self, files: Mapping[str, str | bytes] | None = None, experiment: str = "0") -> dict[str, Any]:
        """A logged model with its files: ready to be registered."""
        made = self.ok("logged-models", experiment_id=experiment, name="m")["model"]["info"]
        for name, content in {"MLmodel": MLMODEL, "model.skops": b"weights", **(files or {})}.items():
            data = content.encode() if isinstance(content, str) else content
            assert self.put_file(made["artifact_uri"], name, data).status_code == 200
        self.send("PATCH", f"logged-models/{made['model_id']}", model_id=made["model_id"], status=2).raise_for_status()
        return dict(made)

    def register(self, name: str, model: Mapping[str, Any], **tags: str) -> httpx.Response:
        """As `mlflow.register_model` does: the model first, then the version."""
        made = self.post("registered-models/create", name=name)
        assert made.status_code == 200 or made.json()["error_code"] == "RESOURCE_ALREADY_EXISTS", made.text
        return self.version(name, model, **tags)

    def version(self, name: str, model: Mapping[str, Any], **tags: str) -> httpx.Response:
        listed = [{"key": key, "value": value} for key, value in tags.items()]
        source, model_id = f"models:/{model['model_id']}", model["model_id"]
        return self.post("model-versions/create", name=name, source=source, model_id=model_id, tags=listed)

    def publish(self, name: str, files: Mapping[str, str | bytes] | None = None, **tags: str) -> dict[str, Any]:
        """A registered version, and the logged model that it is of."""
        model = self.logged_model(files)
        answer = self.register(name, model, **tags)
        assert answer.status_code == 200, answer.text
        return {**model, "version": answer.json()["model_version"]["version"]}

    def upload(self, folder: Path, files: Mapping[str, str | bytes] | None = None) -> Path:
        """Files on the server's disk, as an upload leaves them."""
        folder.mkdir(parents=True)
        for name, content in {"MLmodel": MLMODEL, "model.skops": b"weights", **(files or {})}.items():
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return folder

    def registration(self, name: str, folder: Path, **more: Any) -> Registration:
        files: tuple[FileEntry, ...] = more.pop("files", None) or digest_files(folder)
        reference = ModelRef(self.actor.home_zone, name)
        known = {"card": ModelCard(), "new": True, **more}
        return Registration(model=reference, directory=folder, files=files, **known)

    def client(self, script: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """A real MLflow client that runs a script in a process of its own."""
        return run_client(script, self.server.mlflow, self.token, *arguments, **environment)


def run_client(script: str, url: str, token: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    known = {**os.environ, "MLFLOW_TRACKING_URI": url, "MLFLOW_TRACKING_TOKEN": token, **environment}
    known |= {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }
    known |= {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true", "PYTHONPATH": str(ROOT / "tests" / "lib")}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", str(Path(__file__).with_name(script)), *arguments],
        env=known,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(client: subprocess.Popen[str]) -> Any:
    """What a client's script has printed at last, as JSON; its errors if it failed."""
    out, err = client.communicate(timeout=CLIENT_SECONDS)
    assert client.returncode == 0, err[-4000:]
    return json.loads(out.splitlines()[-1])


def place(location: str) -> str:
    return location.removeprefix("mlflow-artifacts:/")


def _full(path: str) -> str:
    return path if path.startswith("/") else f"/api/2.0/mlflow/{path}"


@dataclass(frozen=True)
class World:
    """Two people with zones of their own, a team's zone, one that demands cards, and an administrator.

    Ana may look at the team's zone, Ben may publish there too; the zone of risk is Ben's and Ana knows nothing of it.
    """

    server: GovernedServer
    ana: Api
    ben: Api
    admin: Api
    team: str
    risk: str


@contextmanager
def make_world(server: GovernedServer) -> Iterator[World]:
    """A world in zones of its own."""
    mark = secrets.token_hex(4)
    zones = [server.add_zone(f"{name}-{mark}") for name in ("ana", "ben", "team")]
    risk = server.add_zone(f"risk-{mark}", minimum_tier=1)
    developer, viewer = ROLES["developer"], ROLES["viewer"]
    ana = Actor(name=f"ana.{mark}", home_zone=zones[0], grants={zones[0]: developer, zones[2]: viewer})
    ben = Actor(
        name=f"ben.{mark}", home_zone=zones[1], grants={zones[1]: developer, zones[2]: developer, risk: developer}
    )
    admin = Actor(name="admin", grants={EVERY_ZONE: ROLES["platform-admin"]})
    people = [Api(server, actor) for actor in (ana, ben, admin)]
    yield World(server, people[0], people[1], people[2], zones[2], risk)
    for person in people:
        person.http.close()


def kinds(events: Sequence[Any]) -> list[str]:
    return [event.type for event in events]
