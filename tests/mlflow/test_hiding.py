"""Nobody sees or touches what lies in a zone that is not theirs: every read and every write, with the right ids in hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from governed_mlflow.world import ARTIFACTS, Api, GovernedServer, World, place

SECRET = "xsecretx"
TRACE = "/api/3.0/mlflow/traces"


@dataclass(frozen=True)
class Treasure:
    """Ids of things of Ben's; each of them holds the word SECRET somewhere."""

    experiment: str
    run: str
    model: str
    trace: str
    location: str
    name: str
    full_name: str
    zone: str


def plant(ben: Api) -> Treasure:
    """One of everything that MLflow keeps."""
    experiment = ben.experiment(f"{SECRET}/exp")
    ben.ok("experiments/set-experiment-tag", experiment_id=experiment, key=SECRET, value=SECRET)
    run = ben.run(experiment, **{SECRET: SECRET})
    model = ben.logged_model({f"{SECRET}.txt": SECRET}, experiment)
    metric = {"key": SECRET, "value": 1.0, "timestamp": 5, "step": 3}
    by_model = {**metric, "model_id": model["model_id"], "dataset_name": SECRET, "dataset_digest": SECRET}
    params = [{"key": SECRET, "value": SECRET}]
    ben.ok("runs/log-batch", run_id=run, metrics=[metric, by_model], params=params, tags=[])
    data = {"name": SECRET, "digest": SECRET, "source_type": "s", "source": SECRET, "schema": SECRET, "profile": SECRET}
    ben.ok("runs/log-inputs", run_id=run, datasets=[{"dataset": data, "tags": [{"key": SECRET, "value": SECRET}]}])
    ben.ok("runs/outputs", run_id=run, models=[{"model_id": model["model_id"], "step": 0}])
    ben.send(
        "PATCH", f"logged-models/{model['model_id']}/tags", model_id=model["model_id"], tags=params
    ).raise_for_status()
    ben.ok(f"logged-models/{model['model_id']}/params", model_id=model["model_id"], params=params)
    trace = f"tr-{hashlib.sha256(ben.actor.name.encode()).hexdigest()[:32]}"
    start_trace(ben, trace, experiment)
    assessment = {"assessment_name": SECRET, "trace_id": trace, "feedback": {"value": SECRET}, "rationale": SECRET}
    assessment |= {"source": {"source_type": "HUMAN", "source_id": SECRET}}
    ben.ok(f"{TRACE}/{trace}/assessments", assessment=assessment)
    assert ben.register(SECRET, model, key=SECRET).status_code == 200
    ben.ok("registered-models/set-tag", name=SECRET, key=SECRET, value=SECRET)
    ben.ok("registered-models/alias", name=SECRET, alias=SECRET, version="1")
    zone = ben.actor.home_zone or ""
    return Treasure(experiment, run, model["model_id"], trace, model["artifact_uri"], SECRET, f"{zone}.{SECRET}", zone)


def start_trace(api: Api, trace: str, experiment: str) -> Any:
    info = {
        "trace_id": trace,
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}},
        "request_time": "2026-01-01T00:00:00Z",
        "execution_duration": "1s",
        "state": "OK",
        "request_preview": SECRET,
        "trace_metadata": {SECRET: SECRET},
        "tags": {SECRET: SECRET},
    }
    return api.ok(TRACE, trace={"trace_info": info})


def dump(server: GovernedServer) -> dict[str, list[str]]:
    """The content of every table but the events (a refusal may be one)."""
    with server.database.read() as connection:
        tables = {name: table for name, table in _tables(server).items() if not name.startswith("mp_event")}
        return {name: sorted(map(repr, connection.execute(sa.select(table)))) for name, table in tables.items()}


@lru_cache(maxsize=2)
def _tables(server: GovernedServer) -> dict[str, sa.Table]:
    known = sa.MetaData()
    with server.database.read() as connection:
        known.reflect(connection)
    return dict(known.tables)


