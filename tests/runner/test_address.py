"""A runner in a pod takes calls over TCP; all else stays as it is."""

from __future__ import annotations

import socket
from typing import Any

import httpx
import pytest


@pytest.fixture
def taken() -> Any:
    """A socket that has a port and does not listen yet."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder


def test_calls_over_tcp_until_the_end(launch: Any, models: Any, taken: socket.socket) -> None:
    port = taken.getsockname()[1]
    taken.close()
    runner = launch(models["doubling"].directory, socket=f"tcp:127.0.0.1:{port}")
    runner.wait_for_event("ready")
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as caller:
        answer = caller.post("/", json=[{"value": 2, "seconds": 0, "fail": False}])
        assert (answer.status_code, answer.json()) == (200, [{"prediction": 4.0}])
        assert runner.stop() == 0
        with pytest.raises(httpx.TransportError):
            caller.post("/", json=[])


def test_an_address_that_is_taken(launch: Any, models: Any, taken: socket.socket) -> None:
    taken.listen()
    port = taken.getsockname()[1]
    runner = launch(models["doubling"].directory, socket=f"tcp:127.0.0.1:{port}")
    failed = runner.wait_for_event("failed")
    assert failed["message"] == f"The address 127.0.0.1:{port} cannot be listened on: Address already in use."
    assert runner.process.wait(60) == 3


@pytest.mark.parametrize("address", ["tcp:8080", "tcp:127.0.0.1:http", "tcp:127.0.0.1:70000"])
def test_what_is_no_address(launch: Any, models: Any, address: str) -> None:
    failed = launch(models["doubling"].directory, socket=address).wait_for_event("failed")
    assert "an address is written tcp:HOST:PORT" in failed["message"]
