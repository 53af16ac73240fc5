"""A fork server and its children: a child behaves as a runner in a process of its own, and comes only when it is wanted."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

import model_platform_runner
from support.servers import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="fork servers are for Linux")

MAIN = Path(model_platform_runner.__file__).with_name("__main__.py")
LIBRARIES = ["numpy", "scikit-learn", "cloudpickle", "one-that-nobody-knows"]


class ForkServer:
    """A fork server in a folder, as the local target starts it."""

    def __init__(self, folder: Path, *, seconds: float = 60, room: int = 1024) -> None:
        folder.mkdir()
        self.door = folder / "door"
        with socket.socket(socket.AF_UNIX) as door, (folder / "log").open("wb") as log:
            door.bind(str(self.door))
            door.listen()
            given = ["--fork-server", folder, door.fileno(), seconds, "-" * room]
            self.process = subprocess.Popen(
                [sys.executable, "-P", str(MAIN), *map(str, given)],
                env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[door.fileno()],
            )

    def order(self, line: bytes, word: bytes = b"\n") -> dict[str, Any]:
        """Send a line, and after the answer the word; the answer, empty if there is none."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(str(self.door))
            connection.sendall(line + b"\n")
            with connection.makefile() as answers:
                answer = answers.readline()
            if word and answer:
                connection.sendall(word)
        return json.loads(answer) if answer else {}

    def fork(self, configuration: Path, word: bytes = b"\n") -> dict[str, Any]:
        """Ask for a runner."""
        order = {"configuration": str(configuration), "libraries": LIBRARIES}
        return self.order(json.dumps(order).encode(), word)

    def end(self) -> None:
        """End it and its children."""
        for child in psutil.Process(self.process.pid).children() if self.process.poll() is None else []:
            child.kill()
        self.process.kill()
        self.process.wait()


Make = Callable[..., ForkServer]


@pytest.fixture
def make(sockets: Path, tmp_path: Path) -> Iterator[Make]:
    """Start fork servers, which end with the test."""
    made: list[ForkServer] = []

    def start(**options: Any) -> ForkServer:
        made.append(ForkServer(sockets / f"{tmp_path.name[-20:]}-{len(made)}", **options))
        return made[-1]

    yield start
    for each in made:
        each.end()


@pytest.fixture
def configuration(launch: Any, models: Any, tmp_path: Path, sockets: Path) -> Path:
    """That of a runner which has been, with sockets of its own and another folder."""
    fresh = launch(models["array"].directory, access="open")
    fresh.wait_for_event("ready")
    assert fresh.stop() == 0
    place = tmp_path / "runner"
    place.mkdir()
    own = {
        "socket": str(sockets / f"{tmp_path.name[-20:]}.calls"),
        "control_socket": str(sockets / tmp_path.name[-20:]),
    }
    (place / "config.json").write_text(json.dumps(fresh.config | own))
    return place / "config.json"


def events(configuration: Path) -> list[dict[str, Any]]:
    """What the journal of a runner says."""
    log = configuration.with_name("runner.log")
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def names(configuration: Path) -> list[str]:
    """The events of its journal, without calls."""
    return [event["event"] for event in events(configuration) if event["event"] != "call"]


def call(configuration: Path, rows: list[Any]) -> Any:
    """What a runner answers."""
    transport = httpx.HTTPTransport(uds=json.loads(configuration.read_text())["socket"])
    with httpx.Client(transport=transport, base_url="http://churn", timeout=30) as client:
        return client.post("/", json=rows).json()


def test_a_fork_is_a_runner_to_its_end(make: Make, models: Any, configuration: Path) -> None:
    server = make()
    pid = server.fork(configuration)["pid"]
    wait_until(lambda: "ready" in names(configuration))
    rows = models["array"].data[:5]
    answers = [row["prediction"] for row in call(configuration, rows.tolist())]
    assert answers == models["array"].model.predict(rows).tolist()
    assert events(configuration)[0]["start"] == "fork"
    assert psutil.Process(pid).cmdline()[:4] == [sys.executable, "-P", str(MAIN), str(configuration)]
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not psutil.pid_exists(pid))
    assert names(configuration)[-2:] == ["draining", "stopped"]
    assert server.process.poll() is None


def test_without_the_word_nothing_comes_of_it(make: Make, configuration: Path) -> None:
    server = make()
    pid = server.fork(configuration, word=b"")["pid"]
    wait_until(lambda: not psutil.pid_exists(pid))
    assert events(configuration) == []


def test_an_order_that_makes_no_sense_is_passed_over(make: Make, configuration: Path) -> None:
    server = make()
    for line in (b"", b"{", b"[]", b"{}", b'{"configuration": 1, "libraries": []}'):
        assert server.order(line) == {}
    assert server.fork(configuration).keys() == {"pid", "ticks"}


def test_a_command_line_without_room_is_told_and_others_go_on(make: Make, configuration: Path, tmp_path: Path) -> None:
    server = make(room=0)
    distant = tmp_path / ("far" * 80) / "config.json"
    distant.parent.mkdir()
    distant.write_text(configuration.read_text())
    assert server.fork(distant) == {"failed": "File name too long"}
    assert events(distant) == []
    assert server.process.poll() is None


def test_it_ends_when_nobody_needs_it_but_not_before_its_runners(make: Make, configuration: Path) -> None:
    server = make(seconds=0.1)
    pid = server.fork(configuration)["pid"]
    wait_until(lambda: "ready" in names(configuration))
    assert server.process.poll() is None
    os.kill(pid, signal.SIGTERM)
    assert server.process.wait(30) == 0
