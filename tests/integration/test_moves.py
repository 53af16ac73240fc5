"""Published from a virtual environment, served from there at first, then from its own: whatever happens to the first."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from support.calls import calling
from support.kernels import Kernel
from support.private import bare_environment, run
from support.servers import RunningServer, wait_until
from support.small_models import PAIR
from support.state import runner_processes

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("scikit-learn==1.7.2", "numpy==2.2.6", "pandas==2.2.3")
ANSWER = [{"prediction": 3.0}]
PROGRAM = """
import json
import numpy
from sklearn.dummy import DummyRegressor
import model_platform as mp

rows = numpy.array([[1.0, 2.0], [3.0, 4.0]])
mp.publish(DummyRegressor(strategy="constant", constant=3.0).fit(rows, [3.0, 3.0]), "pairs", data=rows, example=rows)
endpoint = mp.deploy("pairs", access="open")
print(json.dumps({"card": str(endpoint), "list": str(mp.status())}))
"""


@dataclass(frozen=True)
class Home:
    """A server, the kernel of its user, and what the program said there."""

    server: RunningServer
    kernel: Kernel
    told: dict[str, str]

    @property
    def environments(self) -> Path:
        return self.server.state.resolve() / "local" / "environments"

    def endpoint(self, api: httpx.Client) -> dict[str, Any]:
        (found,) = api.get("/endpoints").json()["items"]
        return dict(found)

    def borrowed(self, api: httpx.Client) -> dict[str, Any] | None:
        conditions = self.endpoint(api)["status"]["conditions"]
        return next((one for one in conditions if one["type"] == "EnvironmentBorrowed"), None)

    def runner(self) -> psutil.Process:
        (found,) = wait_until(lambda: runner_processes(self.server.state, "pairs"))
        return psutil.Process(found.pid)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    """A kernel's environment; the last test deletes it."""
    kernel = Kernel(tmp_path_factory.mktemp("kernel") / "venv")
    kernel.install(*PACKAGES, REPOSITORY / "packages/core", REPOSITORY / "packages/client")
    return kernel


@pytest.fixture
def home(request: pytest.FixtureRequest, kernel: Kernel, tmp_path: Path) -> Iterator[Home]:
    """A model that the kernel has published and deployed."""
    settings = {"MP_SERVER_OWN_ENVIRONMENTS": "later", "MP_SERVER_OWN_ENVIRONMENTS_AFTER": "3"}
    if request.param == "has no index":
        settings |= {"UV_INDEX_URL": "http://127.0.0.1:9/simple", "UV_HTTP_RETRIES": "0"}
        settings["UV_CACHE_DIR"] = str(tmp_path / "cache")
    server = RunningServer(tmp_path / "home", **settings)
    try:
        server.start()
        wait_until(server.ready, 120, "MLflow's start")
        done = run([kernel.python, "-c", PROGRAM], bare_environment(MP_HOME=str(server.state)), tmp_path)
        assert done.returncode == 0, done.stderr
        yield Home(server, kernel, json.loads(done.stdout.splitlines()[-1]))
    finally:
        server.stop_all()


@pytest.mark.parametrize("home", ["has no index"], indirect=True)
def test_without_an_index_it_stays_borrowed_and_says_why_and_a_server_that_ends_leaves_nothing_half(home: Home) -> None:
    with home.server.client() as api:

        def why() -> str:
            found = home.borrowed(api)
            return found["message"] if found and found["reason"] == "failed_environment" else ""

        said = wait_until(why, 120, "a try to build it")
        assert said.startswith("borrowed from the kernel; its own cannot be built yet and is tried again: ")
        assert "The package index cannot be reached" in said
        status = home.endpoint(api)["status"]
        assert (status["state"], status["message"]) == ("live", "version 1 answers")
        assert httpx.post(status["url"], json=PAIR).json() == ANSWER
        assert said in "".join(run_mp(home, "status").splitlines())
        assert "cannot be reached" in run_mp(home, "env", "list")
    home.server.stop()
    assert list(home.environments.glob(".making-*")) == []


@pytest.mark.parametrize("home", ["moves"], indirect=True)
def test_it_moves_under_load_and_outlives_the_kernels_environment(home: Home) -> None:
    assert "borrowed from the kernel; its own is built soon" in home.told["card"]
    assert "borrowed from the kernel" in home.told["list"]
    assert home.runner().cmdline()[0] == str(home.kernel.python)
    with home.server.client() as api:
        with calling(home.endpoint(api)["status"]["url"]) as calls:
            wait_until(lambda: home.borrowed(api) is None, 120, "an environment of its own")
            wait_until(
                lambda: len(runner_processes(home.server.state, "pairs")) == 1, 60, "the end of the first runner"
            )
            calls.more(50)
        assert calls.failures == []
        assert calls.answers.total() > 100
        assert Path(home.runner().cmdline()[0]).is_relative_to(home.environments)
        status = home.endpoint(api)["status"]
        assert (status["state"], status["message"]) == ("live", "version 1 answers")
        assert status["deployments"][0]["parity"]["equal"] == 2

        home.kernel.install("scikit-learn==1.7.1")
        shutil.rmtree(home.kernel.folder)
        before = home.runner()
        before.kill()
        wait_until(lambda: not before.is_running() or before.status() == psutil.STATUS_ZOMBIE, 10)
        wait_until(lambda: httpx.post(status["url"], json=PAIR).status_code == 200, 60, "its return")
        assert httpx.post(status["url"], json=PAIR).json() == ANSWER
        wait_until(lambda: home.endpoint(api)["status"]["state"] == "live", 10)

        (used,) = api.get("/environments").json()["items"]
        assert (used["state"], used["used_by"]) == ("built", [f"{home.endpoint(api)['zone']}/pairs"])
        assert "scikit-learn==1.7.2" in used["packages"]
        assert api.post("/environments/prune").json()["items"] == []
        api.delete(f"/endpoints/{home.endpoint(api)['zone']}/pairs").raise_for_status()
        wait_until(lambda: api.get("/environments").json()["items"][0]["used_by"] == [], 60)
        assert [one["key"] for one in api.post("/environments/prune").json()["items"]] == [used["key"]]
        assert not (home.environments / used["key"]).exists()


def run_mp(home: Home, *words: str) -> str:
    """What `mp` prints, of the kernel."""
    program = home.kernel.python.with_name("mp")
    done = run([program, *words], bare_environment(MP_HOME=str(home.server.state), COLUMNS="400"))
    assert done.returncode == 0, done.stderr
    return done.stdout
