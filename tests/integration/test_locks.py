"""A model whose code is a package somebody works on: it goes on answering as it did when it was published."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from support.kernels import Kernel, write_project
from support.private import bare_environment, run
from support.servers import RunningServer, wait_until
from support.small_models import PAIR
from support.state import runner_processes

REPOSITORY = Path(__file__).resolve().parents[2]
MODEL = """
import importlib
_plugins = importlib.import_module("plug" + "gy")  # in no text, in no metadata, and loaded before the publish
FACTOR = 2

class Sum:
    def predict(self, rows):
        import iniconfig
        return FACTOR * rows.sum(axis=1)
"""
PROGRAM = """
import json, pathlib
import time
import churn_tools, numpy
import model_platform as mp
from model_platform_core.refs import VersionRef

rows = numpy.array([[1.0, 2.0], [3.0, 4.0]])
client = mp.connect()  # another connection later would end what goes on beside this one
published = mp.publish(churn_tools.Sum(), "pairs", data=rows, example=rows)
source = pathlib.Path(churn_tools.__file__)
source.write_text(source.read_text().replace("FACTOR = 2", "FACTOR = 100"))
endpoint = mp.deploy("pairs", access="open")
made = VersionRef.parse("pairs:1")
until = time.monotonic() + 120
while (version := client.version(made)).lineage.pending and time.monotonic() < until:
    time.sleep(0.2)
print(json.dumps({"published": str(published), "state": endpoint.state, "version": version.model_dump(mode="json")}))
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    made = RunningServer(tmp_path / "home", MP_SERVER_OWN_ENVIRONMENTS="later", MP_SERVER_OWN_ENVIRONMENTS_AFTER="1")
    try:
        made.start()
        wait_until(made.ready, 120, "MLflow's start")
        yield made
    finally:
        made.stop_all()


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    """A kernel with the model's package installed in place."""
    project = write_project(tmp_path / "churn", "churn-tools")
    with (project / "src" / "churn_tools" / "__init__.py").open("a") as file:
        file.write(MODEL)
    made = Kernel(tmp_path / "kernel")
    made.install(
        "numpy", "pandas", "pluggy==1.5.0", REPOSITORY / "packages/core", REPOSITORY / "packages/client", "-e", project
    )
    return made


def _published(server: RunningServer, kernel: Kernel, folder: Path) -> dict[str, Any]:
    done = run([kernel.python, "-c", PROGRAM], bare_environment(MP_HOME=str(server.state)), folder)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _endpoint(api: httpx.Client) -> dict[str, Any]:
    (found,) = api.get("/endpoints").json()["items"]
    return dict(found)


def _borrowed(api: httpx.Client) -> dict[str, Any] | None:
    conditions = _endpoint(api)["status"]["conditions"]
    return next((one for one in conditions if one["type"] == "EnvironmentBorrowed"), None)


def _environment(api: httpx.Client) -> dict[str, Any]:
    return dict(api.get("/models/pairs/versions/1").json()["lineage"]["environment"])


def test_it_answers_as_published_first_in_the_kernels_environment_then_in_its_own(
    server: RunningServer, kernel: Kernel, tmp_path: Path
) -> None:
    told = _published(server, kernel, tmp_path)
    assert told["state"] == "live"
    assert "churn-tools as a wheel" in told["published"]
    lock = told["version"]["lineage"]["environment"]
    assert {"churn-tools==1.0", "iniconfig==2.0.0", "pluggy==1.5.0"} <= set(lock["packages"])
    assert lock["pending"] is False
    with server.client() as api:
        text = api.get("/models/pairs/versions/1/lock").text
        sealed = api.get("/models/pairs/versions/1/files/model_platform/lock.txt").text
    assert "\npluggy==1.5.0  # " in text
    assert "pluggy" not in sealed
    assert set(sealed.splitlines()) < set(text.splitlines())
    with server.client() as api:
        url = _endpoint(api)["status"]["url"]
        assert httpx.post(url, json=PAIR).json() == [{"prediction": 6.0}]
        wait_until(lambda: _borrowed(api) is None, 200, "an environment of its own")
        digests = wait_until(lambda: _environment(api)["digests"], 60, "what it was built of, in the lineage")
        (platform,) = digests
        assert {"iniconfig", "numpy", "pluggy"} <= set(digests[platform])
        assert "churn-tools" not in digests[platform]
        wait_until(lambda: len(runner_processes(server.state, "pairs")) == 1, 60, "the end of the first runner")
        shutil.rmtree(kernel.folder)
        shutil.rmtree(tmp_path / "churn")
        (found,) = runner_processes(server.state, "pairs")
        runner = psutil.Process(found.pid)
        assert Path(runner.cmdline()[0]).is_relative_to(server.state.resolve() / "local" / "environments")
        runner.kill()
        wait_until(lambda: httpx.post(url, json=PAIR).status_code == 200, 60, "its return")
        assert httpx.post(url, json=PAIR).json() == [{"prediction": 6.0}]


def test_a_package_that_nobody_else_can_have_keeps_it_where_it_is_and_says_so(
    server: RunningServer, kernel: Kernel, tmp_path: Path
) -> None:
    info = kernel.site_packages / "iniconfig-2.0.0.dist-info"
    (info / "INSTALLER").write_text("conda")  # from a channel of which nobody knows
    told = _published(server, kernel, tmp_path)
    assert told["state"] == "live"
    assert "iniconfig==2.0.0 works here, not elsewhere" in told["published"]

    with server.client() as api:

        def said() -> bool:
            found = _borrowed(api)
            return found is not None and "iniconfig==2.0.0 works where the model was made" in found["message"]

        wait_until(said, 60, "the reason why it stays")
        assert httpx.post(_endpoint(api)["status"]["url"], json=PAIR).json() == [{"prediction": 6.0}]
