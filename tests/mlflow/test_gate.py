"""The gate in the store: what is refused, in which words, and what a refusal leaves behind."""

from __future__ import annotations

import datetime as dt
import json
import pickle
from contextlib import closing
from typing import Any

import pytest
import sqlalchemy as sa

from governed_mlflow.world import ARTIFACTS, MLMODEL, Api, World, kinds, place, told
from model_platform_core.access import ROLES, Actor
from model_platform_server.adapters.database import tables

CARD = {
    "tier": 1,
    "owner": "somebody",
    "purpose": "Decide which customer is called",
    "for_whom": "retention team",
    "limitations": "Not for business customers",
    "licence": "internal",
    "data": [{"name": "customers", "sha256": "sha256:" + "0" * 64}],
    "code": {"path": "train.py"},
    "training": {"how": "Logistic regression on the past year"},
    "metrics": [{"name": "accuracy", "value": 0.9}],
    "resources": {"cpu": 0.5},
    "review_by": "2027-01-01",
}


def mlmodel(card: object) -> dict[str, str]:
    return {"MLmodel": MLMODEL + "metadata:\n  card: " + json.dumps(card)}


def refusal(answer: Any) -> str:
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), answer.text
    return str(answer.json()["message"])


def nothing_is_left(api: Api, zone: str, name: str) -> None:
    assert api.server.rows(tables.models, zone=zone, name=name) == []
    assert api.server.rows(tables.versions, zone=zone, name=name) == []
    assert api.server.rows(tables.seals, zone=zone, name=name) == []
    assert api.get("registered-models/get", name=f"{zone}.{name}").status_code == 404


def test_everything_that_is_missing_is_named_at_once(every_world: World) -> None:
    ben, zone = every_world.ben, every_world.risk
    model = ben.logged_model()
    message = refusal(ben.register(f"{zone}.churn", model))
    for field in set(CARD) - {"owner"}:
        assert f"{field}:" in message, field
    assert f"mlflow.register_model('models:/{model['model_id']}'" in message
    nothing_is_left(ben, zone, "churn")
    told_of = ["model_deleted", "model_registered", "registration_refused"]
    assert sorted(kinds(every_world.server.events(zone))) == told_of
    refused = next(event for event in every_world.server.events(zone) if event.type == "registration_refused")
    assert refused.data["code"] == "refused_card_incomplete"
    assert {"purpose", "tier", "data"} <= set(refused.data["fields"])
    assert (refused.actor, refused.subject) == (ben.actor.name, f"{zone}.churn")
    assert ben.get(f"logged-models/{model['model_id']}").status_code == 200, "the files are kept"


def test_what_was_refused_is_repaired_with_tags_and_without_a_second_upload(every_world: World) -> None:
    ben, zone = every_world.ben, every_world.risk
    model = ben.logged_model(mlmodel({**CARD, "purpose": "short", "data": []}))
    message = refusal(ben.register(f"{zone}.churn", model))
    assert "purpose: write at least 10 characters" in message
    assert "data: what it learnt from" in message
    repaired = {"mp.card.purpose": CARD["purpose"], "mp.card.data": json.dumps(CARD["data"])}
    assert (
        ben.register(f"{zone}.churn", model, **{key: str(value) for key, value in repaired.items()}).status_code == 200
    )
    [card] = every_world.server.rows(tables.cards, zone=zone)
    assert card.content["purpose"] == CARD["purpose"]
    assert card.content["data"][0]["name"] == "customers"


def test_a_card_comes_in_three_ways_and_the_later_wins(world: World) -> None:
    ana = world.ana
    files = {
        **mlmodel({"purpose": "From the metadata of MLmodel", "for_whom": "metadata"}),
        "model_card.yaml": "purpose: From the file beside it\nfor_whom: file\nlicence: file\n",
    }
    ana.publish("churn", files, **{"mp.card.for_whom": "tags", "mp.card.fairness_slices": '["age", "region"]'})
    [card] = world.server.rows(tables.cards, zone=ana.actor.home_zone)
    assert card.content == {
        "owner": ana.actor.name,
        "purpose": "From the metadata of MLmodel",
        "for_whom": "tags",
        "licence": "file",
        "fairness_slices": ["age", "region"],
    }


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"mp.card.purpose": "Decide: who is called"}, {"purpose": "Decide: who is called"}),
        ({"mp.card.notes": "1.0"}, {"notes": "1.0"}),
        ({"mp.card.review_by": "2027-01-01"}, {"review_by": "2027-01-01"}),
        (
            {"mp.card.resources": '{"cpu": 2, "memory": 1073741824}'},
            {"resources": {"cpu": 2.0, "memory": 1 << 30, "gpu": 0}},
        ),
        ({"mp.card.pii": "pseudonymised"}, {"pii": "pseudonymised"}),
    ],
)
def test_tags_are_text_where_the_card_has_text_and_parsed_elsewhere(
    world: World, tags: dict[str, str], expected: dict[str, Any]
) -> None:
    world.ana.publish("churn", **tags)
    [card] = world.server.rows(tables.cards, zone=world.ana.actor.home_zone)
    kept = {key: card.content[key] for key in expected}
    if "resources" in kept:
        kept["resources"] = {"gpu": 0, **kept["resources"]}
    assert kept == expected


