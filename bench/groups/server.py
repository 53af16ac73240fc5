"""The embedded server: started as the client starts it, on a home that has been used before."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from dataclasses import replace

import httpx

from bench import machine
from bench.home import Home
from bench.outcomes import Measurement, exact
from bench.workbench import Bench, Found
from model_platform.embedded.launcher import server_environment

_SECONDS = 120


def run(bench: Bench) -> None:
    """Measure the group."""
    keys = ("server-api", "server-mlflow", "server-memory")
    if not bench.due(*keys):
        return
    home = bench.home("server")
    try:
        home.state.mkdir(mode=0o700)
        bench.progress("the first start of all")
        Start(home).end()
        bench.row(keys, lambda: _starts(bench, home))
    finally:
        home.remove()


class Start:
    """A server that has just been started, with MLflow up; what it took in seconds, and in MB."""

    def __init__(self, home: Home) -> None:
        self._home = home
        began = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "model_platform_server", "--state", str(home.state)],
            env=server_environment(home.environment),
            cwd=home.state,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._wait_for_api()
        self.api = time.perf_counter() - began
        home.wait_for_mlflow(_SECONDS)
        self.mlflow = time.perf_counter() - began
        self.memory = machine.memory(machine.family(self._process.pid))

    def _wait_for_api(self) -> None:
        for _ in machine.until(_SECONDS, "the server's first answer", every=0.005):
            try:
                if self._home.server() != self._process.pid:
                    continue  # what the last one left
                token = (self._home.state / "token").read_text().strip()
                url = f"{self._home.url()}/api/v1/whoami"
                answer = httpx.get(url, headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=30)
                if answer.status_code == 200:
                    return
            except (OSError, ValueError, httpx.TransportError):
                continue

    def end(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(60)


def _starts(bench: Bench, home: Home) -> Found:
    """All three figures come from the same starts."""
    starts: list[Start] = []

    def start() -> float:
        starts.append(Start(home))
        return starts[-1].api

    def measure() -> Measurement:
        found = bench.watched(home, start)
        starts[-1].end()
        return found

    api = bench.in_rounds({"a start": measure})["a start"]
    return {
        "server-api": bench.outcome([replace(one, cpu=None) for one in api]),  # its time is that of a whole start
        "server-mlflow": bench.outcome(
            [replace(one, value=start.mlflow) for one, start in zip(api, starts, strict=True)]
        ),
        "server-memory": exact(statistics.median(start.memory for start in starts)),
    }