def reads(api: Api, it: Treasure) -> Iterator[tuple[str, Any]]:
    """Every way to ask for something of the treasure's."""
    get, post = api.get, api.post
    ids, artifacts = [it.experiment], f"{ARTIFACTS}/{place(it.location)}"
    for prefix in ("/api/2.0/mlflow", "/ajax-api/2.0/mlflow"):
        yield "experiment", get(f"{prefix}/experiments/get", experiment_id=it.experiment)
        yield "run", get(f"{prefix}/runs/get", run_id=it.run)
        yield "model version", get(f"{prefix}/model-versions/get", name=it.full_name, version="1")
    yield "experiment by name", get("experiments/get-by-name", experiment_name=f"{it.zone}.{SECRET}/exp")
    yield "experiments", post("experiments/search", max_results=1000)
    yield "experiments by name", post("experiments/search", max_results=1000, filter=f"name LIKE '%{SECRET[:4]}%'")
    yield "experiments by tag", post("experiments/search", max_results=1000, filter="tags.x IS NULL")
    yield "runs", post("runs/search", experiment_ids=ids)
    yield "runs by metric", post("runs/search", experiment_ids=ids, filter=f"metrics.{SECRET} > 0")
    yield "runs by data set", post("runs/search", experiment_ids=ids, filter="datasets.name LIKE '%'")
    yield "data sets", post("/ajax-api/2.0/mlflow/experiments/search-datasets", experiment_ids=ids)
    yield "metric history", get("metrics/get-history", run_id=it.run, metric_key=SECRET)
    bulk = {"run_id": it.run, "metric_key": SECRET}
    yield "bulk history", get("/ajax-api/2.0/mlflow/metrics/get-history-bulk", **bulk)
    interval = {"run_ids": it.run, "metric_key": SECRET, "max_results": 10}
    yield "interval", get("/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval", **interval)
    yield "interval", get("metrics/get-history-bulk-interval", **interval, start_step=0, end_step=9)
    yield "list of run", get("artifacts/list", run_id=it.run)
    yield "logged model", get(f"logged-models/{it.model}")
    yield "logged models", post("logged-models/search", experiment_ids=ids)
    ordered = [{"field_name": f"metrics.{SECRET}", "dataset_name": SECRET}]
    yield "logged models by metric", post("logged-models/search", experiment_ids=ids, order_by=ordered)
    yield "files of a model", get(f"logged-models/{it.model}/artifacts/directories")
    file = {"artifact_file_path": "MLmodel"}
    yield "file of a model", get(f"/ajax-api/2.0/mlflow/logged-models/{it.model}/artifacts/files", **file)
    yield "file of a run", get("/get-artifact", run_uuid=it.run, path="MLmodel")
    yield "file of a version", get("/model-versions/get-artifact", name=it.full_name, version="1", path="MLmodel")
    yield "trace", get(f"{TRACE}/{it.trace}")
    yield "trace with spans", get(f"{TRACE}/get", trace_id=it.trace)
    yield "traces", get(f"{TRACE}/batchGet", trace_ids=it.trace)
    yield "trace infos", post(f"{TRACE}/batchGetInfos", trace_ids=[it.trace])
    place_ = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": it.experiment}}
    yield "search traces", post(f"{TRACE}/search", locations=[place_], max_results=100)
    found = f"feedback.{SECRET} = '{SECRET}'"
    yield "traces by feedback", post(f"{TRACE}/search", locations=[place_], max_results=100, filter=found)
    correlation = {"experiment_ids": ids, "filter_string1": "status = 'OK'", "filter_string2": "status = 'OK'"}
    yield "correlation", post(f"{TRACE}/calculate-filter-correlation", **correlation)
    metrics = {"experiment_ids": ids, "view_type": "TRACES", "metric_name": "trace_count"}
    yield "trace metrics", post(f"{TRACE}/metrics", **metrics, aggregations=[{"aggregation_type": "COUNT"}])
    yield "assessment", get(f"{TRACE}/{it.trace}/assessments/a-1")
    yield "old traces", get("traces", experiment_ids=it.experiment)
    yield "old trace", get(f"traces/{it.trace}/info")
    yield "trace file", get("/ajax-api/2.0/mlflow/get-trace-artifact", request_id=it.trace)
    yield "model", get("registered-models/get", name=it.full_name)
    yield "models", get("registered-models/search", max_results=1000)
    yield "models by tag", get("registered-models/search", filter=f"tags.{SECRET} = '{SECRET}'")
    yield "models by name", get("registered-models/search", filter=f"name = '{it.full_name}'")
    yield "models by pattern", get("registered-models/search", filter=f"name ILIKE '%{SECRET.upper()}%'")
    yield "alias", get("registered-models/alias", name=it.full_name, alias=SECRET)
    yield "latest", post("registered-models/get-latest-versions", name=it.full_name)
    yield "versions", get("model-versions/search", max_results=1000)
    yield "versions by run", get("model-versions/search", filter=f"run_id = '{it.run}'")
    yield "versions by tag", get("model-versions/search", filter=f"tags.key = '{SECRET}'")
    yield "download uri", get("model-versions/get-download-uri", name=it.full_name, version="1")
    query = f"query {{ mlflowSearchModelVersions(input: {{filter: \"name = '{it.full_name}'\"}}) {{ modelVersions {{ name }} }} }}"
    yield "graphql", post("/graphql", query=query, variables={}, operationName=None)
    query = f'query {{ mlflowGetRun(input: {{runId: "{it.run}"}}) {{ run {{ data {{ params {{ key value }} }} }} }} }}'
    yield "graphql run", post("/graphql", query=query, variables={}, operationName=None)
    query = f'query {{ mlflowGetExperiment(input: {{experimentId: "{it.experiment}"}}) {{ experiment {{ name }} }} }}'
    yield "graphql experiment", post("/graphql", query=query, variables={}, operationName=None)
    query = f'query {{ mlflowSearchRuns(input: {{experimentIds: ["{it.experiment}"]}}) {{ runs {{ info {{ runName }} }} }} }}'
    yield "graphql runs", post("/graphql", query=query, variables={}, operationName=None)
    for spelling in (artifacts, artifacts.replace("models", "%6dodels"), artifacts.replace("/models", "//models")):
        yield "artifact", api.http.get(f"{spelling}/{SECRET}.txt")
    yield "artifact list", get(ARTIFACTS, path=place(it.location))
    yield "artifact root", get(ARTIFACTS)
    yield "artifact experiment", get(ARTIFACTS, path=it.experiment)
    yield "artifact by detour", get(ARTIFACTS, path=f"./{it.experiment}/x/../models")


