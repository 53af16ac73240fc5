"""What is registered stays as it is, in every spelling of its path; the rest of a run changes freely."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from governed_mlflow.world import ARTIFACTS, World, place
from model_platform_server.adapters.database import tables

OTHER = "/ajax-api/2.0/mlflow-artifacts/artifacts"


@pytest.mark.parametrize("name", ["MLmodel", "new.txt", "sub/new.txt"])
def test_nothing_is_written_below_a_registered_version(every_world: World, name: str) -> None:
    ana = every_world.ana
    path = place(ana.publish("churn")["artifact_uri"])
    for base in (ARTIFACTS, OTHER):
        for spelling in (
            path,
            path.replace("/models/", "//models/"),
            path.replace("/models/", "/./models/"),
            path.replace("/models/", "/x/../models/"),
            path.replace("models", "%6dodels"),
            path.replace("models", "%256dodels"),
            path.replace("/models", "%2Fmodels"),
            path.replace("/models", "%252Fmodels"),
            f"/{path}",
        ):
            for person in (ana, every_world.admin):
                answer = person.http.put(f"{base}/{spelling}/{name}", content=b"changed")
                assert answer.status_code in {400, 403, 404}, (spelling, answer.text)
    stored = every_world.server.state / "artifacts" / path
    assert sorted(file.name for file in stored.rglob("*")) == ["MLmodel", "model.skops"]
    assert (stored / "model.skops").read_bytes() == b"weights"
    assert ana.http.get(f"{ARTIFACTS}/{path}/model.skops").content == b"weights"


def test_nothing_is_deleted_below_or_above_it(every_world: World) -> None:
    ana = every_world.ana
    path = place(ana.publish("churn")["artifact_uri"])
    parts = path.split("/")
    for end in range(1, len(parts) + 1):
        for person in (ana, every_world.admin):
            answer = person.http.delete(f"{ARTIFACTS}/{'/'.join(parts[:end])}")
            assert answer.status_code == 403, answer.text
            assert "cannot change" in answer.text
    assert ana.http.delete(f"{ARTIFACTS}/{path}/MLmodel").status_code == 403
    assert (every_world.server.state / "artifacts" / path / "MLmodel").is_file()


def test_the_rest_of_a_run_changes_freely(world: World) -> None:
    ana = world.ana
    run = ana.run()
    location = ana.found("runs/get", run_id=run)["run"]["info"]["artifact_uri"]
    ana.publish("churn")
    for content in (b"one", b"two"):
        assert ana.put_file(location, "note.txt", content).status_code == 200
    assert ana.http.get(f"{ARTIFACTS}/{place(location)}/note.txt").content == b"two"
    assert ana.http.delete(f"{ARTIFACTS}/{place(location)}/note.txt").status_code == 200
    path = f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path=shown.txt"
    assert ana.http.post(path, content=b"x").status_code == 200


def test_an_upload_that_ends_after_the_registration_is_refused(every_world: World) -> None:
    """Begun before, it would change what was examined."""
    ana = every_world.ana
    model = ana.logged_model()
    begun, registered = threading.Event(), threading.Event()

    def slowly() -> Iterator[bytes]:
        yield b"x" * 100_000
        begun.set()
        assert registered.wait(30)
        yield b"y" * 100_000

    answers = []
    url = f"{ARTIFACTS}/{place(model['artifact_uri'])}/model.skops"
    upload = threading.Thread(target=lambda: answers.append(ana.http.put(url, content=slowly())))
    upload.start()
    assert begun.wait(30)
    assert ana.register("churn", model).status_code == 200
    registered.set()
    upload.join()
    assert (answers[0].status_code, "cannot change" in answers[0].text) == (403, True)
    stored = every_world.server.state / "artifacts" / place(model["artifact_uri"])
    assert sorted(file.name for file in stored.iterdir()) == ["MLmodel", "model.skops"]
    assert (stored / "model.skops").read_bytes() == b"weights"
    files = {row.path for row in every_world.server.rows(tables.files, zone=ana.actor.home_zone)}
    assert files == {"MLmodel", "model.skops"}


def test_files_of_many_megabytes_are_hashed_as_they_lie(world: World) -> None:
    content = bytes(range(256)) * (12 << 12)
    made = world.ana.publish("churn", {"weights.bin": content})
    [row] = world.server.rows(tables.files, zone=world.ana.actor.home_zone, path="weights.bin")
    assert row.size == len(content)
    fetched = world.ana.http.get(f"{ARTIFACTS}/{place(made['artifact_uri'])}/weights.bin").content
    assert fetched == content
