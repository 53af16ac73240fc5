"""What lies elsewhere is published too: files, folders, URIs of the user's own MLflow server; and its runs are linked."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression

from support.kinds import alike, silence
from support.servers import RunningServer, running_server, wait_until

FRAME = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": [4.0, 1.0, 3.0, 2.0]})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """What is served borrows this environment."""
    with running_server(tmp_path_factory.mktemp("home"), MP_SERVER_OWN_ENVIRONMENTS="never") as found:
        wait_until(found.ready, 120, "MLflow's start")
        yield found


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A plain `mlflow server`, as people have one: nothing of ours is in it."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts")),
    ]
    more = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=os.environ | more, stdout=log, stderr=log, cwd=folder, start_new_session=True
        )

    def answers() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200
        return False

    try:
        wait_until(answers, 300, "the start of MLflow's server")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


@pytest.fixture
def mlflow(tracking: str) -> Iterator[Any]:
    """MLflow as a notebook uses it, with that server as its address."""
    with silence():
        import mlflow

        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(tracking)
    yield mlflow
    while mlflow.active_run() is not None:
        mlflow.end_run()
    mlflow.set_tracking_uri(before)
    os.environ.pop("MLFLOW_TRACKING_URI", None)


def fitted() -> LinearRegression:
    return LinearRegression().fit(FRAME, FRAME["a"] * 2 + FRAME["b"])


TABLE = fitted().predict(FRAME).reshape(-1, 1)
"""Nobody has noted how the notebook of a foreign folder holds answers: they come as a table with one column."""


def answered(mp: Any, name: str, rows: Any, expected: Any) -> None:
    endpoint = mp.deploy(name)
    try:
        assert endpoint.resource.status.deployments[0].parity.proven
        alike(expected, endpoint.predict(rows))
    finally:
        endpoint.stop()


def test_a_joblib_file_with_the_warning_of_its_library(mp: Any, project: Path) -> None:
    model = RandomForestClassifier(5, random_state=0).fit(FRAME, [0, 1, 1, 0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sklearn.base.__version__", "1.0.2")
        joblib.dump(model, project / "forest.joblib")
    published = mp.publish("forest.joblib", "forest", example=FRAME)
    training = published.details.card.training.how
    assert training.startswith("Trained elsewhere; read from forest.joblib.")
    assert "1.0.2" in training
    assert "1.0.2" in str(published)
    assert str(published.details.format) == "skops"
    answered(mp, "forest", FRAME, model.predict(FRAME))


def test_an_onnx_file(mp: Any, project: Path) -> None:
    from skl2onnx import to_onnx

    rows = FRAME.to_numpy().astype("float32")
    with silence():
        (project / "line.onnx").write_bytes(to_onnx(fitted(), rows[:1]).SerializeToString())
    published = mp.publish(project / "line.onnx", "line", example=rows)
    assert str(published.details.format) == "onnx"
    answered(mp, "line", rows, {"variable": fitted().predict(FRAME).reshape(-1, 1)})


def test_a_ubj_file_is_what_it_was(mp: Any, project: Path) -> None:
    from xgboost import XGBClassifier

    with silence():
        model = XGBClassifier(n_estimators=4, n_jobs=1).fit(FRAME, [0, 1, 1, 0])
        model.save_model(project / "trees.ubj")
        published = mp.publish("trees.ubj", "trees", example=FRAME)
    assert str(published.details.format) == "xgboost"
    answered(mp, "trees", FRAME, model.predict(FRAME))


def test_files_that_cannot_be_read_say_so(mp: Any, project: Path) -> None:
    from model_platform_core.errors import InvalidModelError

    (project / "broken.pkl").write_bytes(b"no pickle")
    (project / "notes.odt").write_text("text")
    for path, message in {
        "broken.pkl": r"broken\.pkl cannot be read: UnpicklingError",
        "absent.joblib": r"There is no absent\.joblib",
        "notes.odt": r"notes\.odt is no file that is known here",
    }.items():
        with pytest.raises(InvalidModelError, match=message):
            mp.publish(path, "nothing")


def test_a_pickle_that_runs_something_is_refused(mp: Any, server: RunningServer, project: Path) -> None:
    """By a client that does not look either: a folder, as anybody can make one."""
    from model_platform_core.errors import FormatRefusedError

    folder = project / "evil"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {sklearn: {pickled_model: model.pkl, serialization_format: pickle}}")
    (folder / "model.pkl").write_bytes(b"cposix\nsystem\n(S'touch it-ran'\ntR.")
    with pytest.raises(FormatRefusedError, match=r"model\.pkl refers to posix\.system"):
        mp.publish(folder, "evil")
    with server.client() as api:
        assert api.get("/models/evil/versions").json().get("items", []) == []
    assert not list(server.state.rglob("it-ran"))


def test_a_folder_of_mlflow_and_any_format_with_its_code(mp: Any, project: Path, mlflow: Any) -> None:
    """Weights in a format that nobody knows, and the lines that read them: stored, served, and no pickle."""
    (project / "reader_of_weights.py").write_text(
        "import json\n\n\nclass Model:\n    def __init__(self, weights):\n        self.weights = weights\n\n"
        "    def predict(self, rows):\n        return rows['a'] * self.weights['a'] + rows['b'] * self.weights['b']\n\n\n"
        "def _load_pyfunc(path):\n    with open(path) as file:\n        return Model(json.loads(file.read()[6:]))\n"
    )
    (project / "line.weights").write_text('OWN1\n {"a": 2.0, "b": 1.0}')
    with silence():
        import mlflow.pyfunc

        mlflow.pyfunc.save_model(
            str(project / "own"),
            loader_module="reader_of_weights",
            data_path=str(project / "line.weights"),
            code_paths=[str(project / "reader_of_weights.py")],
            pip_requirements=["pandas"],
        )
        published = mp.publish(project / "own", "own-format", example=FRAME)
    assert str(published.details.format) == "python-source"
    assert published.details.card.training.how.startswith("Trained elsewhere; an MLflow model from")
    answered(mp, "own-format", FRAME, TABLE)


def test_a_run_of_the_users_own_server_by_both_uris(mp: Any, mlflow: Any, tracking: str) -> None:
    with silence():
        import mlflow.sklearn

        mlflow.set_experiment("pricing")
        with mlflow.start_run(run_name="tuesday") as run:
            mlflow.log_metric("rmse", 0.25)
            mlflow.log_param("depth", "3")
            mlflow.sklearn.log_model(fitted(), name="model", input_example=FRAME, registered_model_name="line")
        for uri, name in ((f"runs:/{run.info.run_id}/model", "by-run"), ("models:/line/1", "by-model")):
            published = mp.publish(uri, name, example=FRAME)
            version = published.details
            assert (version.lineage.run.run_id, version.lineage.run.tracking_uri) == (run.info.run_id, tracking)
            assert (version.lineage.run.name, version.lineage.run.experiment) == ("tuesday", "pricing")
            assert {one.name: one.value for one in version.card.metrics} == {"rmse": 0.25}
            assert version.card.training.parameters == {"depth": "3"}
            assert uri in version.card.training.how
            assert "tuesday" in str(published)
    answered(mp, "by-run", FRAME, TABLE)


def test_a_uri_that_leads_nowhere(mp: Any, mlflow: Any, tracking: str) -> None:
    from model_platform_core.errors import InvalidModelError

    with silence(), pytest.raises(InvalidModelError, match=r"models:/absent/1 cannot be read from http"):
        mp.publish("models:/absent/1", "absent")


def test_the_active_run_is_linked_and_stays_as_it_is(mp: Any, mlflow: Any, tracking: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name.startswith("MLFLOW")}
    with silence():
        mlflow.set_experiment("pricing")
        with mlflow.start_run() as run:
            mlflow.log_metrics({"rmse": 0.5, "mae": 0.25})
            mlflow.log_param("rows", "4")
            before = mlflow.get_run(run.info.run_id)
            published = mp.publish(fitted(), "active", example=FRAME, metrics={"mae": 0.125})
            assert mlflow.active_run().info.run_id == run.info.run_id
            after = mlflow.get_run(run.info.run_id)
    version = published.details
    assert version.lineage.run.run_id == run.info.run_id
    assert {one.name: one.value for one in version.card.metrics} == {"rmse": 0.5, "mae": 0.125}
    assert version.card.training.parameters["rows"] == "4"
    assert version.card.training.parameters["fit_intercept"] is True
    assert before.to_dictionary() == after.to_dictionary()
    assert mlflow.get_tracking_uri() == tracking
    assert {name: value for name, value in os.environ.items() if name.startswith("MLFLOW")} == environment


def test_a_pickle_of_the_users_own(mp: Any, project: Path) -> None:
    (project / "line.pkl").write_bytes(pickle.dumps(fitted()))
    published = mp.publish("line.pkl", "pickled", example=FRAME)
    assert str(published.details.format) == "skops"
    assert np.isclose(fitted().coef_[0], 2.0)
