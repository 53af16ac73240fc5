"""SIGTERM ends a runner without losing a request, and leaves nothing behind."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

BODY = b'[{"value": 2, "seconds": 0, "fail": false}]'
SLOW = b'[{"value": 2, "seconds": 0.02, "fail": false}]'
HEADERS = {"content-type": "application/json"}


class Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("churn", timeout=30)
        self.path = path

    def connect(self) -> None:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(self.timeout)
        try:
            connection.connect(self.path)
        except OSError:
            connection.close()
            raise
        self.sock = connection


def call_until_refused(path: str, body: bytes, outcomes: list[Any], started: threading.Barrier) -> None:
    """Call on a kept connection, as a gateway does, until no new one can be opened; note every outcome."""
    connection = Connection(path)
    first = True
    while True:
        try:
            if connection.sock is None:
                connection.connect()
        except (FileNotFoundError, ConnectionRefusedError):
            return  # nothing was sent: a gateway goes elsewhere
        try:
            connection.request("POST", "/", body, HEADERS)
            answer = connection.getresponse()
            outcomes.append((answer.status, answer.read()))
            if answer.will_close:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            outcomes.append(error)
            connection.close()
        if first:
            first = False
            started.wait()


@pytest.mark.parametrize("body", [BODY, SLOW])
def test_no_request_is_lost_under_load(launch: Any, models: Any, body: bytes) -> None:
    runner = launch(models["doubling"].directory)
    runner.wait_for_event("ready")
    outcomes: list[Any] = []
    started = threading.Barrier(9)
    threads = [
        threading.Thread(target=call_until_refused, args=(runner.config["socket"], body, outcomes, started))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    started.wait()
    assert runner.stop() == 0
    for thread in threads:
        thread.join()
    assert len(outcomes) >= 8
    assert set(outcomes) == {(200, b'[{"prediction":4.0}]')}
    assert [event["event"] for event in runner.events()][-1] == "stopped"
    assert sum(event["event"] == "call" for event in runner.events()) == len(outcomes)
    assert not Path(runner.config["socket"]).exists()
    assert not Path(runner.config["control_socket"]).exists()


def test_what_is_held_is_finished_and_readiness_says_no(launch: Any, models: Any) -> None:
    runner = launch(models["doubling"].directory)
    runner.wait_for_event("ready")
    answers: list[Any] = []
    body = [{"value": 3, "seconds": 1.0, "fail": False}]
    runner.calls.post("/", json=body)  # so that the runner knows that this is slow
    held = threading.Thread(target=lambda: answers.append(runner.calls.post("/", json=body)))
    held.start()
    while runner.metric("mp_in_flight") < 1:
        pass
    idle = socket.socket(socket.AF_UNIX)
    idle.connect(runner.config["socket"])
    runner.process.send_signal(signal.SIGTERM)
    runner.wait_for_event("draining")
    ready = runner.control.get("/ready")
    assert (ready.status_code, ready.json()) == (503, {"ready": False})
    idle.sendall(b"GET /v2/health/ready HTTP/1.1\r\nhost: churn\r\n\r\n")  # a connection that was open before
    answer = idle.recv(4096)
    idle.close()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"connection: close" in answer
    assert runner.process.wait(30) == 0
    held.join()
    assert answers[0].json() == [{"prediction": 6.0}]
    assert answers[0].headers["connection"] == "close"


def test_a_runner_whose_reader_has_gone_answers_on(launch: Any, models: Any, tmp_path: Path) -> None:
    """The journal is a pipe that nobody reads any more, as when the supervisor was killed."""
    pipe = tmp_path / "journal"
    os.mkfifo(pipe)
    command = ["sh", "-c", f'exec "{sys.executable}" -m model_platform_runner "$1" 2>"{pipe}" >&2', "sh"]
    runner = launch(models["doubling"].directory, command=command)
    with pipe.open("rb") as reader:
        while b'"ready"' not in reader.readline():
            pass
    for _ in range(3):
        assert runner.calls.post("/", content=BODY, headers=HEADERS).json() == [{"prediction": 4.0}]
    assert runner.stop() == 0