def test_formats_that_run_code_are_refused_from_tier_2(world: World) -> None:
    ana = world.ana
    model = ana.logged_model({"model.pkl": pickle.dumps({"a": 1})})
    message = refusal(ana.register("churn", model, **{"mp.card.tier": "2"}))
    assert "format:" in message
    assert "skops" in message
    nothing_is_left(ana, ana.actor.home_zone or "", "churn")
    assert ana.register("churn", model, **{"mp.card.tier": "0"}).status_code == 200


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00broken",
        b"just a text",
        b"[1, 2]",
        b"a: [unclosed",
        b"flavors: {python_function: {}}\nsignature: {inputs: 'no json'}",
        b"signature: {inputs: '{\"name\": 1}'}",
        b"signature: {inputs: 3}",
        b"metadata: {card: {purpose: [1, 2]}}",
        b"metadata: {card: {unknown: field}}",
        b"metadata: {card: {tier: 99}}",
        b"metadata: {card: {metrics: [{name: a, value: .nan}]}}\nsignature: {inputs: '[{\"a\": NaN}]'}",
        b"metadata: {model_platform: {a: .nan}}",
        b"!!python/object/apply:os.system ['true']",
        b"a: &a [x,x,x,x,x,x,x,x,x]\n"
        + b"\n".join(
            b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]" % ((98 + n, 98 + n) + (97 + n,) * 8) for n in range(12)
        ),
        b"metadata: " + b"{a: " * 200 + b"1" + b"}" * 200,
        b"metadata: &self {card: *self}",
        b"x: " + b"y" * (5 << 20),
    ],
    ids=lambda content: content[:24].decode("latin-1"),
)
def test_a_hostile_mlmodel_is_a_bad_request_and_never_an_error_of_ours(world: World, content: bytes) -> None:
    ana = world.ana
    answer = ana.register("churn", ana.logged_model({"MLmodel": content}))
    assert answer.status_code == 400, answer.text
    nothing_is_left(ana, ana.actor.home_zone or "", "churn")


def loading(section: str, more: str = "") -> str:
    return f"flavors:\n  sklearn: {section}\n{more}"


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"MLmodel": loading("{pickled_model: m.onnx}"), "m.onnx": pickle.dumps(1, 0)}, "format: pickle runs code"),
        (
            {
                "MLmodel": loading("{pickled_model: m.skops, serialization_format: pickle}"),
                "m.skops": pickle.dumps({"a": 1}, 0),
            },
            "format: pickle runs code",
        ),
        ({"MLmodel": "flavors: {transformers: {}}", "x.onnx": b"decoy"}, "format: unknown is a format"),
        (
            {
                "MLmodel": loading("{pickled_model: m.skops, serialization_format: skops}"),
                "m.skops": pickle.dumps({"a": 1}, 0),
            },
            "m.skops is not the archive that MLmodel says",
        ),
        ({"MLmodel": loading("{pickled_model: ../../m.pkl}")}, "leads out of the model's folder"),
        ({"MLmodel": loading("{pickled_model: there.pkl}")}, "names there.pkl, which is not among"),
        ({"MLmodel": loading("{skops_trusted_types: {evil.E: 1}}")}, "skops_trusted_types in MLmodel is no list"),
        ({"MLmodel": loading("{skops_trusted_types: !!set {evil.E}}")}, "skops_trusted_types in MLmodel is no list"),
        ({"MLmodel": loading("{skops_trusted_types: [[evil.E]]}")}, "skops_trusted_types in MLmodel is no list"),
    ],
)
def test_what_is_loaded_counts_and_not_what_files_are_called(
    world: World, files: dict[str, str | bytes], why: str
) -> None:
    ana = world.ana
    model = ana.logged_model(files)
    assert why in refusal(ana.register("churn", model, **{"mp.card.tier": "2"}))
    nothing_is_left(ana, ana.actor.home_zone or "", "churn")


