"""A version comes in through the port or through any client: everything of it is there, in one transaction."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from governed_mlflow.world import World, kinds, place
from model_platform_core.cards import ModelCard
from model_platform_core.errors import CardIncompleteError, ForbiddenError, InvalidUploadError
from model_platform_core.lineage import Lineage
from model_platform_core.models import manifest_digest
from model_platform_core.refs import ModelRef, VersionRef
from model_platform_core.wire import ModelPatch
from model_platform_server.adapters.database import tables


def test_the_port_writes_run_model_version_card_files_and_event(every_world: World, tmp_path: Path) -> None:
    ana, server = every_world.ana, every_world.server
    folder = ana.upload(server.state / f"upload-{tmp_path.name}", {"data/extra.bin".replace("/", "-"): b"x" * 70_000})
    lineage = Lineage(notebook="train.ipynb", git_commit="a" * 40, parameters={"C": "1.0", "penalty": "l2"})
    registration = ana.registration(
        "churn",
        folder,
        card=ModelCard(purpose="Decide which customer is called"),
        lineage=lineage,
        metrics={"accuracy": 0.9},
        tags={"stage": "trial"},
        aliases=("champion",),
        description="the first",
    )

    zone = ana.actor.home_zone
    assert server.call("register", ana.actor, registration) == VersionRef(ModelRef(zone, "churn"), 1)

    [version] = server.rows(tables.versions, zone=zone)
    assert version.artifact_sha256 == manifest_digest(registration.files)
    assert version.signature["inputs"] == [{"name": "x", "type": "double", "required": True}]
    assert version.behaviour == {"flavor": "sklearn", "flavors": ["python_function", "sklearn"]}
    [alias] = server.rows(tables.aliases, zone=zone)
    assert (alias.alias, alias.version) == ("champion", 1)
    stored = server.state / "artifacts" / place(version.location)
    for file in registration.files:
        assert f"sha256:{hashlib.sha256((stored / file.path).read_bytes()).hexdigest()}" == file.sha256
    assert [(file.path, file.sha256) for file in server.rows(tables.files, zone=zone)] == [
        (file.path, file.sha256) for file in registration.files
    ]
    [card] = server.rows(tables.cards, zone=zone)
    written = ModelCard(purpose="Decide which customer is called", owner=ana.actor.name)
    assert (card.revision, card.sha256, card.by) == (1, written.digest(), ana.actor.name)
    assert kinds(server.events(zone or "")) == ["model_registered", "version_registered", "alias_set"]

    run = ana.found("runs/get", run_id=version.run_id)["run"]
    assert {metric["key"]: metric["value"] for metric in run["data"]["metrics"]} == {"accuracy": 0.9}
    assert {one["key"]: one["value"] for one in run["data"]["params"]} == {"C": "1.0", "penalty": "l2"}
    assert run["info"]["status"] == "FINISHED"
    shown = ana.found("model-versions/get", name="churn", version="1")["model_version"]
    assert (shown["name"], shown["run_id"], shown["source"]) == ("churn", version.run_id, f"models:/{version.model_id}")
    logged = ana.found(f"logged-models/{version.model_id}")["model"]["info"]
    assert logged["status"] == "LOGGED_MODEL_READY"


def test_versions_are_counted_and_the_newest_is_what_the_model_shows(every_world: World, tmp_path: Path) -> None:
    ana, server = every_world.ana, every_world.server
    for number in (1, 2, 3):
        folder = ana.upload(server.state / f"upload-{tmp_path.name}-{number}", {"model.skops": str(number)})
        assert server.call("register", ana.actor, ana.registration("churn", folder)).version == number
    ana.publish("churn")
    [model] = server.rows(tables.models, zone=ana.actor.home_zone)
    assert (model.newest_version, model.tier, model.owner) == (4, 0, ana.actor.name)


def test_what_the_port_refuses_leaves_nothing_but_the_event_and_the_upload(every_world: World, tmp_path: Path) -> None:
    ben, server = every_world.ben, every_world.server
    folder = ben.upload(server.state / f"upload-{tmp_path.name}")
    registration = ben.registration("churn", folder)
    object.__setattr__(registration, "model", ModelRef(every_world.risk, "churn"))

    with pytest.raises(CardIncompleteError) as refused:
        server.call("register", ben.actor, registration)

    assert {"tier", "purpose", "data", "training"} <= {problem.field for problem in refused.value.fields}
    assert folder.is_dir()
    assert server.rows(tables.models, zone=every_world.risk) == []
    assert kinds(server.events(every_world.risk)) == ["registration_refused"]
    assert server.events(every_world.risk)[0].data["code"] == "refused_card_incomplete"
    assert ben.get("registered-models/get", name=f"{every_world.risk}.churn").status_code == 404


def test_nobody_publishes_into_a_zone_without_the_right(world: World, tmp_path: Path) -> None:
    ana = world.ana
    folder = ana.upload(world.server.state / f"upload-{tmp_path.name}")
    registration = ana.registration("churn", folder)
    object.__setattr__(registration, "model", ModelRef(world.team, "churn"))
    with pytest.raises(ForbiddenError, match="models:publish"):
        world.server.call("register", ana.actor, registration)
    assert world.server.events(world.team) == []


def test_files_that_are_not_those_announced_are_refused(world: World, tmp_path: Path) -> None:
    ana = world.ana
    folder = ana.upload(world.server.state / f"upload-{tmp_path.name}")
    registration = ana.registration("churn", folder)
    (folder / "smuggled.pkl").write_bytes(b"code")
    with pytest.raises(InvalidUploadError):
        world.server.call("register", ana.actor, registration)
    assert world.server.rows(tables.models, zone=ana.actor.home_zone) == []


def test_a_plain_client_leaves_the_same_rows(every_world: World) -> None:
    ana, server, zone = every_world.ana, every_world.server, every_world.ana.actor.home_zone or ""
    made = ana.publish("churn", **{"mp.card.purpose": "Decide which customer is called", "mp.card.tier": "0"})
    [row] = server.rows(tables.versions, zone=zone)
    assert (row.name, row.version, row.model_id, row.published_by) == ("churn", 1, made["model_id"], ana.actor.name)
    assert row.format == "skops"
    assert row.lineage["environment"]["python"] == "3.11.9"
    assert [file.path for file in server.rows(tables.files, zone=zone)] == ["MLmodel", "model.skops"]
    [card] = server.rows(tables.cards, zone=zone)
    assert card.content == {"owner": ana.actor.name, "purpose": "Decide which customer is called"}
    [seal] = server.rows(tables.seals, zone=zone)
    assert (seal.prefix, seal.artifact_sha256) == (place(made["artifact_uri"]), row.artifact_sha256)
    assert kinds(server.events(zone)) == ["model_registered", "version_registered"]
    assert server.events(zone)[1].data["artifact_sha256"] == row.artifact_sha256


def test_our_rows_follow_every_change(every_world: World) -> None:
    ana, server, zone = every_world.ana, every_world.server, every_world.ana.actor.home_zone or ""
    ana.publish("churn")
    ana.publish("churn")
    ana.send("PATCH", "registered-models/update", name="churn", description="who leaves").raise_for_status()
    ana.ok("registered-models/set-tag", name="churn", key="team", value="retail")
    ana.send("PATCH", "model-versions/update", name="churn", version="1", description="old").raise_for_status()
    ana.ok("model-versions/set-tag", name="churn", version="1", key="q", value="1")
    ana.ok("registered-models/alias", name="churn", alias="champion", version="1")
    ana.ok("registered-models/alias", name="churn", alias="champion", version="2")
    [model] = server.rows(tables.models, zone=zone)
    assert (model.description, model.tags, model.newest_version) == ("who leaves", {"team": "retail"}, 2)
    first, _ = server.rows(tables.versions, zone=zone)
    assert (first.description, first.tags) == ("old", {"q": "1"})
    assert [(row.alias, row.version) for row in server.rows(tables.aliases, zone=zone)] == [("champion", 2)]

    ana.ok("registered-models/rename", name="churn", new_name="leaving")
    assert [row.name for row in server.rows(tables.versions, zone=zone)] == ["leaving", "leaving"]
    refused = ana.send("DELETE", "model-versions/delete", name="leaving", version="2")
    assert (refused.status_code, "alias champion" in refused.text) == (409, True)
    ana.send("DELETE", "registered-models/alias", name="leaving", alias="champion").raise_for_status()
    ana.send("DELETE", "model-versions/delete", name="leaving", version="2").raise_for_status()
    [model] = server.rows(tables.models, zone=zone)
    assert (model.name, model.newest_version) == ("leaving", 1)
    assert server.rows(tables.aliases, zone=zone) == []
    ana.send("DELETE", "registered-models/delete", name="leaving").raise_for_status()
    for table in (tables.models, tables.versions, tables.files, tables.cards, tables.aliases):
        assert server.rows(table, zone=zone) == []

    told = [(event.type, event.data) for event in server.events(zone)][3:]
    assert [kind for kind, _ in told] == [
        "model_changed",
        "model_changed",
        "version_changed",
        "version_changed",
        "alias_set",
        "alias_set",
        "model_changed",
        "alias_deleted",
        "version_deleted",
        "version_deleted",
        "model_deleted",
    ]
    assert told[5][1] == {"alias": "champion", "version": 2, "before": 1}
    assert told[6][1] == {"changed": ["name"], "before": f"{zone}.churn"}
    assert {event.actor for event in server.events(zone)} == {ana.actor.name}


def test_the_port_changes_aliases_description_and_tags(every_world: World) -> None:
    ana, server, reference = every_world.ana, every_world.server, ModelRef(every_world.ana.actor.home_zone, "churn")
    ana.publish("churn")
    server.call("set_alias", ana.actor, reference, "champion", 1)
    server.call("patch_model", ana.actor, reference, ModelPatch(description="who leaves", tags={"a": "1", "b": "2"}))
    server.call("patch_model", ana.actor, reference, ModelPatch(tags={"b": "3"}))
    [model] = server.rows(tables.models, zone=reference.zone)
    assert (model.description, model.tags) == ("who leaves", {"b": "3"})
    shown = ana.found("registered-models/get", name="churn")["registered_model"]
    assert {tag["key"]: tag["value"] for tag in shown["tags"]} == {"b": "3"}
    server.call("delete_alias", ana.actor, reference, "champion")
    assert server.rows(tables.aliases, zone=reference.zone) == []
    with pytest.raises(ForbiddenError):
        server.call("set_alias", every_world.ana.actor, ModelRef(every_world.team, "churn"), "champion", 1)
