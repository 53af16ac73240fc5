"""The private server of a machine: who may have its state directory, who gets its token, and that there is one of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.request import urlopen

import httpx
import psutil
import pytest

from model_platform.deploying import DeployOrder, deploy
from model_platform_core.errors import InUseError, ServerUnavailableError, StorageUnavailableError
from support.altered import program
from support.calls import calling
from support.embedded import notebook
from support.servers import RunningServer, processes_of, wait_until
from support.small_models import PAIR, publish_small
from support.state import gateway_process, runner_processes

MP = Path(sys.executable).with_name("mp")
UNWRITABLE = Path("/sys/kernel/model-platform")  # not even root makes a folder there


@pytest.fixture
def home(tmp_path: Path) -> Iterator[RunningServer]:
    server = RunningServer(tmp_path / "home")
    yield server
    server.stop_all()


def start_server(state: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "model_platform_server", "--state", str(state)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def mp(home: RunningServer, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line, as its owner types it."""
    environment = {name: value for name, value in home.environment.items() if name not in ("MP_SERVER", "MP_TOKEN")}
    environment["MP_HOME"] = str(home.state)
    return subprocess.run(
        [MP, *words],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )


# ---------------------------------------------------------------- the state directory


def test_a_state_directory_that_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    server = start_server(UNWRITABLE)
    assert server.returncode == 1
    assert f"{UNWRITABLE} cannot be written" in server.stderr
    assert "MP_HOME" in server.stderr
    assert "Traceback" not in server.stderr
    with (
        pytest.raises(StorageUnavailableError, match=f"{UNWRITABLE} cannot be written") as told,
        notebook(UNWRITABLE, monkeypatch),
    ):
        pass
    assert told.value.hint == "set MP_HOME to a directory that is yours"


