"""Many operations of a real MLflow client; prints what each answers, with ids, times and addresses made equal.

Run against a plain server of MLflow's and against the governed one, the two must print the same. No name here says a zone.
"""

from __future__ import annotations

import json
import logging
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import mlflow.genai
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.utils.rest_utils import http_request
from sklearn.linear_model import LogisticRegression

PATTERNS = (
    (r"http://127\.0\.0\.1:\d+(/mlflow)?", "<server>"),
    (r"\bm-[0-9a-f]{32}\b", "<model>"),
    (r"\btr-[0-9a-f]{32}\b", "<trace>"),
    (r"\b[0-9a-f]{32}\b", "<id>"),
    (r"\b[0-9a-f]{16}\b", "<span>"),
    (r"\b1[0-9]{12}\b", "<time>"),
    (r"mlflow-artifacts:/\d+/", "mlflow-artifacts:/<experiment>/"),
    (r"with id=\d+ exists", "with id=<experiment> exists"),
    (r"(?s) Error: \(.*", ""),  # the SQL of MLflow's message is not for clients
    (r"not one of '\{.*\}'", "not one of those"),  # a set, in any order
    (r"/tmp/\S+", "<folder>"),
)


def equal_made(value: Any, key: str = "") -> Any:
    """The value without what differs from server to server."""
    if isinstance(value, dict):
        return {equal_made(name): equal_made(inner, str(name)) for name, inner in sorted(value.items())}
    if isinstance(value, list | tuple):
        return [equal_made(inner) for inner in value]
    if "experiment_id" in key:
        return "<experiment>"
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 1e12:
        return "<time>"
    if isinstance(value, str):
        for pattern, replacement in PATTERNS:
            value = re.sub(pattern, replacement, value)
    return value


def plain(value: Any) -> Any:
    """An entity of MLflow's as dictionaries and lists."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(inner) for inner in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "__dict__"):
        return {key.lstrip("_"): plain(inner) for key, inner in vars(value).items()}
    return str(value)


class Recorder:
    """What each step answered."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, Any]] = []

    def step(self, name: str, act: Callable[[], Any]) -> None:
        try:
            value = plain(act())
        except Exception as error:  # noqa: BLE001  # the error is the answer
            value = {"raised": type(error).__name__, "code": getattr(error, "error_code", None), "text": str(error)}
        self.answers.append((equal_made(name), equal_made(value)))


