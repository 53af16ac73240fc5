"""`mp` against a real server: what it prints, as JSON and as text, and the status it ends with."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from sklearn.linear_model import LinearRegression

from model_platform import client as connection
from model_platform.cli.main import main
from model_platform.cli.reference import reference
from model_platform.cli.rows import read_rows
from model_platform_core.errors import InvalidInputError
from model_platform_core.refs import VersionRef
from support.servers import RunningServer, running_server, wait_until
from support.small_models import publish_small, save_small

Mp = Callable[..., Result]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("home")) as found:
        wait_until(found.ready, 120, "MLflow's start")
        yield found


@pytest.fixture
def mp(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mp]:
    """Runs a command line in this process; status 0 unless another is expected."""
    monkeypatch.setenv("MP_HOME", str(server.state))
    for name in ("MP_SERVER", "MP_TOKEN", "MP_ZONE"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: str, status: int = 0, given: str | None = None) -> Result:
        result = CliRunner().invoke(main, words, input=given)
        assert result.exit_code == status, result.output + repr(result.exception)
        return result

    yield run
    if (client := connection.current_if_any()) is not None:
        client.close()
        connection._current = None


def data(result: Result) -> Any:
    return json.loads(result.stdout)


def test_a_folder_from_publish_to_its_end(mp: Mp, tmp_path: Path) -> None:
    folder = save_small(tmp_path / "pairs")
    (folder / "requirements.txt").write_text(f"numpy=={np.__version__}\n")
    published = data(mp("publish", str(folder), "-m", "the first", "--for-whom", "everybody", "--json"))
    assert (published["name"], published["version"], published["description"]) == ("pairs", 1, "the first")
    assert published["card"]["for_whom"] == "everybody"
    assert "still version 1" in mp("publish", str(folder)).stdout
    assert "version 2" in mp("publish", str(folder), "--new", "--alias", "champion").stdout
    deployed = data(mp("deploy", "pairs@champion", "--json"))
    assert (deployed["status"]["state"], deployed["spec"]["deployments"][0]["version"]) == ("live", 2)
    (tmp_path / "rows.json").write_text("[[1, 2], [3, 4]]")
    assert data(mp("predict", "pairs", str(tmp_path / "rows.json"))) == [{"prediction": 3.0}, {"prediction": 7.0}]
    assert data(mp("predict", "pairs", "-", given="[[1, 2]]")) == [{"prediction": 3.0}]
    status = mp("status")
    assert "pairs        2  ● live" in status.stdout
    assert "mp logs" in status.stdout or "mp_" not in status.stdout
    assert data(mp("status", "pairs", "--json"))["name"] == "pairs"
    assert '"ready"' in mp("logs", "pairs", "-n", "50").stdout
    lines = mp("logs", "pairs", "--json").stdout.splitlines()
    assert {"deployment", "runner", "text"} == set(json.loads(lines[0]))
    token = mp("token", "endpoint", "pairs", "--name", "test").stdout.strip()
    assert token.count(".") == 2
    made = data(mp("token", "list", "--endpoint", "pairs", "--json"))["tokens"]
    assert token not in json.dumps(made)
    mp("token", "revoke", made[0]["id"], "--yes")
    assert "revoked" in mp("token", "list", "--endpoint", "pairs").stdout
    assert "stopped" in mp("stop", "pairs").stdout
    assert data(mp("start", "pairs", "--json"))["status"]["state"] == "live"
    mp("delete", "pairs", status=1, given="n\n")
    mp("delete", "pairs", "--yes")
    mp("status", "pairs", status=4)


def test_a_file_with_the_rows_of_a_call(mp: Mp, tmp_path: Path) -> None:
    rows = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 5.0]})
    model = LinearRegression().fit(rows, [1.0, 2.0])
    joblib.dump(model, tmp_path / "line.joblib")
    rows.to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "scores.json").write_text('{"rmse": 0.5}')
    given = [f"--{name}" for name in ("example", "data", "metrics")]
    files = [str(tmp_path / name) for name in ("rows.csv", "rows.csv", "scores.json")]
    line = [word for pair in zip(given, files, strict=True) for word in pair]
    published = data(mp("publish", str(tmp_path / "line.joblib"), *line, "--json"))
    assert [(one["name"], one["value"]) for one in published["card"]["metrics"]] == [("rmse", 0.5)]
    assert (published["lineage"]["data"][0]["name"], len(published["signature"]["inputs"])) == ("rows.csv", 2)
    told = mp("publish", str(tmp_path / "line.joblib"), "--name", "bare").stdout
    assert "--example rows.csv" in told
    assert "X_test" not in told
    packages = connection.current().version(VersionRef.parse("bare:1")).lineage.environment.packages
    assert any(package.startswith("pandas==") for package in packages)  # callers' records become a DataFrame


def test_a_deployment_that_fails_and_one_that_is_interrupted(mp: Mp, monkeypatch: pytest.MonkeyPatch) -> None:
    mp("zone")
    client = connection.current()
    publish_small(client, "moody")
    publish_small(client, "moody", load="raise RuntimeError")
    ref = client.endpoint_ref("moody")

    def interrupt(*_arguments: object) -> Iterator[Any]:
        yield client.endpoint(ref)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(client, "follow", interrupt)
        mp("deploy", "moody:1", status=130)
    assert client.endpoint_if_any(ref) is None
    mp("deploy", "moody:1")
    failed = mp("deploy", "moody:2", status=9)
    assert "moody version 2 was not deployed: " in failed.stderr
    assert "Version 1 still answers." in failed.stderr
    status = mp("status", "moody").stdout
    assert "moody  live" in status
    assert "but       " in status
    assert data(mp("predict", "moody", "-", given="[[1, 2]]")) == [{"prediction": 3.0}]
    mp("delete", "moody", "--yes")


def test_models_and_cards(mp: Mp) -> None:
    mp("models", "--json")
    publish_small(connection.current(), "carded")
    assert [model["name"] for model in data(mp("models", "carded", "--json"))["models"]] == ["carded"]
    card = data(mp("card", "carded", "--limitations", "small numbers alone", "--json"))
    assert (card["revision"], card["card"]["limitations"]) == (2, "small numbers alone")
    assert "limitations  small numbers alone" in mp("card", "carded:1").stdout


def test_zones_and_actors(mp: Mp, server: RunningServer) -> None:
    assert "dev-alice  development zone" in mp("zone").stdout
    assert [zone["name"] for zone in data(mp("zone", "list", "--json"))["zones"]] == ["dev-alice"]
    assert f"remembered in {server.state}/config.toml" in mp("zone", "use", "dev-alice").stdout
    (server.state / "config.toml").unlink()
    assert [actor["name"] for actor in data(mp("actor", "list", "--json"))["actors"]] == ["alice"]
    assert "no role in a zone" in mp("actor", "put", "alice", "--role", "developer", status=2).stderr


def test_every_kind_of_trouble_has_its_status(mp: Mp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "mp status lists the endpoints" in mp("status", "nothing", status=4).stderr
    assert "holds no MLmodel file" in mp("publish", str(tmp_path), status=2).stderr
    missing = mp("publish", str(save_small(tmp_path / "risky")), "--tier", "1", status=6)
    assert "purpose       what is decided with it" in missing.stderr
    assert missing.stdout == ""
    mp("deploy", status=2)
    mp("server", "stop", "--all", status=1, given="n\n")
    monkeypatch.setenv("MP_TOKEN", "mp_wrong")
    monkeypatch.setenv("MP_SERVER", connection.current().rest.url)
    connection.current().close()
    connection._current = None
    assert "unknown" in mp("zone", status=3).stderr
    monkeypatch.setenv("MP_SERVER", "http://127.0.0.1:9")
    assert "does not answer" in mp("zone", status=8).stderr


def test_server_and_doctor(mp: Mp, server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = data(mp("server", "status", "--json"))
    assert (found["running"], found["url"]) == (True, server.url)
    assert "proof_key" not in found
    assert data(mp("server", "start", "--json"))["pid"] == found["pid"]
    findings = {one["what"]: one["well"] for one in data(mp("doctor", "--json"))["findings"]}
    assert findings["connection"] is findings["gateway"] is findings["state"] is True
    monkeypatch.setenv("MP_HOME", str(tmp_path / "other"))
    assert "stopped" in mp("server", "status").stdout
    assert mp("server", "stop").stdout == "the server does not run\n"
    assert "does not run; the first verb starts it" in mp("doctor").stdout
    monkeypatch.setenv("MP_SERVER", "http://127.0.0.1:9")
    assert "✕  connection" in mp("doctor", status=1).stdout


def test_completion_of_names(mp: Mp) -> None:
    publish_small(connection.current(), "completed")
    environment = {"_MP_COMPLETE": "bash_complete", "COMP_WORDS": "mp deploy comp", "COMP_CWORD": "2"}
    result = CliRunner().invoke(main, [], prog_name="mp", env=environment)
    assert result.stdout.splitlines() == ["plain,completed", "plain,completed:1"]
    assert "_MP_COMPLETE=bash_complete" in mp("completion", "bash").stdout


def test_no_colours_in_a_pipe(server: RunningServer) -> None:
    program = "from model_platform.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "status"],
        env={"MP_HOME": str(server.state), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('[{"a": 1}]', [{"a": 1}]),
        (' {"a": 1}', [{"a": 1}]),
        ("[[1, 2]]", [[1, 2]]),
        ("a,b,c\n1,x,\n2.5,true,007\n", [{"a": 1, "b": "x", "c": None}, {"a": 2.5, "b": True, "c": "007"}]),
    ],
)
def test_rows_of_a_file(tmp_path: Path, text: str, rows: list[Any]) -> None:
    (tmp_path / "rows").write_text(text)
    assert read_rows(str(tmp_path / "rows")) == rows


@pytest.mark.parametrize(("text", "said"), [("[1,", "is no JSON"), ("a,b\n", "holds no rows"), ("", "holds no rows")])
def test_rows_that_are_none(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "rows").write_text(text)
    with pytest.raises(InvalidInputError, match=said):
        read_rows(str(tmp_path / "rows"))
    with pytest.raises(InvalidInputError, match="No such file"):
        read_rows(str(tmp_path / "nothing"))


def test_the_reference_is_up_to_date() -> None:
    committed = Path(__file__).parents[2] / "docs" / "users" / "verbs.md"
    assert committed.read_text(encoding="utf-8") == reference(), (
        "run  python -m model_platform.cli.reference > docs/users/verbs.md"
    )