def writes(api: Api, it: Treasure, own_run: str, own_model: str) -> Iterator[tuple[str, Any]]:
    """Every way to change something of the treasure's."""
    post, send = api.post, api.send
    tag = {"key": "k", "value": "v"}
    metric = {"key": "m", "value": 2.0, "timestamp": 5, "step": 0}
    experiment, run, model, trace = it.experiment, it.run, it.model, it.trace
    yield "place of experiment", post("experiments/create", name="mine", artifact_location="file:///tmp/x")
    yield "place in a bucket", post("experiments/create", name="mine", artifact_location="s3://bucket/x")
    yield "update experiment", post("experiments/update", experiment_id=experiment, new_name="mine")
    yield "delete experiment", post("experiments/delete", experiment_id=experiment)
    yield "restore experiment", post("experiments/restore", experiment_id=experiment)
    yield "tag experiment", post("experiments/set-experiment-tag", experiment_id=experiment, **tag)
    yield "untag experiment", post("experiments/delete-experiment-tag", experiment_id=experiment, key=SECRET)
    yield "create run", post("runs/create", experiment_id=experiment, start_time=1)
    yield "update run", post("runs/update", run_id=run, status="FAILED")
    yield "delete run", post("runs/delete", run_id=run)
    yield "restore run", post("runs/restore", run_id=run)
    yield "metric", post("runs/log-metric", run_id=run, **metric)
    yield "param", post("runs/log-parameter", run_id=run, **tag)
    yield "batch", post("runs/log-batch", run_id=run, metrics=[metric], params=[tag], tags=[tag])
    yield "tag run", post("runs/set-tag", run_id=run, **tag)
    yield "untag run", post("runs/delete-tag", run_id=run, key=SECRET)
    yield "log model", post("runs/log-model", run_id=run, model_json=json.dumps({"artifact_path": "m", "run_id": run}))
    data = {"name": "d", "digest": "d", "source_type": "s", "source": "s"}
    yield "inputs", post("runs/log-inputs", run_id=run, datasets=[{"dataset": data, "tags": []}])
    yield "outputs", post("runs/outputs", run_id=run, models=[{"model_id": own_model, "step": 0}])
    yield "metric of a model", post("runs/log-metric", run_id=own_run, **metric, model_id=model)
    yield "create model", post("logged-models", experiment_id=experiment, name="m")
    yield "finalize model", send("PATCH", f"logged-models/{model}", model_id=model, status=3)
    yield "delete model", send("DELETE", f"logged-models/{model}")
    yield "tag model", send("PATCH", f"logged-models/{model}/tags", model_id=model, tags=[tag])
    yield (
        "versions of model",
        send(
            "PATCH",
            f"logged-models/{model}/tags",
            model_id=model,
            tags=[{"key": "mlflow.modelVersions", "value": "[]"}],
        ),
    )
    yield "untag model", send("DELETE", f"logged-models/{model}/tags/{SECRET}")
    yield "param of model", post(f"logged-models/{model}/params", model_id=model, params=[tag])
    yield (
        "trace",
        post(
            TRACE,
            trace={
                "trace_info": {
                    "trace_id": trace,
                    "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}},
                    "request_time": "2026-01-01T00:00:00Z",
                    "state": "ERROR",
                }
            },
        ),
    )
    elsewhere = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
    yield (
        "trace there",
        post(
            TRACE,
            trace={
                "trace_info": {
                    "trace_id": f"tr-{own_run}",
                    "trace_location": elsewhere,
                    "request_time": "2026-01-01T00:00:00Z",
                    "state": "OK",
                }
            },
        ),
    )
    yield "trace tag", send("PATCH", f"{TRACE}/{trace}/tags", **tag)
    yield "trace untag", send("DELETE", f"{TRACE}/{trace}/tags", key=SECRET)
    yield "old trace tag", send("PATCH", f"traces/{trace}/tags", **tag)
    yield "old trace", post("traces", experiment_id=experiment, timestamp_ms=1)
    yield "end old trace", send("PATCH", f"traces/{trace}", timestamp_ms=1, status="OK")
    yield "delete traces", post("traces/delete-traces", experiment_id=experiment, request_ids=[trace])
    yield "delete traces", post(f"{TRACE}/delete-traces", experiment_id=experiment, trace_ids=[trace])
    yield "link traces", post("traces/link-to-run", trace_ids=[trace], run_id=own_run)
    assessment = {"assessment_name": "a", "trace_id": trace, "feedback": {"value": 1}}
    yield "assess", post(f"{TRACE}/{trace}/assessments", assessment={**assessment, "source": {"source_type": "HUMAN"}})
    yield "create model", post("registered-models/create", name=f"{it.zone}.mine")
    yield "describe", send("PATCH", "registered-models/update", name=it.full_name, description="x")
    yield "rename", post("registered-models/rename", name=it.full_name, new_name="mine")
    yield "delete", send("DELETE", "registered-models/delete", name=it.full_name)
    yield "tag", post("registered-models/set-tag", name=it.full_name, **tag)
    yield "untag", send("DELETE", "registered-models/delete-tag", name=it.full_name, key=SECRET)
    yield "alias", post("registered-models/alias", name=it.full_name, alias="a", version="1")
    yield "unalias", send("DELETE", "registered-models/alias", name=it.full_name, alias=SECRET)
    version = {"name": it.full_name, "version": "1"}
    yield "version", post("model-versions/create", name=it.full_name, source=f"models:/{own_model}", model_id=own_model)
    yield "describe version", send("PATCH", "model-versions/update", **version, description="x")
    yield "delete version", send("DELETE", "model-versions/delete", **version)
    yield "tag version", post("model-versions/set-tag", **version, **tag)
    yield "untag version", send("DELETE", "model-versions/delete-tag", **version, key="key")
    yield (
        "stage",
        post("model-versions/transition-stage", **version, stage="Production", archive_existing_versions=False),
    )
    artifacts = f"{ARTIFACTS}/{it.experiment}"
    yield "put", api.http.put(f"{artifacts}/models/{model}/artifacts/new.txt", content=b"x")
    yield "put over", api.http.put(f"{artifacts}/models/{model}/artifacts/MLmodel", content=b"x")
    yield "put beside", api.http.put(f"{artifacts}/models/x.txt", content=b"x")
    yield "put in a run", api.http.put(f"{artifacts}/{run}/artifacts/x.txt", content=b"x")
    yield "put at the root", api.http.put(f"{ARTIFACTS}/x.txt", content=b"x")
    yield "put beyond", api.http.put(f"{ARTIFACTS}/99999999/x.txt", content=b"x")
    yield "delete file", api.http.delete(f"{artifacts}/models/{model}/artifacts/MLmodel")
    yield "delete all", api.http.delete(artifacts)
    yield "parts", post(f"/api/2.0/mlflow-artifacts/mpu/create/{it.experiment}/x", path="x", num_parts=2)
    upload = f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path=x.txt"
    yield "upload", api.http.post(upload, content=b"x")