class Twice(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        return model_input * 2


def pages(search: Callable[..., Any], size: int) -> list[list[str]]:
    token, found = None, []
    while True:
        page = search(max_results=size, page_token=token)
        found.append([entity.name for entity in page])
        token = page.token
        if not token:
            return found


def runs_and_experiments(record: Recorder, client: MlflowClient) -> None:
    step = record.step
    step("experiment 0", lambda: client.get_experiment("0").name)
    step("the default by name", lambda: client.get_experiment_by_name("Default").name)
    with mlflow.start_run(run_name="in the default") as run:
        mlflow.log_param("where", "default")
    step("run in the default", lambda: client.get_run(run.info.run_id))
    step("search in 0", lambda: [found.info.run_name for found in client.search_runs(["0"])])
    step("artifacts of the default", lambda: client.list_artifacts(run.info.run_id))
    step("create experiment", lambda: client.create_experiment("e1", tags={"a": "b"}) and "made")
    step("create it again", lambda: client.create_experiment("e1"))
    step("names with slashes", lambda: client.create_experiment("/Users/someone/exp") and "made")
    step("names with dots", lambda: client.create_experiment("my.exp.v2") and "made")
    step("by its name", lambda: client.get_experiment_by_name("my.exp.v2").name)
    step("no such experiment", lambda: client.get_experiment_by_name("nothing"))
    step("no such id", lambda: client.get_experiment("987654321"))
    step("set experiment", lambda: mlflow.set_experiment("e1").name)
    step("search all", lambda: sorted(one.name for one in client.search_experiments()))
    for text in (
        "name = 'e1'",
        "name != 'e1'",
        "name LIKE '%exp%'",
        "attribute.name ILIKE 'MY.%'",
        "name = 'e1' AND tags.a = 'b'",
        "tags.a = 'b' AND name LIKE 'e%'",
        "tags.a = 'c' AND name = 'e1'",
        "name > 'e1'",
        "nonsense",
    ):
        step(
            f"experiments {text}",
            lambda text=text: sorted(one.name for one in client.search_experiments(filter_string=text)),
        )
    step("rename", lambda: client.rename_experiment(client.get_experiment_by_name("my.exp.v2").experiment_id, "my.v3"))
    step("renamed", lambda: client.get_experiment_by_name("my.v3").name)
    step("delete", lambda: client.delete_experiment(client.get_experiment_by_name("my.v3").experiment_id))
    step("deleted", lambda: [one.name for one in client.search_experiments(ViewType.DELETED_ONLY)])
    step("restore", lambda: client.restore_experiment(client.get_experiment_by_name("my.v3").experiment_id))
    step(
        "experiment tag",
        lambda: client.set_experiment_tag(client.get_experiment_by_name("my.v3").experiment_id, "k", "v"),
    )
    step("its tags", lambda: client.get_experiment_by_name("my.v3").tags)


def inside_a_run(record: Recorder, client: MlflowClient) -> None:
    step = record.step
    with mlflow.start_run(run_name="r0") as run:
        mlflow.log_metrics({"loss": 1.0}, step=1)
        mlflow.log_metrics({"loss": 0.5}, step=2)
        mlflow.log_input(
            mlflow.data.from_pandas(pd.DataFrame({"a": [1]}), name="table"), context="train", tags={"t": "u"}
        )
    run_id = run.info.run_id
    step("batch", lambda: client.log_batch(run_id, [Metric("m", 1.0, 5, 0)], [Param("p", "1")], [RunTag("t", "x")]))
    step("the same metric again", lambda: client.log_metric(run_id, "m", 1.0, timestamp=5, step=0))
    step("param cannot change", lambda: client.log_param(run_id, "p", "2"))
    step("history", lambda: client.get_metric_history(run_id, "loss"))
    step("data sets", lambda: client.get_run(run_id).inputs)
    step("terminate", lambda: client.set_terminated(run_id, "FAILED"))
    step("set tag", lambda: client.set_tag(run_id, "again", "1"))
    step("delete tag", lambda: client.delete_tag(run_id, "again"))
    step("delete run", lambda: client.delete_run(run_id))
    step("deleted runs", lambda: len(client.search_runs([run.info.experiment_id], run_view_type=ViewType.DELETED_ONLY)))
    step("restore run", lambda: client.restore_run(run_id))
    step("no such run", lambda: client.get_run("0" * 32))
    step("artifact", lambda: client.log_dict(run_id, {"a": 1}, "folder/x.json"))
    step("list", lambda: [(found.path, found.is_dir) for found in client.list_artifacts(run_id, "folder")])
    step("download", lambda: Path(client.download_artifacts(run_id, "folder/x.json")).read_text())


def traces(record: Recorder, client: MlflowClient) -> None:
    step = record.step
    step("trace", lambda: mlflow.trace(lambda x: x + 1, name="t")(1))
    mlflow.flush_trace_async_logging()
    trace_id = mlflow.get_last_active_trace_id()
    step("get trace", lambda: [span.name for span in mlflow.get_trace(trace_id).data.spans])
    experiment = client.get_experiment_by_name("e1").experiment_id
    step("search traces", lambda: len(mlflow.search_traces(locations=[experiment], return_type="list")))
    step("trace tag", lambda: client.set_trace_tag(trace_id, "k", "v"))
    step("its tags", lambda: mlflow.get_trace(trace_id).info.tags.get("k"))
    step("feedback", lambda: mlflow.log_feedback(trace_id=trace_id, name="good", value=True).name)
    step("its feedback", lambda: [one.name for one in mlflow.get_trace(trace_id).info.assessments])
    step("delete traces", lambda: client.delete_traces(experiment, trace_ids=[trace_id]))


def models(record: Recorder, client: MlflowClient) -> dict[str, str]:
    step, ids = record.step, {}
    model = LogisticRegression().fit(np.array([[0.0], [1.0]]), [0, 1])

    def log_sklearn() -> list[Any]:
        with mlflow.start_run(run_name="r1") as run:
            mlflow.log_param("p", 1)
            mlflow.log_metric("acc", 0.5)
            info = mlflow.sklearn.log_model(
                model, name="m", registered_model_name="churn", pip_requirements=["scikit-learn"]
            )
            ids.update(run=run.info.run_id, model=info.model_id)
            return [info.registered_model_version, info.model_uri, sorted(info.flavors)]

    step("log_model sklearn and register", log_sklearn)
    step("model", lambda: client.get_registered_model("churn"))
    step("version", lambda: client.get_model_version("churn", "1"))
    step("download uri", lambda: client.get_model_version_download_uri("churn", "1"))
    step("load by version", lambda: mlflow.sklearn.load_model("models:/churn/1").predict([[0.0], [9.0]]))
    step("load by id", lambda: mlflow.pyfunc.load_model(f"models:/{ids['model']}").predict(np.array([[9.0]])))
    step("register again, tags", lambda: mlflow.register_model(f"models:/{ids['model']}", "churn", tags={"a": "b"}))
    step("register a run's", lambda: mlflow.register_model(f"runs:/{ids['run']}/m", "churn"))
    step(
        "log_model pyfunc and register",
        lambda: (
            mlflow.pyfunc.log_model(
                name="t",
                python_model=Twice(),
                registered_model_name="twice",
                pip_requirements=["mlflow"],
                tags={"k": "v"},
                metadata={"card": {"purpose": "Doubles what comes in"}},
            ).registered_model_version
        ),
    )
    step("load pyfunc", lambda: mlflow.pyfunc.load_model("models:/twice/1").predict(np.array([[2.0]])))
    step("metadata comes back", lambda: mlflow.models.get_model_info("models:/twice/1").metadata)
    step("version tags from log_model", lambda: client.get_model_version("twice", 1).tags)
    step("logged model", lambda: {**client.get_logged_model(ids["model"]).to_dictionary(), "user_id": ""})
    experiment = client.get_experiment_by_name("e1").experiment_id
    order = [{"field_name": "creation_time"}]
    step(
        "search logged models",
        lambda: [found.name for found in client.search_logged_models([experiment], order_by=order)],
    )
    step("logged model tag", lambda: client.set_logged_model_tags(ids["model"], {"z": "1"}))
    step("its artifacts", lambda: sorted(f.path for f in mlflow.artifacts.list_artifacts(f"models:/{ids['model']}")))
    step(
        "runs", lambda: [[r.info.run_name, r.data.metrics] for r in client.search_runs([experiment], "metrics.acc > 0")]
    )
    return ids


def changes(record: Recorder, client: MlflowClient) -> None:
    step = record.step
    step("update model", lambda: client.update_registered_model("churn", "about churn"))
    step("update version", lambda: client.update_model_version("churn", "1", "first"))
    step("model tag", lambda: client.set_registered_model_tag("churn", "team", "x"))
    step("model tag 2", lambda: client.set_registered_model_tag("churn", "gone", "x"))
    step("delete model tag", lambda: client.delete_registered_model_tag("churn", "gone"))
    step("version tag", lambda: client.set_model_version_tag("churn", "1", "q", "1"))
    step("delete version tag", lambda: client.delete_model_version_tag("churn", "1", "q"))
    step("alias", lambda: client.set_registered_model_alias("churn", "champion", "1"))
    step("by alias", lambda: client.get_model_version_by_alias("churn", "champion"))
    step("load by alias", lambda: mlflow.pyfunc.load_model("models:/churn@champion").predict(np.array([[9.0]])))
    step("move alias", lambda: client.set_registered_model_alias("churn", "champion", "2"))
    step("aliases", lambda: client.get_registered_model("churn").aliases)
    step("alias of missing version", lambda: client.set_registered_model_alias("churn", "x", "99"))
    step("delete alias", lambda: client.delete_registered_model_alias("churn", "champion"))
    step("missing alias", lambda: client.get_model_version_by_alias("churn", "champion"))
    step("stage", lambda: client.transition_model_version_stage("churn", "1", "Production"))
    # One for each stage, in the order of a set: in another one from time to time.
    step("latest versions", lambda: sorted(client.get_latest_versions("churn"), key=lambda one: one.version))
    step("copy version", lambda: client.copy_model_version("models:/churn/1", "copied"))
    step("load the copy", lambda: mlflow.pyfunc.load_model("models:/copied/1").predict(np.array([[9.0]])))
    step("rename", lambda: client.rename_registered_model("copied", "renamed").name)
    step("the old name", lambda: client.get_registered_model("copied"))
    step("duplicate", lambda: client.create_registered_model("churn"))
    step("rename to one that is there", lambda: client.rename_registered_model("renamed", "churn").name and None)
    step("missing", lambda: client.get_registered_model("nope"))
    step("bad name", lambda: client.create_registered_model("a/b"))
    step("no name", lambda: client.create_registered_model(""))
    step("bad source", lambda: client.create_model_version("churn", "/etc/passwd"))
    step("delete version", lambda: client.delete_model_version("churn", "2"))
    step("deleted version", lambda: client.get_model_version("churn", "2"))


def searches(record: Recorder, client: MlflowClient, ids: dict[str, str]) -> None:
    step = record.step
    for number in range(7):
        name, tags = f"empty{number}", {"n": str(number % 2)}
        step(f"create {name}", lambda name=name, tags=tags: client.create_registered_model(name, tags, "nothing in it"))
    step("all models", lambda: [found.name for found in client.search_registered_models()])
    step("page of models", lambda: pages(lambda **page: client.search_registered_models(order_by=["name"], **page), 2))
    step("page of versions", lambda: pages(lambda **page: client.search_model_versions(order_by=["name"], **page), 2))
    for text in (
        "name = 'churn'",
        "name LIKE 'empty%'",
        "name ILIKE 'EMPTY%'",
        "name LIKE '%y3'",
        "name != 'churn'",
        "tags.n = '1' AND name != 'empty3'",
        "tags.n = '1' AND name LIKE '%3'",
        "nonsense = 'x'",
        "name > 'x'",
        "name = churn",
    ):
        step(f"models {text}", lambda text=text: sorted(found.name for found in client.search_registered_models(text)))
    for text in (
        "name = 'churn'",
        "name IN ('churn', 'twice')",
        "name LIKE 'tw%'",
        f"run_id = '{ids['run']}'",
        f"name = 'churn' AND run_id = '{ids['run']}'",
        "tags.a = 'b'",
        "version_number = 1",
    ):
        step(
            f"versions {text}",
            lambda text=text: sorted((found.name, found.version) for found in client.search_model_versions(text)),
        )
    step("descending", lambda: [found.name for found in client.search_registered_models(order_by=["name DESC"])])
    step("delete model", lambda: client.delete_registered_model("empty1"))


def prompts(record: Recorder) -> None:
    step = record.step
    step(
        "prompt", lambda: mlflow.genai.register_prompt("hello", "Hi {{ name }}", commit_message="one", tags={"t": "1"})
    )
    step("prompt again", lambda: mlflow.genai.register_prompt("hello", "Hello {{ name }}").version)
    step("load prompt", lambda: mlflow.genai.load_prompt("prompts:/hello/1").format(name="x"))
    step("prompt alias", lambda: mlflow.genai.set_prompt_alias("hello", "live", 2))
    step("load by alias", lambda: mlflow.genai.load_prompt("prompts:/hello@live").template)
    step("search prompts", lambda: [found.name for found in mlflow.genai.search_prompts()])
    step(
        "prompts are no models",
        lambda: [found.name for found in MlflowClient().search_registered_models("name = 'hello'")],
    )
    step("delete prompt version", lambda: MlflowClient().delete_prompt_version("hello", "1"))


def pages_of_the_interface(record: Recorder, client: MlflowClient) -> None:
    def raw(path: str, method: str = "GET", body: Any = None) -> list[Any]:
        credentials = client._tracking_client.store.get_host_creds()
        answer = http_request(credentials, path, method, **({"json": body} if body else {}))
        is_json = "json" in answer.headers.get("content-type", "")
        return [answer.status_code, answer.json() if is_json else answer.text[:200]]

    query = (
        "query { mlflowSearchModelVersions(input: {filter: \"name = 'churn'\"}) { modelVersions { name version } } }"
    )
    body = {"operationName": None, "variables": {}, "query": query}
    record.step("ajax", lambda: raw("/ajax-api/2.0/mlflow/registered-models/search?max_results=2&order_by=name")[0])
    record.step("graphql", lambda: sorted(map(str, plain(raw("/graphql", "POST", body)[1]["data"].values()))))
    record.step("page", lambda: raw("/")[0])
    record.step("file of a version", lambda: raw("/model-versions/get-artifact?name=churn&version=1&path=MLmodel")[0])


def main() -> None:
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    record, client = Recorder(), MlflowClient()
    runs_and_experiments(record, client)
    inside_a_run(record, client)
    ids = models(record, client)
    changes(record, client)
    searches(record, client, ids)
    prompts(record)
    traces(record, client)
    pages_of_the_interface(record, client)
    print(json.dumps(record.answers))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        main()
