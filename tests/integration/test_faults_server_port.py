"""The embedded server dies and its port becomes somebody else's; the clock is set; its pid is given out again."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from model_platform.embedded.launcher import find
from model_platform_core.errors import ServerUnavailableError
from support.embedded import notebook
from support.servers import RunningServer, running_server


@contextmanager
def impostor(port: int) -> Iterator[list[dict[str, str]]]:
    """Somebody else's HTTP server on a port, friendly to every request. Keeps the headers it got."""
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            seen.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        do_GET = do_PUT = do_POST = answer  # noqa: N815

        def log_message(self, *_arguments: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    with running_server(tmp_path / "home") as found:
        yield found


def test_who_takes_the_port_of_a_dead_server_never_sees_the_token(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with notebook(server.state, monkeypatch) as client:
        url, token = client.rest.url, server.token
        server.kill()
        with impostor(int(url.rpartition(":")[2])) as seen:
            with (
                pytest.raises(ServerUnavailableError, match="not the platform server"),
                client.rest.stream("GET", "/whoami"),
            ):
                pass
            assert client.whoami().actor == "alice"  # from a server that was started beside the impostor
            assert client.rest.url != url
        assert seen
        assert not any("authorization" in headers for headers in seen)
        assert not any(token in value for headers in seen for value in headers.values())


def stop(server: RunningServer) -> None:
    command = [sys.executable, "-m", "model_platform_server", "stop", "--state", str(server.state)]
    subprocess.run(command, check=True, env=server.environment, timeout=60)


def rewrite(server: RunningServer, **changes: object) -> None:
    (server.state / "server.json").write_text(json.dumps(server.discovery | changes))


def test_the_server_is_known_whatever_the_clock_says_and_not_by_its_pid_alone(server: RunningServer) -> None:
    assert server.process is not None
    told = server.discovery
    boot, ticks = told["started"].split(":")
    rewrite(server, started=f"{boot}:{int(ticks) - 1}")
    assert find(server.state) is None
    stop(server)
    assert server.process.poll() is None
    rewrite(server, started=told["started"], start_time=told["start_time"] - 5)
    running = find(server.state)
    assert running is not None
    assert running.discovery.pid == server.process.pid
    stop(server)
    assert server.ended() == "0"
