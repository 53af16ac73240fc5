"""A deleted version is gone at once, through every door; it comes back whole, or is purged with its bytes; its number stays its own."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import httpx
import pytest

from governed_mlflow.world import Api, World, kinds, place
from model_platform_core.cards import ModelCard
from model_platform_core.errors import ForbiddenError, InUseError, NotFoundError, VersionNotFoundError
from model_platform_core.refs import ModelRef, VersionRef
from model_platform_server.adapters.database import tables

_OURS = (tables.versions, tables.files, tables.cards, tables.seals, tables.models)


def ref(person: Api, number: int) -> VersionRef:
    return VersionRef(ModelRef(person.actor.home_zone, "churn"), number)


def at_mlflow(person: Api, number: int) -> httpx.Response:
    return person.get("model-versions/get", name="churn", version=str(number))


def published(world: World, tmp_path: Path, number: int = 1) -> Path:
    """A version that came in through the port; where its files are."""
    ana, server = world.ana, world.server
    folder = ana.upload(server.state / f"upload-{tmp_path.name}-{number}", {"weights.bin": b"x" * 5_000})
    more = {"card": ModelCard(purpose="Decide who is called"), "tags": {"stage": "trial"}, "description": "the best"}
    assert server.call("register", ana.actor, ana.registration("churn", folder, **more)).version == number
    row = server.rows(tables.versions, zone=ana.actor.home_zone)[-1]
    return Path(server.state / "artifacts" / place(row.location))


def long_after() -> dt.datetime:
    return dt.datetime.now(dt.UTC) + dt.timedelta(days=1)


def test_a_version_is_gone_at_once_and_comes_back_whole(every_world: World, tmp_path: Path) -> None:
    ana, server, zone = every_world.ana, every_world.server, every_world.ana.actor.home_zone or ""
    stored = published(every_world, tmp_path)
    shown = at_mlflow(ana, 1).json()["model_version"]
    before = {table.name: server.rows(table, zone=zone) for table in _OURS[:4]}

    server.call("delete_version", ana.actor, ref(ana, 1))

    assert at_mlflow(ana, 1).status_code == 404
    assert ana.get(f"logged-models/{shown['source'].removeprefix('models:/')}").status_code == 404
    assert ana.found("model-versions/search", filter="name = 'churn'").get("model_versions", []) == []
    assert [server.rows(table, zone=zone) for table in _OURS[:3]] == [[], [], []]
    assert [model.newest_version for model in server.rows(tables.models, zone=zone)] == [None]
    assert (stored / "weights.bin").is_file()
    assert ana.put_file(before["mp_versions"][0].location, "weights.bin", b"").status_code == 403

    server.call("restore_version", ana.actor, ref(ana, 1))

    assert {table.name: server.rows(table, zone=zone) for table in _OURS[:4]} == before
    [model] = server.rows(tables.models, zone=zone)
    assert (model.newest_version, model.owner) == (1, ana.actor.name)
    again = at_mlflow(ana, 1).json()["model_version"]
    assert {**again, "last_updated_timestamp": 0} == {**shown, "last_updated_timestamp": 0}
    assert ana.get(f"logged-models/{shown['source'].removeprefix('models:/')}").status_code == 200
    assert server.rows(tables.deleted_versions, zone=zone) == []
    assert kinds(server.events(zone))[-2:] == ["version_deleted", "version_restored"]


def test_what_a_plain_client_deletes_comes_back_too(every_world: World) -> None:
    ana, server, zone = every_world.ana, every_world.server, every_world.ana.actor.home_zone or ""
    made = ana.publish("churn", **{"mp.card.purpose": "Decide who is called"})
    ana.ok("model-versions/set-tag", name="churn", version="1", key="q", value="1")
    shown = at_mlflow(ana, 1).json()["model_version"]
    ana.send("DELETE", "model-versions/delete", name="churn", version="1").raise_for_status()
    assert (server.rows(tables.deleted_versions, zone=zone)[0].by, at_mlflow(ana, 1).status_code) == (
        ana.actor.name,
        404,
    )
    server.call("restore_version", ana.actor, ref(ana, 1))
    again = at_mlflow(ana, 1).json()["model_version"]
    assert (again["source"], again["tags"]) == (shown["source"], shown["tags"])
    assert again["source"] == f"models:/{made['model_id']}"


def test_a_model_that_was_deleted_comes_back_by_its_version(every_world: World, tmp_path: Path) -> None:
    ana, server, zone = every_world.ana, every_world.server, every_world.ana.actor.home_zone or ""
    published(every_world, tmp_path)
    published(every_world, tmp_path, 2)
    ana.send("DELETE", "registered-models/delete", name="churn").raise_for_status()
    assert server.rows(tables.models, zone=zone) == []
    server.call("restore_version", ana.actor, ref(ana, 2))
    [model] = server.rows(tables.models, zone=zone)
    assert (model.newest_version, at_mlflow(ana, 1).status_code) == (2, 404)
    assert at_mlflow(ana, 2).json()["model_version"]["description"] == "the best"
    assert at_mlflow(ana, 2).json()["model_version"]["tags"][0]["key"]


def test_numbers_are_never_given_again(every_world: World, tmp_path: Path) -> None:
    """Not after the newest was deleted, not after it was purged, not after the whole model was deleted."""
    ana, server = every_world.ana, every_world.server
    published(every_world, tmp_path)
    published(every_world, tmp_path, 2)
    server.call("delete_version", ana.actor, ref(ana, 2))
    published(every_world, tmp_path, 3)
    server.call("delete_version", ana.actor, ref(ana, 3))
    server.call("purge", long_after())
    published(every_world, tmp_path, 4)
    ana.send("DELETE", "registered-models/delete", name="churn").raise_for_status()
    server.call("purge", long_after())
    published(every_world, tmp_path, 5)
    ana.publish("other")
    taken = ana.post("registered-models/rename", name="other", new_name="churn")
    assert taken.status_code >= 400
    ana.send("DELETE", "registered-models/delete", name="churn").raise_for_status()
    taken = ana.post("registered-models/rename", name="other", new_name="churn")
    assert "numbers are not given again" in taken.text


def test_what_is_purged_is_gone_with_its_bytes(every_world: World, tmp_path: Path) -> None:
    ana, server, zone = every_world.ana, every_world.server, every_world.ana.actor.home_zone or ""
    stored = published(every_world, tmp_path)
    server.call("delete_version", ana.actor, ref(ana, 1))
    server.call("purge", dt.datetime.now(dt.UTC) - dt.timedelta(days=30))
    assert stored.is_dir(), "it is not due yet"
    server.call("purge", long_after())
    assert not stored.parent.exists()
    assert server.rows(tables.seals, zone=zone) == []
    [left] = server.rows(tables.deleted_versions, zone=zone)
    assert (left.version, left.content) == (1, None)
    with pytest.raises(VersionNotFoundError, match="no deleted version 1"):
        server.call("restore_version", ana.actor, ref(ana, 1))
    told = server.events(zone)[-1]
    assert (told.type, told.actor, told.data) == ("version_purged", "system", {"version": 1})


def test_bytes_stay_while_another_version_is_of_them(every_world: World) -> None:
    """Live, or deleted and not purged yet; and those that a plain client still has as a logged model."""
    ana, server, zone = every_world.ana, every_world.server, every_world.ana.actor.home_zone
    made = ana.publish("churn")
    assert ana.version("churn", made).json()["model_version"]["version"] == "2"
    stored = server.state / "artifacts" / place(made["artifact_uri"])
    server.call("delete_version", ana.actor, ref(ana, 1))
    server.call("purge", long_after())
    assert (stored / "MLmodel").is_file()
    assert ana.put_file(made["artifact_uri"], "model.skops", b"changed").status_code == 403
    assert [seal.version for seal in server.rows(tables.seals, zone=zone)] == [2]
    assert ana.get(f"logged-models/{made['model_id']}").status_code == 200
    ana.send("DELETE", "model-versions/delete", name="churn", version="2").raise_for_status()
    server.call("purge", long_after())
    assert (stored / "MLmodel").is_file()
    assert server.rows(tables.seals, zone=zone) == []


def test_a_kill_between_the_decision_and_the_bytes_leaves_the_bytes_to_the_next_purge(
    every_world: World, tmp_path: Path
) -> None:
    ana, server, zone = every_world.ana, every_world.server, every_world.ana.actor.home_zone
    stored = published(every_world, tmp_path)
    server.call("delete_version", ana.actor, ref(ana, 1))
    with server.database.write() as connection:  # what the first half of a purge leaves
        kept = tables.deleted_versions
        connection.execute(kept.update().where(kept.c.zone == zone).values(content=None))
    server.call("purge", long_after())
    assert not stored.exists()


def test_who_may_not_manage_neither_deletes_nor_brings_back(every_world: World, tmp_path: Path) -> None:
    ana, ben, server = every_world.ana, every_world.ben, every_world.server
    published(every_world, tmp_path)
    with pytest.raises((NotFoundError, ForbiddenError)):
        server.call("delete_version", ben.actor, ref(ana, 1))
    server.call("delete_version", ana.actor, ref(ana, 1))
    with pytest.raises(ForbiddenError):
        server.call("restore_version", ben.actor, ref(ana, 1))


def test_what_an_alias_means_is_not_deleted(every_world: World, tmp_path: Path) -> None:
    ana, server = every_world.ana, every_world.server
    published(every_world, tmp_path)
    server.call("set_alias", ana.actor, ModelRef(ana.actor.home_zone, "churn"), "champion", 1)
    with pytest.raises(InUseError, match="alias champion"):
        server.call("delete_version", ana.actor, ref(ana, 1))