@pytest.mark.parametrize("content", ["{", "- a list", "purpose: &a [*a]", "tier: !!binary x", "review_by: 2027-99-99"])
def test_a_hostile_card_is_a_bad_request(world: World, content: str) -> None:
    answer = world.ana.register("churn", world.ana.logged_model({"model_card.yaml": content}))
    assert answer.status_code == 400, answer.text
    nothing_is_left(world.ana, world.ana.actor.home_zone or "", "churn")


def test_a_zone_that_is_not_there_is_named(world: World) -> None:
    answer = world.admin.post("registered-models/create", name="nowhere.churn")
    assert answer.status_code == 404
    assert "There is no zone nowhere" in answer.text
    refused = world.ana.post("registered-models/create", name="nowhere.churn")
    assert refused.status_code == 403, "who may not know of a zone is not told whether there is one"


@pytest.mark.parametrize("name", ["a b", "é", "x" * 61, "a.b.c", ".x", "x.", "-x", "a..b"])
def test_names_of_models_are_checked_when_they_are_made(world: World, name: str) -> None:
    answer = world.ana.post("registered-models/create", name=name)
    assert answer.status_code in {400, 403}, answer.text
    assert world.server.rows(tables.models, zone=world.ana.actor.home_zone) == []
    world.ana.ok("registered-models/create", name="fine")
    renamed = world.ana.post("registered-models/rename", name="fine", new_name=name)
    assert renamed.status_code in {400, 403}, renamed.text


@pytest.mark.parametrize(
    "source",
    [
        "s3://bucket/model",
        "file:///etc",
        "/etc",
        "runs:/x/model",
        "mlflow-artifacts://elsewhere/1/m",
        "mlflow-artifacts:/../../etc",
    ],
)
def test_files_lie_in_the_platforms_store(world: World, source: str) -> None:
    ana = world.ana
    run = ana.run()
    ana.ok("registered-models/create", name="churn")
    answer = ana.post("model-versions/create", name="churn", source=source, run_id=run)
    assert answer.status_code in {400, 404}, answer.text
    assert world.server.rows(tables.versions, zone=ana.actor.home_zone) == []


def test_nobody_registers_what_they_may_not_read(every_world: World) -> None:
    theirs = every_world.ben.publish("churn")
    ana = every_world.ana
    ana.ok("registered-models/create", name="loot", description="kept, so that a refusal does not remove it")
    for source, more in (
        (f"models:/{theirs['model_id']}", {"model_id": theirs["model_id"]}),
        (f"models:/{every_world.ben.actor.home_zone}.churn/1", {}),
        (theirs["artifact_uri"], {"run_id": ana.run()}),
    ):
        answer = ana.post("model-versions/create", name="loot", source=source, **more)
        assert answer.status_code in {400, 404}, answer.text
    assert every_world.server.rows(tables.versions, zone=ana.actor.home_zone) == []


def test_what_may_be_read_may_be_registered_in_ones_own_zone(every_world: World) -> None:
    """Ana may read the team's; the card and the digests are taken over, and the team's rows stay as they are."""
    team = Api(every_world.server, every_world.ben.actor.model_copy(update={"home_zone": every_world.team}))
    made = team.publish("churn", **{"mp.card.purpose": "Decide which customer is called"})
    team.http.close()
    ana = every_world.ana
    ana.ok("registered-models/create", name="mine")
    copied = ana.post("model-versions/create", name="mine", source=f"models:/{every_world.team}.churn/1")
    assert copied.status_code == 200, copied.text
    assert copied.json()["model_version"]["source"] == f"models:/{every_world.team}.churn/1"
    answer = ana.version("mine", made)
    assert answer.status_code == 200, answer.text
    copy, again = every_world.server.rows(tables.versions, zone=ana.actor.home_zone)
    [original] = every_world.server.rows(tables.versions, zone=every_world.team)
    assert copy.artifact_sha256 == again.artifact_sha256 == original.artifact_sha256
    card = every_world.server.rows(tables.cards, zone=ana.actor.home_zone)[0]
    assert card.content == every_world.server.rows(tables.cards, zone=every_world.team)[0].content
    [seal] = every_world.server.rows(tables.seals, prefix=place(made["artifact_uri"]))
    assert seal.zone == every_world.team
    guest = Actor(name="guest", grants={ana.actor.home_zone or "": ROLES["viewer"]})
    with closing(Api(every_world.server, guest)) as reader:
        full = {"name": f"{ana.actor.home_zone}.mine", "version": "1"}
        uri = reader.found("model-versions/get-download-uri", **full)["artifact_uri"]
        assert reader.http.get(f"{ARTIFACTS}/{place(uri)}/model.skops").content == b"weights"
        assert reader.get("model-versions/get", name=f"{every_world.team}.churn", version="1").status_code == 404
    every_world.ben.send("DELETE", "registered-models/delete", name=f"{every_world.team}.churn").raise_for_status()
    [seal] = every_world.server.rows(tables.seals, prefix=place(made["artifact_uri"]))
    assert seal.zone == ana.actor.home_zone, "the files stay sealed for who still has a version of them"


