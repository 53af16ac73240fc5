"""The server is killed while it deploys: the version before answers every call, and the next server goes on."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest

from model_platform.deploying import DeployOrder, deploy
from model_platform_core.deployments import EndpointState
from support.calls import calling
from support.dying import program
from support.embedded import notebook
from support.servers import RunningServer, wait_until
from support.small_models import publish_small
from support.state import gateway_process, runner_processes

SERVER = "model_platform_server"
PLACES = {
    "before the environment": f"{SERVER}.adapters.local.target:LocalTarget.prepare:before",
    "runner ordered, not noted": f"{SERVER}.adapters.local.fork_servers:Order.identity:after",
    "runner noted": f"{SERVER}.adapters.local.fork_servers:Order.go:after",
    "runner ready": f"{SERVER}.reconcile.change:Change._bring_up:after",
    "proven": f"{SERVER}.reconcile.change:prove:after",
    "switched, not written": f"{SERVER}.reconcile.change:Change._give_traffic:after",
}
NOT_BEGUN = {"before the environment", "runner ordered, not noted"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A state directory with six versions, the first of which is live; no server runs."""
    server = RunningServer(tmp_path_factory.mktemp("home"))
    with pytest.MonkeyPatch.context() as monkeypatch, notebook(server.state, monkeypatch) as client:
        for _ in range(len(PLACES) + 1):
            publish_small(client, "churn")
        deploy(client, DeployOrder("churn:1", access="open"))
    yield server
    server.stop_all()


@pytest.mark.parametrize("place", PLACES)
def test_a_server_is_killed_while_it_deploys_and_the_next_one_brings_it_to_its_end(
    home: RunningServer, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Whoever waits for the deployment goes on waiting; runners and gateway are taken over, not started again."""
    gateway = gateway_process(home.state)
    home.start(program=program(PLACES[place]))
    with notebook(home.state, monkeypatch) as client:
        (live,) = client.endpoints(client.zone)
        before = live.status.live()
        assert before is not None
        with calling(live.status.url or "") as calls:
            handle = deploy(client, DeployOrder(f"churn:{before.version + 1}"))
            assert home.ended() == "SIGKILL"
            assert (handle.state, handle.version) == (EndpointState.LIVE, before.version + 1)
        assert calls.failures == []
        assert set(calls.answers) == {str(before.version), str(before.version + 1)}
        assert gateway_process(home.state) == gateway
        # The one that is live and the one that is kept warm, each once.
        wait_until(lambda: len(runner_processes(home.state, "churn")) == 2, what="the end of older runners")
        if place not in NOT_BEGUN:
            server = psutil.Process(home.discovery["pid"])
            assert all(one.create_time() < server.create_time() for one in runner_processes(home.state, "churn"))
