"""Server, gateway and runners are killed: who has a healthy runner is answered, and what is gone comes back."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import httpx
import psutil
import pytest

from model_platform.client import Client
from model_platform.deploying import DeployOrder, deploy
from model_platform.endpoint import EndpointHandle, act, status_of
from model_platform_core.errors import ConflictError
from model_platform_core.refs import EndpointRef
from model_platform_core.wire import DeployRequest
from support.calls import calling
from support.embedded import notebook
from support.servers import RunningServer, wait_until
from support.small_models import PAIR, publish_small
from support.state import gateway_process, runner_processes

CHURN = EndpointRef("dev-alice", "churn")


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Iterator[Client]:
    with pytest.MonkeyPatch.context() as monkeypatch, notebook(server.state, monkeypatch) as found:
        for _ in range(3):
            publish_small(found, "churn")
        yield found


@pytest.fixture
def churn(client: Client) -> EndpointHandle:
    """Version 1, open, on two runners."""
    return deploy(client, DeployOrder("churn:1", access="open", replicas=2))


def runners(server: RunningServer, live: EndpointHandle | None = None) -> set[psutil.Process]:
    """The runners of churn: all of them, or those of the deployment that is live."""
    deployment = live.resource.status.live() if live else None
    return set(runner_processes(server.state, f"churn/{deployment.name}" if deployment else "churn"))


def test_endpoints_answer_while_the_server_is_down_and_the_next_one_takes_them_over(
    server: RunningServer, client: Client, churn: EndpointHandle
) -> None:
    before, gateway = runners(server), gateway_process(server.state)
    assert len(before) == 2
    with calling(churn.url) as calls:
        server.kill()
        calls.more()
        server.start()
        wait_until(lambda: status_of(client, CHURN).resource.status.deployments[0].ready_replicas == 2)
        calls.more()
    assert calls.failures == []
    assert (runners(server), gateway_process(server.state)) == (before, gateway)
    assert status_of(client, CHURN).url == churn.url


def test_one_of_two_runners_is_killed_and_no_call_is_lost(
    server: RunningServer, client: Client, churn: EndpointHandle
) -> None:
    before = runners(server)
    victim = min(before, key=lambda process: process.pid)
    with calling(churn.url, callers=4) as calls:
        calls.more()
        victim.kill()
        calls.more()
        wait_until(lambda: len(runners(server) - before) == 1, what="a new runner")
        wait_until(lambda: status_of(client, CHURN).resource.status.deployments[0].ready_replicas == 2)
    assert calls.failures == []
    assert status_of(client, CHURN).state == "live"
    assert status_of(client, CHURN).resource.status.deployments[0].restarts == 1


def test_the_only_runner_is_killed_and_comes_back(server: RunningServer, client: Client) -> None:
    alone = deploy(client, DeployOrder("churn:1", name="alone", access="open"))
    (victim,) = runner_processes(server.state, "alone")
    with calling(alone.url) as calls:
        calls.more()
        victim.kill()
        wait_until(lambda: calls.failures, what="a call without a runner")
        wait_until(lambda: httpx.post(alone.url, json=PAIR).status_code == 200, 60, "the runner's return")
        calls.failures, told = [], calls.failures
        calls.more()
    assert calls.failures == []
    assert all(refusal.startswith("503") and '"code":"unavailable_target"' in refusal for refusal in told), told
    wait_until(lambda: status_of(client, alone.ref).state == "live")
    act(client, alone.ref, "stop")


def test_the_gateway_is_killed_and_comes_back_on_its_port(
    server: RunningServer, client: Client, churn: EndpointHandle
) -> None:
    before, gateway = runners(server), gateway_process(server.state)
    gateway.kill()
    wait_until(lambda: answers(churn.url), 60, "the gateway's return")
    assert gateway_process(server.state) != gateway
    assert runners(server) == before
    assert status_of(client, CHURN).state == "live"


def test_the_gateway_is_killed_while_there_is_no_server(server: RunningServer, churn: EndpointHandle) -> None:
    before = runners(server)
    server.kill()
    gateway_process(server.state).kill()
    server.start()
    wait_until(lambda: answers(churn.url), 60, "the gateway's return")
    assert runners(server) == before


def test_after_a_reboot_endpoints_are_where_they_were(
    server: RunningServer, client: Client, churn: EndpointHandle
) -> None:
    before, restarts = runners(server), churn.resource.status.deployments[0].restarts
    server.kill()
    for process in [gateway_process(server.state), *before]:
        process.kill()
    wait_until(lambda: not runners(server))
    pretend_another_boot(server)
    server.start()
    wait_until(lambda: answers(churn.url), 60, "the endpoint's return")
    wait_until(lambda: status_of(client, CHURN).resource.status.deployments[0].ready_replicas == 2)
    seen = status_of(client, CHURN)
    assert (seen.state, seen.version, seen.url) == ("live", 1, churn.url)
    assert seen.resource.status.deployments[0].restarts == restarts, "a reboot is no death of a runner"
    assert status_of(client, EndpointRef("dev-alice", "alone")).state == "stopped"
    assert runner_processes(server.state, "alone") == []


def test_of_two_deployments_at_once_one_wins_and_the_other_is_told(
    server: RunningServer, client: Client, churn: EndpointHandle
) -> None:
    start = threading.Barrier(2)
    etag = churn.resource.etag

    def ask(version: int) -> Any:
        start.wait()
        try:
            return client.deploy(CHURN, DeployRequest(version=f"churn:{version}"), etag)
        except ConflictError as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(ask, (2, 3)))
    (refusal,) = [one for one in answers if isinstance(one, ConflictError)]
    (asked,) = [one for one in answers if not isinstance(one, ConflictError)]
    assert refusal.code in {"conflict_endpoint_busy", "conflict_changed_since_read"}
    assert "churn" in refusal.message
    *_, found = client.follow(asked)
    assert found.status.live().version == asked.spec.deployments[0].version


def test_a_deployment_while_another_is_under_way_is_told_so(client: Client, churn: EndpointHandle) -> None:
    slow = publish_small(client, "churn", load="time.sleep(3)")
    asked = client.deploy(CHURN, DeployRequest(version=f"churn:{slow.version}"), churn.resource.etag)
    with pytest.raises(ConflictError, match=f"is being updated to version {slow.version}; wait") as refused:
        deploy(client, DeployOrder("churn:2"))
    assert refused.value.code == "conflict_endpoint_busy"
    assert refused.value.hint == "%mp_rollback churn"
    assert act(client, CHURN, "rollback").version == 1
    assert asked.generation < client.endpoint(CHURN).generation


def test_a_rollback_goes_to_the_very_process_that_was_live_before(
    server: RunningServer, client: Client, churn: EndpointHandle
) -> None:
    before = runners(server, churn)
    with calling(churn.url) as calls:
        assert deploy(client, DeployOrder("churn:2")).version == 2
        assert before < runners(server)
        back = act(client, CHURN, "rollback")
        assert (back.version, runners(server, back)) == (1, before)
        calls.more()
    assert calls.failures == []
    assert set(calls.answers) == {"1", "2"}


def test_after_its_hour_the_version_before_is_ended_and_a_rollback_still_goes_there(
    server: RunningServer, client: Client, churn: EndpointHandle
) -> None:
    first = runners(server, churn)
    second = runners(server, deploy(client, DeployOrder("churn:3")))
    expire(server)
    wait_until(lambda: runners(server) == second, what="the end of what was kept warm")
    assert act(client, CHURN, "rollback").version == 1
    assert not first & runners(server)


def test_what_is_stopped_ends_and_is_started_again_where_it_was(
    server: RunningServer, client: Client, churn: EndpointHandle
) -> None:
    act(client, CHURN, "stop")
    assert not runners(server)
    assert not answers(churn.url)
    assert act(client, CHURN, "start").version == 1
    assert answers(churn.url)


def answers(url: str) -> bool:
    try:
        return httpx.post(url, json=PAIR).status_code == 200
    except httpx.TransportError:
        return False


def pretend_another_boot(server: RunningServer) -> None:
    """Let the records of processes be from before the machine was started."""
    for path in (server.state / "local").rglob("*.json"):
        record = json.loads(path.read_text())
        process = record.get("process") if path.name == "runner.json" else record
        if process and "started" in process:
            process["started"] = "another-boot:" + process["started"].partition(":")[2]
            path.write_text(json.dumps(record))


def expire(server: RunningServer) -> None:
    """Let the hour of what is kept warm be over."""
    with closing(sqlite3.connect(server.state / "platform.db")) as database, database:
        (text,) = database.execute("SELECT status FROM mp_endpoints WHERE name = 'churn'").fetchone()
        status = json.loads(text)
        for one in status["deployments"]:
            if one["warm_until"]:
                one["warm_until"] = "2020-01-01T00:00:00Z"
        database.execute("UPDATE mp_endpoints SET status = ? WHERE name = 'churn'", [json.dumps(status)])
