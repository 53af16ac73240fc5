"""A real platform server in a process of its own, on a state directory of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil

START_SECONDS = 60
HERE = Path(__file__).parents[1]


def wait_until(condition: Callable[[], Any], seconds: float = 30, what: str = "it") -> Any:
    """The first true answer of `condition`; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.02)
    return found


class RunningServer:
    """A server process: started, killed, started again, and everything of it ended at last."""

    def __init__(self, state: Path, **environment: str) -> None:
        self.state = state
        self.environment = {**os.environ, "MP_SERVER_OWNER": "alice", "PYTHONPATH": str(HERE), **environment}
        self.process: subprocess.Popen[bytes] | None = None

    def with_gateway_port(self) -> int:
        """Let the gateway listen on a port of its own, which gateways of other tests do not look for; gives that port."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        folder = self.state / "local" / "gateway"
        for one in (self.state, folder.parent, folder):
            one.mkdir(mode=0o700, exist_ok=True)
        if not (folder / "port").exists():
            (folder / "port").write_text(f"{port}\n")
        return int((folder / "port").read_text())

    def start(self, *arguments: str, program: tuple[str, ...] = ("model_platform_server",)) -> RunningServer:
        """Start it, or a `program` that behaves as one, and wait until it has announced itself."""
        if self.process is not None:
            self._wait()  # somebody else has told it to end
        self.with_gateway_port()
        command = [sys.executable, "-m", *program, "--state", str(self.state), *arguments]
        self.process = subprocess.Popen(
            command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        wait_until(self._announced, START_SECONDS, "the start of the server")
        return self

    def _announced(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.process.stderr and self.process.stderr.read().decode()
        try:
            # The file of a server that was killed may still lie there.
            ours = self.discovery["pid"] == self.process.pid
            return ours and httpx.get(f"{self.url}/healthz").status_code == 200
        except (OSError, ValueError, httpx.TransportError):
            return False

    @property
    def discovery(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.state / "server.json").read_text())
        return found

    @property
    def url(self) -> str:
        return str(self.discovery["url"])

    @property
    def token(self) -> str:
        return (self.state / "token").read_text().strip()

    def client(self, token: str | None = None) -> httpx.Client:
        """A client of `/api/v1`, as the owner or with another token."""
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=60)

    def ready(self) -> bool:
        """Whether everything is up, MLflow too."""
        return httpx.get(f"{self.url}/readyz", timeout=30).status_code == 200

    def ended(self) -> str:
        """Wait for its end; how it ended: `SIGKILL`, or its exit status."""
        self._wait()
        assert self.process is not None
        status = self.process.returncode
        return signal.Signals(-status).name if status < 0 else str(status)

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self._wait()

    def stop(self) -> None:
        """SIGTERM; what is deployed goes on answering."""
        assert self.process is not None
        self.process.terminate()
        self._wait()

    def _wait(self) -> None:
        assert self.process is not None
        self.process.wait(30)
        if self.process.stderr:
            self.process.stderr.close()

    def stop_all(self) -> None:
        """End the server, the gateway and every runner, and see to it that nothing is left."""
        command = [sys.executable, "-m", "model_platform_server", "stop", "--all", "--state", str(self.state)]
        subprocess.run(command, check=True, env=self.environment, timeout=60)
        if self.process is not None and self.process.poll() is None:
            self.stop()
        elif self.process is not None:
            self._wait()
        assert processes_of(self.state) == []


def processes_of(state: Path) -> list[str]:
    """Command lines of the processes that still have to do with a state directory."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        with contextlib.suppress(psutil.Error):
            line = " ".join(process.info["cmdline"] or [])
            if str(state) in line and process.info["status"] != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
                found.append(line)
    return found


@contextlib.contextmanager
def running_server(state: Path, **environment: str) -> Iterator[RunningServer]:
    """A started server; everything of it is ended at the end."""
    server = RunningServer(state, **environment)
    try:
        yield server.start()
    finally:
        server.stop_all()
