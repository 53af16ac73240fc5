"""What lies elsewhere is published too: files, folders, URIs of the user's own MLflow server; and its runs are linked."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import joblib
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


@pytest.fixture(autouse=True)
def no_experiment_is_left() -> Iterator[None]:
    """MLflow writes the chosen experiment into the environment, where other tests' clients would find it."""
    yield
    os.environ.pop("MLFLOW_EXPERIMENT_ID", None)


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
    with silence():
        mlflow.set_experiment("pricing")
        environment = {name: value for name, value in os.environ.items() if name.startswith("MLFLOW")}
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
    model = LinearRegression().fit(FRAME, [3.5, -1.0, 2.0, 8.25])
    (project / "line.pkl").write_bytes(pickle.dumps(model))
    published = mp.publish("line.pkl", "pickled", example=FRAME)
    assert str(published.details.format) == "skops"
    answered(mp, "pickled", FRAME, model.predict(FRAME))


# ---------------------------------------------------------------- a folder is published as everything else


def saved(folder: Path, **options: Any) -> Path:
    with silence():
        import mlflow.sklearn

        mlflow.sklearn.save_model(fitted(), str(folder), **options)
    return folder


@pytest.fixture
def notebook(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = project / "monday.ipynb"
    cells = [{"cell_type": "code", "source": "a = 1", "outputs": []}]
    path.write_text(json.dumps({"cells": cells}))
    monkeypatch.setenv("PAPERMILL_INPUT_PATH", str(path))
    return path


def paths_of(published: Any) -> set[str]:
    return {file.path for file in published.details.files}


EXAMPLES = {"input_example.json", "serving_input_example.json"}


def test_the_rows_of_an_input_example_stay_behind(mp: Any, server: RunningServer, project: Path, mlflow: Any) -> None:
    rows = FRAME.assign(a=[81234.5625, 2.0, 3.0, 4.0])
    folder = saved(project / "fold", input_example=rows)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    published = mp.publish(folder, "fold")
    assert not EXAMPLES & paths_of(published)
    assert "Left out, as they hold rows of data that may be personal: input_example.json" in str(published)
    stored = [path for path in server.state.rglob("*") if path.is_file() and b"81234.56" in path.read_bytes()]
    assert stored == []
    assert {path: path.read_bytes() for path in before} == before
    answered_anyway = mp.deploy("fold")
    alike(TABLE, answered_anyway.predict(FRAME))
    answered_anyway.stop()
    given = mp.publish(folder, "fold", example=FRAME, new=True)
    assert not EXAMPLES & paths_of(given)
    assert "4 example rows and their answers kept" in str(given)
    open_to_all = mp.publish(folder, "open-fold", pii="none")
    assert paths_of(open_to_all) >= EXAMPLES
    assert "Left out" not in str(open_to_all)
    with silence():
        mlflow.set_experiment("pricing")
        with mlflow.start_run():
            info = mlflow.sklearn.log_model(fitted(), name="model", input_example=rows)
    assert not EXAMPLES & paths_of(mp.publish(info.model_uri, "logged-fold"))


def test_a_folder_has_data_card_and_lineage(mp: Any, project: Path, notebook: Path) -> None:
    folder = saved(project / "whole")
    (project / "rows.csv").write_text("a,b\n1,2\n")
    fields = {
        "tier": 1,
        "licence": "our own",
        "purpose": "Tell prices",
        "for_whom": "everybody",
        "fairness_slices": "a, b",
    }
    fields |= {"limitations": "None known", "training": "A straight line", "metrics": {"rmse": 0.5}}
    first = mp.publish(folder, "whole", data=FRAME, **fields)
    card, lineage = first.details.card, first.details.lineage
    assert (card.training.how, list(card.fairness_slices)) == ("A straight line", ["a", "b"])
    assert [(one.name, one.rows, one.columns) for one in lineage.data] == [("FRAME", 4, 2)]
    assert lineage.data[0].sha256 == card.data[0].sha256 is not None
    assert (lineage.notebook, card.code.path) == ("monday.ipynb", "monday.ipynb")
    assert card.resources is not None
    again = mp.publish(folder, "whole", data="rows.csv", training="A straight line", metrics={"rmse": 0.5})
    assert again.details.lineage.data[0].size == 8
    assert "(as in version 1)" in str(again)
    assert "tier" not in str(again).partition("(as in version 1)")[0].splitlines()[-1]
    # Within an assert, which pytest rewrites, publish does not see how the data is called.
    third = mp.publish(folder, "whole", data="rows.csv", training="A straight line", metrics={"rmse": 0.5})
    assert third.unchanged


def test_a_folder_of_another_notebook_is_told(
    mp: Any, project: Path, notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(project / "moved")
    mp.publish(folder, "moved")
    other = notebook.with_name("tuesday.ipynb")
    other.write_bytes(notebook.read_bytes())
    monkeypatch.setenv("PAPERMILL_INPUT_PATH", str(other))
    told = str(mp.publish(folder, "moved", message="again", new=True))
    assert "The last version, 1, was published from monday.ipynb; this is tuesday.ipynb." in told


def test_what_only_an_object_can_have_is_refused(mp: Any, project: Path) -> None:
    from model_platform_core.errors import InvalidInputError

    folder = saved(project / "refused", pyfunc_predict_fn="score")
    with pytest.raises(InvalidInputError, match=r"answers with score, as it was saved; --answers predict is for"):
        mp.publish(folder, "refused", answers="predict")
    with pytest.raises(InvalidInputError, match=r"has its files in it; --with nothing-there is for an object"):
        mp.publish(folder, "refused", with_files="nothing-there")
    with pytest.raises(InvalidInputError, match=r"--data is a str"):
        mp.publish(folder, "refused", data="nothing-there.csv")


def test_versions_that_differ_are_told_of_folders_too(mp: Any, project: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sklearn.base.__version__", "1.0.2")
        folder = saved(project / "old", serialization_format="cloudpickle")
    requirements = (folder / "requirements.txt").read_text().splitlines()
    older = [line if not line.startswith("scikit-learn==") else "scikit-learn==1.0.2" for line in requirements]
    (folder / "requirements.txt").write_text("\n".join(older))
    unread = mp.publish(folder, "old")
    assert re.search(r"Saved with scikit-learn 1\.0\.2 \(here \d", unread.details.card.training.how)
    assert "scikit-learn 1.0.2" in " ".join(str(unread).split())
    read = mp.publish(folder, "old", example=FRAME)
    assert "When it was read: Trying to unpickle estimator LinearRegression from version 1.0.2" in (
        read.details.card.training.how
    )
    assert (folder / "requirements.txt").read_text().splitlines() == older


def test_the_active_run_is_linked_to_files_and_folders(mp: Any, project: Path, mlflow: Any) -> None:
    joblib.dump(fitted(), project / "line.joblib")
    folder = saved(project / "line-folder")
    with silence():
        mlflow.set_experiment("pricing")
        with mlflow.start_run() as run:
            mlflow.log_metric("rmse", 0.5)
            for name, model in {"file-in-run": "line.joblib", "folder-in-run": folder}.items():
                version = mp.publish(model, name).details
                assert version.lineage.run.run_id == run.info.run_id
                assert {one.name: one.value for one in version.card.metrics} == {"rmse": 0.5}


def test_a_tracking_server_that_does_not_answer_holds_nothing_up(
    mp: Any, mlflow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with silence():
        mlflow.set_experiment("pricing")
        with mlflow.start_run(run_name="tuesday") as run, socket.create_server(("127.0.0.1", 0)) as mute:
            address = mlflow.get_tracking_uri()
            mlflow.set_tracking_uri(f"http://127.0.0.1:{mute.getsockname()[1]}")
            version = mp.publish(fitted(), "unanswered", example=FRAME).details
            mlflow.set_tracking_uri(address)
    assert (version.lineage.run.run_id, version.lineage.run.name) == (run.info.run_id, "tuesday")
    assert version.lineage.notes[-1].endswith("did not answer in time")


def test_words_of_their_own_leave_the_warnings_on_the_card(mp: Any, project: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sklearn.base.__version__", "1.0.2")
        joblib.dump(fitted(), project / "aged.joblib")
    published = mp.publish("aged.joblib", "aged", example=FRAME, training="By the book")
    assert published.details.card.training.how == "By the book"
    assert "1.0.2" in " ".join(str(published).split())