def test_a_stranger_finds_nothing(every_world: World) -> None:
    it = plant(every_world.ben)
    for name, answer in reads(every_world.ana, it):
        seen = answer.text.replace(it.full_name, "").replace(f"{SECRET}/exp", "").replace(f"{SECRET}.txt", "")
        asked = answer.status_code >= 400  # an error may repeat what was asked for
        assert answer.status_code not in {500, 503}, (name, answer.text)
        assert asked or SECRET not in seen, (name, answer.text[:500])
        assert asked or it.run not in seen.replace(it.run, "", 0 if "run_uuid" in seen else 1), (
            name,
            answer.text[:500],
        )
    found = {name for name, answer in reads(every_world.ben, it) if SECRET in answer.text and answer.status_code == 200}
    assert len(found) > 35, "the questions themselves are sound: Ben is answered"


def test_a_stranger_changes_nothing(every_world: World) -> None:
    ana = every_world.ana
    it = plant(every_world.ben)
    own_run, own_model = ana.run(), ana.logged_model()["model_id"]
    before = dump(every_world.server)
    for name, answer in writes(ana, it, own_run, own_model):
        assert answer.status_code not in {500, 503}, (name, answer.text)
        assert dump(every_world.server) == before, (name, answer.text[:500])
    assert every_world.ben.http.get(f"{ARTIFACTS}/{place(it.location)}/{SECRET}.txt").text == SECRET


