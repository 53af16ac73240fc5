"""Every kind of model that can be published is: published, deployed and called, over both databases."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.databases import fresh_database
from support.kinds import KINDS, alike, silence
from support.servers import RunningServer, running_server, wait_until

on_both = pytest.mark.parametrize("server", ["sqlite", "postgresql"], indirect=True)
FROM_DATA = ("pipeline", "forest", "xgboost", "network", "formula", "function")


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for all kinds; what is served borrows this environment, that of the notebook."""
    with contextlib.ExitStack() as stack:
        more = {"MP_SERVER_OWN_ENVIRONMENTS": "never"}
        if request.param == "postgresql":
            more["MP_SERVER_DATABASE_URL"] = stack.enter_context(fresh_database(request.getfixturevalue("postgresql")))
        found = stack.enter_context(running_server(tmp_path_factory.mktemp("home"), **more))
        wait_until(found.ready, 120, "MLflow's start")
        yield found


@pytest.fixture(scope="module", autouse=True)
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The notebook's own MLflow, where runs and registered models are published from."""
    folder = tmp_path_factory.mktemp("mlflow")
    with silence():
        import mlflow

        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mine.db")
        mlflow.set_experiment(experiment_id=mlflow.create_experiment("kinds", (folder / "artifacts").as_uri()))
    yield
    mlflow.set_tracking_uri(before)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID"):
        os.environ.pop(name, None)


@on_both
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_in_the_notebook_is_what_answers(mp: Any, project: Path, kind: str) -> None:
    made = KINDS[kind](project)
    with silence():
        published = mp.publish(made.model, kind, example=made.rows, **made.options)
    version = published.details
    assert str(version.format) == made.format
    storage = version.behaviour.get("storage")
    assert (storage is None) == made.as_it_lies
    if storage is not None:
        assert storage["format"] == (made.kept or made.format)
        assert storage["because"]
        assert (storage["tier_2"] is None) == (made.format != "pickle")
    _answers(mp, kind, made.rows, made.answer)


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
@pytest.mark.parametrize("kind", FROM_DATA)
def test_made_up_rows_prove_it_where_there_is_only_data(mp: Any, project: Path, kind: str) -> None:
    made = KINDS[kind](project)
    with silence():
        published = mp.publish(made.model, f"{kind}-from-data", data=made.rows, **made.options)
    assert "20 made-up rows and their answers kept" in str(published)
    _answers(mp, f"{kind}-from-data", made.rows, made.answer)


def test_one_in_an_environment_of_its_own(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Built from its lock before its first answer: nothing is borrowed."""
    import model_platform

    made = KINDS["pipeline"](project)
    own = {"MP_SERVER_OWN_ENVIRONMENTS": "first"}
    with running_server(tmp_path_factory.mktemp("own"), **own) as server:
        wait_until(server.ready, 120, "MLflow's start")
        monkeypatch.setenv("MP_HOME", str(server.state))
        for name in ("MP_SERVER", "MP_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        client = model_platform.connect()
        model_platform.publish(made.model, "own", example=made.rows, **made.options)
        endpoint = _answers(model_platform, "own", made.rows, made.answer)
        assert "borrowed" not in str(endpoint)
        client.close()


def _answers(mp: Any, name: str, rows: Any, expected: Any) -> Any:
    endpoint = mp.deploy(name)
    try:
        deployment = endpoint.resource.status.deployments[0]
        assert deployment.parity.proven
        assert deployment.parity.rows == deployment.parity.equal > 0
        alike(expected, endpoint.predict(rows))
    finally:
        endpoint.stop()
    return endpoint
