"""Whatever fails, and whenever the server dies: versions and events tell the same, and nothing is half there."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from governed_mlflow.world import GovernedServer, World, make_world, place
from model_platform_core.errors import ModelPlatformError, RegistryUnavailableError, StorageUnavailableError
from model_platform_server.adapters.database import tables
from support.databases import DATABASES
from support.servers import wait_until

KILLS = {"sqlite": 2, "postgresql": 1}
WRITERS = 4


def versions_in_mlflow(server: GovernedServer) -> set[tuple[str, int]]:
    query = sa.text("SELECT name, version FROM model_versions WHERE current_stage <> 'Deleted_Internal'")
    with server.database.read() as connection:
        return {(row.name, row.version) for row in connection.execute(query)}


def check_that_everything_agrees(server: GovernedServer) -> set[tuple[str, int]]:
    """MLflow's versions, ours, the events and the files on disk are the same; returns the versions."""
    ours = {(f"{row.zone}.{row.name}", row.version): row for row in server.rows(tables.versions)}
    told = {(row.subject, row.data["version"]) for row in server.rows(tables.events, type="version_registered")}
    assert versions_in_mlflow(server) == set(ours) == told
    for (full, version), row in ours.items():
        zone, _, name = full.partition(".")
        for file in server.rows(tables.files, zone=zone, name=name, version=version):
            content = (server.state / "artifacts" / place(row.location) / file.path).read_bytes()
            assert f"sha256:{hashlib.sha256(content).hexdigest()}" == file.sha256
    assert {row.prefix for row in server.rows(tables.seals)} == {place(row.location) for row in ours.values()}
    with server.database.read() as connection:
        ids = list(connection.scalars(sa.select(tables.events.c.id).order_by(tables.events.c.id)))
    assert ids == list(range(1, len(ids) + 1)), "ids of events have no holes"
    return set(ours)


def write_until_it_dies(world: World, number: int, acknowledged: list[tuple[str, int]], died: threading.Event) -> None:
    """Register through both doors, one after the other."""
    person = (world.ana, world.ben)[number % 2]
    turn = 0
    while True:
        turn += 1
        name = f"m{number}-{turn % 3}"
        try:
            if turn % 2:
                version = int(person.publish(name)["version"])
            else:
                folder = person.upload(world.server.state / f"upload-{number}-{turn}-{random.randrange(1 << 40)}")
                version = world.server.call("register", person.actor, person.registration(name, folder)).version
        except (httpx.TransportError, EOFError, OSError, AssertionError, ModelPlatformError):
            if not died.wait(10):  # it was no death that we saw
                raise
            return
        acknowledged.append((f"{person.actor.home_zone}.{name}", version))


def _wait_for_more(acknowledged: list[tuple[str, int]], enough: int) -> None:
    wait_until(lambda: len(acknowledged) >= enough, 60, "writing")


@pytest.fixture(params=DATABASES)
def own_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GovernedServer]:
    """A server of this test's own, to be killed."""
    server = GovernedServer(tmp_path, request.getfixturevalue(f"{request.param}_url"))
    yield server
    server.close()


def test_kill_9_while_models_are_registered(own_server: GovernedServer) -> None:
    random.seed(20261121)
    acknowledged: list[tuple[str, int]] = []
    for _ in range(KILLS[own_server.database.engine.dialect.name]):
        own_server.start()
        with make_world(own_server) as world, ThreadPoolExecutor(WRITERS) as writers:
            before = len(acknowledged)
            died = threading.Event()
            running = [
                writers.submit(write_until_it_dies, world, number, acknowledged, died) for number in range(WRITERS)
            ]
            _wait_for_more(acknowledged, before + random.randrange(8, 20))
            own_server.kill()
            died.set()
            for writer in running:
                writer.result()
        found = check_that_everything_agrees(own_server)
        assert set(acknowledged) <= found, "what was acknowledged is there"
    early: list[httpx.Response] = []
    asked = threading.Thread(target=lambda: early.append(_ask_at_once(own_server)))
    own_server.start(while_starting=asked.start)
    asked.join()
    assert early[0].status_code == 200, "who asks before MLflow is up waits, and gets no error that it would repeat"
    with make_world(own_server) as world:
        world.ana.publish("after")
    check_that_everything_agrees(own_server)