def test_a_name_that_begins_with_a_zone_one_may_not_see_is_just_a_name(world: World) -> None:
    """A user's experiment may be called so; it lies in the home zone and collides with nothing."""
    name = f"{world.risk}.mine"
    made = world.ana.experiment(name)
    theirs = world.ben.experiment(name)
    assert made != theirs
    shown = [
        api.found("experiments/get", experiment_id=one)["experiment"]["name"]
        for api, one in ((world.ana, made), (world.ben, theirs))
    ]
    assert shown == [name, name]
    full = {row.name for row in world.server.rows(_tables(world.server)["experiments"])}
    assert {f"{world.ana.actor.home_zone}.{name}", name} <= full
    assert world.ana.get("experiments/get", experiment_id=theirs).status_code == 404


def test_a_viewer_sees_everything_and_changes_nothing(world: World) -> None:
    """Ana may look at the team's zone; every write is refused, in words that name the scope where she may know."""
    ben = Api(world.server, world.ben.actor.model_copy(update={"home_zone": world.team}))
    it = plant(ben)
    own_run, own_model = world.ana.run(), world.ana.logged_model()["model_id"]
    before = dump(world.server)
    refused = {}
    for name, answer in writes(world.ana, it, own_run, own_model):
        assert dump(world.server) == before, (name, answer.text[:500])
        refused[name] = (answer.status_code, answer.text)
    ben.http.close()
    for name in ("param", "tag run", "create run", "finalize model", "trace tag", "alias", "tag", "delete", "version"):
        status, text = refused[name]
        assert (status, "models:publish" in text or "models:manage" in text) == (403, True), (name, text)
    seen = world.ana.found("registered-models/get", name=it.full_name)["registered_model"]
    assert seen["name"] == it.full_name, "names of other zones are full"
    assert world.ana.found("runs/get", run_id=it.run)["run"]["info"]["run_id"] == it.run
    assert it.experiment in world.ana.get(ARTIFACTS).text