def test_a_state_directory_in_use_on_another_host_is_refused_until_that_is_silent(
    home: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.start()
    home.kill()
    path = home.state / "server.json"
    path.write_text(json.dumps(home.discovery | {"host": "elsewhere"}))
    with pytest.raises(InUseError, match="in use by a server on elsewhere"), notebook(home.state, monkeypatch):
        pass
    server = start_server(home.state)
    assert (server.returncode, "in use by a server on elsewhere" in server.stderr) == (1, True), server.stderr
    assert processes_of(home.state) == []
    os.utime(path, (0, 0))
    with notebook(home.state, monkeypatch) as client:
        assert client.me.actor == "alice"


def test_two_servers_never_share_a_state_directory(home: RunningServer) -> None:
    home.start()
    second = start_server(home.state)
    assert (second.returncode, second.stderr) == (1, f"Another server holds {home.state}.\n  mp server status\n")
    assert httpx.get(f"{home.url}/healthz").text == "ok"


def test_a_server_whose_directory_is_removed_ends_and_the_next_one_begins_afresh(
    home: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.start(program=program({"discovery:HEARTBEAT_SECONDS": 0.2}))
    with notebook(home.state, monkeypatch) as client:
        publish_small(client, "churn")
        deploy(client, DeployOrder("churn", access="open"))
        runner = runner_processes(home.state, "churn")
        shutil.rmtree(home.state)
        assert home.ended() == "0"
        publish_small(client, "churn")
        again = deploy(client, DeployOrder("churn", access="open"))
        assert (again.version, again.resource.generation) == (1, 1)
        assert httpx.post(again.url, json=PAIR).json() == [{"prediction": 3.0}]
        assert len(runner_processes(home.state, "churn")) == 1
        assert not any(process.is_running() for process in runner)


# ---------------------------------------------------------------- impostors


class Impostor(BaseHTTPRequestHandler):
    """Answers everything, notes what it is sent; asks `real`, if there is one, what it does not know."""

    heard: ClassVar[list[str]] = []
    real: ClassVar[str] = ""

    def do_GET(self) -> None:
        self.heard.append(f"{self.path} {self.headers}")
        body = urlopen(self.real + self.path).read() if self.real else b'{"proof": "trust me"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_GET  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def impostor(port: int, real: str = "") -> Iterator[tuple[list[str], int]]:
    Impostor.heard, Impostor.real = [], real
    with ThreadingHTTPServer(("127.0.0.1", port), Impostor) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Impostor.heard, server.server_port
        server.shutdown()
        thread.join()


def test_who_has_a_dead_servers_port_gets_no_token(home: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    home.start()
    port = int(home.url.rpartition(":")[2])
    with notebook(home.state, monkeypatch) as client:
        home.kill()
        with impostor(port) as (heard, _):
            assert client.whoami().actor == "alice", "the client has found, or started, another server"
            assert not home.url.endswith(f":{port}")
        with impostor(port) as (heard_by_a_new_client, _), notebook(home.state, monkeypatch):
            pass
    assert home.token not in "".join([*heard, *heard_by_a_new_client])
    assert "authorization" not in "".join(heard).lower()


def test_who_hands_the_challenge_on_to_the_real_server_gets_no_token(
    home: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.start()
    with impostor(0, real=home.url) as (heard, port):
        (home.state / "server.json").write_text(json.dumps(home.discovery | {"url": f"http://127.0.0.1:{port}"}))
        with pytest.raises(ServerUnavailableError), notebook(home.state, monkeypatch):
            pass
    assert any("/proof" in line for line in heard)
    assert home.token not in "".join(heard)


# ---------------------------------------------------------------- one server, of our version


def test_a_server_of_another_version_is_replaced_and_endpoints_answer_on(
    home: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with notebook(home.state, monkeypatch) as client:
        publish_small(client, "churn")
        churn = deploy(client, DeployOrder("churn", access="open"))
    home.start(program=program({"discovery:__version__": "0.0.9"}))
    before = [gateway_process(home.state), *runner_processes(home.state, "churn")]
    with calling(churn.url) as calls, notebook(home.state, monkeypatch) as client:
        assert home.ended() == "0"
        assert home.discovery["version"] == client.me.server_version == "0.1.0"
        assert client.endpoint(churn.ref).status.state == "live"
    assert calls.failures == []
    assert [gateway_process(home.state), *runner_processes(home.state, "churn")] == before


def test_clients_that_start_at_once_make_one_server(home: RunningServer) -> None:
    command = [MP, "server", "start", "--json"]
    environment = home.environment | {"MP_HOME": str(home.state)}
    clients = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    told = [client.communicate(timeout=120) for client in clients]
    assert [client.returncode for client in clients] == [0] * 4, told
    assert len({json.loads(out)["pid"] for out, _ in told}) == 1
    servers = [line for line in processes_of(home.state) if "-m model_platform_server" in line]
    assert len(servers) == 1


# ---------------------------------------------------------------- the command line


def test_status_start_stop_and_doctor_say_what_is_and_end_with_it(home: RunningServer) -> None:
    quiet = mp(home, "server", "status")
    assert (quiet.returncode, "stopped" in quiet.stdout, "mp server start" in quiet.stdout) == (0, True, True)
    assert mp(home, "doctor").returncode == 0
    assert not home.state.exists(), "looking makes nothing"
    assert mp(home, "server", "stop").stdout == "the server does not run\n"

    started = mp(home, "server", "start")
    assert (started.returncode, "live" in started.stdout, home.url in started.stdout) == (0, True, True)
    assert json.loads(mp(home, "server", "status", "--json").stdout)["pid"] == home.discovery["pid"]
    wait_until(home.ready, 60)
    doctor = mp(home, "doctor")
    assert (doctor.returncode, "all is well" in doctor.stdout) == (0, True), doctor.stdout

    stopped = mp(home, "server", "stop")
    assert (stopped.returncode, stopped.stdout) == (0, "the server is stopped; endpoints go on answering\n")
    assert not (home.state / "server.json").exists()
    assert psutil.pid_exists(gateway_process(home.state).pid)
    every = mp(home, "server", "stop", "--all", "--yes")
    assert (every.returncode, every.stdout) == (0, "server, gateway and runners are stopped\n")
    assert processes_of(home.state) == []
    assert mp(home, "server", "stop", "--all", "--yes").returncode == 0, "what is stopped may be stopped again"


# ---------------------------------------------------------------- logs


def test_logs_stay_small_and_what_is_written_is_still_found(
    home: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {"serving:LOG_BYTES": 250, "adapters.local.files:_LOG_BYTES": 5_000}
    home.start(program=program(limits))
    with notebook(home.state, monkeypatch) as client:
        publish_small(client, "churn")
        churn = deploy(client, DeployOrder("churn", access="open"))
        (log,) = (home.state / "local" / "deployments").rglob("runner.log")
        with calling(churn.url):
            wait_until(lambda: log.with_suffix(".log.1").exists(), 60, "the older lines aside")
        wait_until(lambda: log.stat().st_size < 5_000)
        httpx.post(churn.url, json=PAIR, headers={"x-request-id": "after-the-turn"})
        wait_until(lambda: any("after-the-turn" in line.text for line in client.logs(churn.ref, 20)))
    home.start(program=program(limits))
    home.stop()
    server_logs = sorted((home.state / "logs").iterdir())
    assert len(server_logs) == 4
    assert all(path.stat().st_size <= 250 for path in server_logs)