def test_many_writers_at_once(every_world: World) -> None:
    """Every version has its number once, every event its actor; nobody is told that the database is busy."""
    people, server = (every_world.ana, every_world.ben), every_world.server
    models = {person: person.logged_model() for person in people}
    for person in people:
        person.ok("registered-models/create", name="churn")

    def write(turn: int) -> tuple[str, int]:
        person = people[turn % 2]
        answer = person.version("churn", models[person])
        assert answer.status_code == 200, answer.text
        person.ok("registered-models/set-tag", name="churn", key=f"k{turn}", value="v")
        return str(person.actor.home_zone), int(answer.json()["model_version"]["version"])

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(write, range(32)))
    for person in people:
        zone = person.actor.home_zone or ""
        assert sorted(version for where, version in made if where == zone) == list(range(1, 17))
        events = server.events(zone)
        assert {event.actor for event in events} == {person.actor.name}
        assert sum(event.type == "version_registered" for event in events) == 16
        [model] = server.rows(tables.models, zone=zone)
        assert (model.newest_version, len(model.tags)) == (16, 16)


def test_publishes_of_one_model_at_once(every_world: World, tmp_path: Path) -> None:
    ana, server = every_world.ana, every_world.server
    folders = [ana.upload(server.state / f"upload-{tmp_path.name}-{number}") for number in range(6)]

    def publish(folder: Path) -> int:
        return int(server.call("register", ana.actor, ana.registration("churn", folder)).version)

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(publish, folders)) == [1, 2, 3, 4, 5, 6]


def test_two_first_uses_of_the_default_experiment_meet_in_one(every_world: World) -> None:
    with ThreadPoolExecutor(6) as pool:
        runs = list(pool.map(lambda _: every_world.ana.run(), range(6)))
    found = {every_world.ana.found("runs/get", run_id=run)["run"]["info"]["experiment_id"] for run in runs}
    assert len(found) == 1


REFUSE_EVENTS = {
    "sqlite": [
        "CREATE TRIGGER refuse BEFORE INSERT ON mp_events WHEN NEW.zone = '{zone}' BEGIN SELECT RAISE(ABORT, 'no'); END"
    ],
    "postgresql": [
        (
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'integrity_constraint_violation'; END $$"
        ),
        (
            "CREATE TRIGGER refuse BEFORE INSERT ON mp_events FOR EACH ROW WHEN (NEW.zone = '{zone}') "
            "EXECUTE FUNCTION refuse()"
        ),
    ],
}


def test_without_the_event_there_is_no_version(every_world: World, tmp_path: Path) -> None:
    """The database refuses the event: then nothing else is written either, through no door, and files stay."""
    ana, server, zone = every_world.ana, every_world.server, every_world.ana.actor.home_zone
    ana.publish("churn")
    model = ana.logged_model()
    folder = ana.upload(server.state / f"upload-{tmp_path.name}")
    before = versions_in_mlflow(server)
    with server.database.write() as connection:
        for statement in REFUSE_EVENTS[connection.dialect.name]:
            connection.execute(sa.text(statement.format(zone=zone)))
    try:
        assert ana.version("churn", model).status_code >= 400
        assert ana.post("registered-models/create", name="other").status_code >= 400
        assert ana.post("registered-models/alias", name="churn", alias="a", version="1").status_code >= 400
        with pytest.raises(ModelPlatformError):
            server.call("register", ana.actor, ana.registration("churn", folder))
    finally:
        with server.database.write() as connection:
            where = " ON mp_events" if connection.dialect.name == "postgresql" else ""
            connection.execute(sa.text(f"DROP TRIGGER refuse{where}"))
    assert versions_in_mlflow(server) == before
    assert [row.name for row in server.rows(tables.models, zone=zone)] == ["churn"]
    assert ana.found("registered-models/get", name="churn")["registered_model"].get("aliases", []) == []
    assert sorted(file.name for file in folder.iterdir()) == ["MLmodel", "model.skops"]
    version = server.call("register", ana.actor, ana.registration("churn", folder))
    assert version.version == 2


