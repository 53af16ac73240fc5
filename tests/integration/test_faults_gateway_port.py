"""The gateway's port is taken by somebody else: who it is and what to do is said, and everything else goes on."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from model_platform.deploying import DeployOrder, deploy
from model_platform.endpoint import status_of
from model_platform_core.errors import TargetUnavailableError
from support.embedded import notebook
from support.servers import RunningServer, wait_until
from support.small_models import PAIR, publish_small
from support.state import gateway_process


@contextmanager
def taken(server: RunningServer, port: int) -> Iterator[None]:
    """Somebody who was faster than the gateway."""
    gateway = gateway_process(server.state)
    server.kill()
    gateway.kill()
    gateway.wait(10)
    with socket.socket() as somebody:
        somebody.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        somebody.bind(("127.0.0.1", port))
        somebody.listen()
        yield


@pytest.fixture
def home(tmp_path: Path) -> Iterator[RunningServer]:
    server = RunningServer(tmp_path)
    yield server
    server.stop_all()


def test_a_port_that_is_taken_is_told_with_what_to_do_and_endpoints_return_when_it_is_free(
    home: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = home.with_gateway_port()
    home.start()
    with notebook(home.state, monkeypatch) as client:
        publish_small(client, "churn")
        churn = deploy(client, DeployOrder("churn", access="open"))
        assert churn.url == f"http://127.0.0.1:{port}/dev-alice/churn"
        with taken(home, port):
            home.start()
            (told,) = client.whoami().targets[0].missing
            assert f"port {port} is taken by {psutil.Process().name()} (process {os.getpid()})" in told
            assert f"write another port into {home.state / 'local' / 'gateway' / 'port'}" in told
            publish_small(client, "churn")
            with pytest.raises(TargetUnavailableError, match=f"port {port} is taken by ") as failed:
                deploy(client, DeployOrder("churn:2"))
            assert "still answers" not in failed.value.message
            assert failed.value.hint is not None
            assert "write another port into" in failed.value.hint
            seen = status_of(client, churn.ref)
            assert seen.state == "failed"
            assert f"port {port} is taken by " in seen.resource.status.message
        wait_until(lambda: status_of(client, churn.ref).state == "live", 60, "the endpoint's return")
        assert httpx.post(churn.url, json=PAIR).json() == [{"prediction": 3.0}]
        assert client.whoami().gateway_url == f"http://127.0.0.1:{port}"
        assert deploy(client, DeployOrder("churn:2")).version == 2