def test_what_the_platform_says_is_written_by_the_platform_alone(every_world: World) -> None:
    ana = every_world.ana
    ana.publish("churn")
    for key in ("mp.approved", "mp.card.tier", "mlflow.prompt.is_prompt"):
        for path, more in (("registered-models/set-tag", {}), ("model-versions/set-tag", {"version": "1"})):
            answer = ana.post(path, name="churn", key=key, value="true", **more)
            assert answer.status_code == 403, answer.text
    assert ana.post("registered-models/create", name="x", tags=[{"key": "mp.a", "value": "b"}]).status_code == 403
    prompt = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    mixed = ana.post("model-versions/create", name="churn", source="prompt-template", tags=prompt)
    assert mixed.status_code == 400, mixed.text


def test_prompts_are_governed_by_rights_and_are_no_models(every_world: World) -> None:
    ana, zone = every_world.ana, every_world.ana.actor.home_zone or ""
    prompt = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    ana.ok("registered-models/create", name="hello", tags=prompt)
    text = [*prompt, {"key": "mlflow.prompt.text", "value": "Hi"}]
    ana.ok("model-versions/create", name="hello", source="prompt-template", tags=text)
    ana.ok("registered-models/alias", name="hello", alias="live", version="1")
    assert every_world.server.rows(tables.models, zone=zone) == []
    assert every_world.server.rows(tables.aliases, zone=zone) == []
    assert every_world.server.events(zone) == []
    assert every_world.ben.get("registered-models/get", name=f"{zone}.hello").status_code == 404
    forbidden = ana.post("registered-models/create", name=f"{every_world.team}.hello", tags=prompt)
    assert forbidden.status_code == 403


def test_what_an_endpoint_runs_cannot_be_deleted(every_world: World) -> None:
    ana, zone = every_world.ana, every_world.ana.actor.home_zone or ""
    ana.publish("churn")
    ana.publish("churn")
    spec = {"deployments": [{"name": "a", "model": f"{zone}.churn", "version": 1}]}
    now = dt.datetime.now(dt.UTC)
    row = {
        "zone": zone,
        "name": "churn",
        "spec": spec,
        "status": {},
        "generation": 1,
        "created_at": now,
        "updated_at": now,
    }
    with every_world.server.database.write() as connection:
        connection.execute(sa.insert(tables.endpoints).values(**row))
    for answer in (
        ana.send("DELETE", "model-versions/delete", name="churn", version="1"),
        ana.send("DELETE", "registered-models/delete", name="churn"),
        ana.post("registered-models/rename", name="churn", new_name="other"),
    ):
        assert (answer.status_code, answer.json()["error_code"]) == (409, "RESOURCE_CONFLICT"), answer.text
        assert "used by churn" in answer.text
    assert ana.send("DELETE", "model-versions/delete", name="churn", version="2").status_code == 200


def test_a_plain_log_model_is_refused_readably_and_passes_with_a_card(world: World) -> None:
    """The last line that a data scientist reads names everything; then the same call with a card goes through."""
    client = world.ben.client("log_models.py", f"{world.risk}.churn", json.dumps(CARD))
    found = told(client)
    assert found["refused"]["code"] == "INVALID_PARAMETER_VALUE"
    assert "purpose: what is decided with it" in found["refused"]["text"]
    assert "metadata={'card'" in found["refused"]["text"]
    assert found["left"] == []
    assert found["registered"] == "1"
    assert found["repaired"] == "2"
    assert found["predicted"] == [0, 1]
    first, second = world.server.rows(tables.cards, zone=world.risk)
    assert first.content["purpose"] == second.content["purpose"] == CARD["purpose"]