def test_a_full_disk_is_told_and_leaves_nothing(small_disk: Path, tmp_path: Path, sqlite_url: str) -> None:
    (tmp_path / "artifacts").symlink_to(small_disk, target_is_directory=True)
    server = GovernedServer(tmp_path, sqlite_url).start()
    try:
        with make_world(server) as world:
            ana = world.ana
            small = server.call("register", ana.actor, ana.registration("small", ana.upload(tmp_path / "one")))
            assert small.version == 1, "files of another disk are copied"
            folder = ana.upload(tmp_path / "two", {"weights.bin": b"x" * (4 << 20)})
            with pytest.raises(StorageUnavailableError):
                server.call("register", ana.actor, ana.registration("large", folder))
            assert [row.name for row in server.rows(tables.models, zone=ana.actor.home_zone)] == ["small"]
            assert (folder / "weights.bin").stat().st_size == 4 << 20
            assert [entry.name for entry in small_disk.iterdir() if entry.name.startswith(".incoming")] == []
    finally:
        server.close()


def test_models_that_never_got_a_version_are_swept(every_world: World) -> None:
    """Their client died between two calls. What was made on purpose, or of late, stays."""
    ana, server, zone = every_world.ana, every_world.server, every_world.ana.actor.home_zone
    for name in ("empty", "described", "fresh"):
        ana.ok("registered-models/create", name=name, description="on purpose" if name == "described" else "")
    ana.publish("full")
    with server.database.write() as connection:
        old = "UPDATE registered_models SET creation_time = 0 WHERE name NOT LIKE '%.fresh' AND name LIKE :zone"
        connection.execute(sa.text(old), {"zone": f"{zone}.%"})
    assert server.call("sweep") == 1
    assert [row.name for row in server.rows(tables.models, zone=zone)] == ["described", "fresh", "full"]
    assert server.events(zone or "")[-1].type == "model_deleted"


def _ask_at_once(server: GovernedServer) -> httpx.Response:
    def answered() -> httpx.Response | None:
        try:
            return httpx.get(f"{server.mlflow}/version", headers={"Authorization": f"Bearer {_NOBODY}"}, timeout=90)
        except httpx.TransportError:
            return None

    found: httpx.Response = wait_until(answered, 90, "the first answer")
    return found


_NOBODY = "eyJuYW1lIjogIm5vYm9keSJ9"  # {"name": "nobody"}


def test_a_registry_that_is_not_governed_does_not_serve(tmp_path: Path, sqlite_url: str) -> None:
    """An entry point that does not load is only a warning to MLflow."""
    hidden = tmp_path / "sitecustomize.py"
    hidden.write_text(
        "import importlib.metadata as m\n"
        "plain = m.entry_points\n"
        "m.entry_points = lambda **k: [e for e in plain(**k) if e.name != 'governed']\n"
    )
    server = GovernedServer(tmp_path, sqlite_url)
    server.start(ready=False, PYTHONPATH=str(tmp_path))
    try:
        with pytest.raises(RegistryUnavailableError):
            server.call("sweep")
        answer = httpx.get(f"{server.mlflow}/version", headers={"Authorization": f"Bearer {_NOBODY}"}, timeout=90)
        assert (answer.status_code, answer.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
        assert answer.headers["retry-after"]
    finally:
        server.close()