def test_what_is_seen_is_complete_on_every_page(world: World) -> None:
    """Pages stay full, whatever lies between."""
    for number in range(9):
        for api in (world.ana, world.ben):
            api.ok("registered-models/create", name=f"m{number}")
    token, pages = "", []
    while True:
        page = world.ana.found("registered-models/search", max_results=4, page_token=token, order_by="name")
        pages.append([model["name"] for model in page.get("registered_models", [])])
        token = page.get("next_page_token", "")
        if not token:
            break
    assert pages == [["m0", "m1", "m2", "m3"], ["m4", "m5", "m6", "m7"], ["m8"]]


def test_the_artifact_root_lists_what_may_be_seen(every_world: World) -> None:
    mine, theirs = every_world.ana.logged_model()["artifact_uri"], every_world.ben.logged_model()["artifact_uri"]
    listed = {file["path"] for file in every_world.ana.found(ARTIFACTS)["files"]}
    assert place(mine).partition("/")[0] in listed
    assert place(theirs).partition("/")[0] not in listed
    inside = every_world.ana.found(ARTIFACTS, path="0/models")["files"]
    assert [file["path"] for file in inside] == [place(mine).split("/")[2]], "experiment 0 is one's own default"


def test_without_an_actor_there_is_no_answer(sqlite_server: GovernedServer) -> None:
    answer = httpx.get(f"{sqlite_server.mlflow}/api/2.0/mlflow/experiments/search")
    assert answer.status_code == 401


@pytest.mark.parametrize("name", ["churn", "Default"])
def test_an_actor_without_home_zone_is_told_to_write_the_zone(world: World, name: str) -> None:
    admin = world.admin
    for answer in (
        admin.post("registered-models/create", name=name),
        admin.get("registered-models/get", name=name),
        admin.get("experiments/get-by-name", experiment_name=name),
        admin.post("runs/create", experiment_id="0", start_time=1),
        admin.get("registered-models/search", filter=f"name = '{name}'"),
    ):
        assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), answer.text
        assert "zone.name" in answer.text or f"zone.{name}" in answer.text
    full = f"{world.team}.{name}"
    assert admin.ok("registered-models/create", name=full)["registered_model"]["name"] == full


def test_mlflows_own_default_experiment_is_shown_to_nobody(every_world: World) -> None:
    every_world.ana.run()
    for person in (every_world.ana, every_world.admin):
        shown = person.ok("experiments/search", max_results=1000).get("experiments", [])
        assert "0" not in {experiment["experiment_id"] for experiment in shown}
    names = [one["name"] for one in every_world.ana.ok("experiments/search", max_results=1000)["experiments"]]
    assert names.count("Default") == 1
