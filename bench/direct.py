"""A deployment's runner at an address of its own: wrk knows no Unix sockets, and a forwarder would take time itself."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from bench import machine
from bench.home import Home
from bench.load import Target, answer

_START_SECONDS = 60


@contextmanager
def direct(home: Home, endpoint: str, body: Any, token: str) -> Iterator[Target]:
    """A second runner of a deployed endpoint: its command, variables, configuration, files, but on TCP, as in a pod."""
    deployed = home.runner_files(endpoint)[0]
    port = machine.free_port()
    folder = home.folder / "direct" / endpoint
    folder.mkdir(parents=True, exist_ok=True)
    changed = {"socket": f"tcp:127.0.0.1:{port}", "control_socket": str(folder / "control")}
    (folder / "config.json").write_text(json.dumps(json.loads(deployed.read_text()) | changed))
    command, environment = machine.started_with(home.runners(endpoint)[0])
    with (folder / "runner.log").open("wb") as log:
        process = subprocess.Popen(
            [*command[:-1], str(folder / "config.json")],
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}/v1/models/{endpoint}:predict"
    target = Target("ours", url, body, lambda: machine.family(process.pid), token)
    try:
        for _ in machine.until(_START_SECONDS, f"the runner's start ({folder / 'runner.log'})"):
            if process.poll() is not None:
                raise RuntimeError(f"The runner ended: {(folder / 'runner.log').read_text()[-800:]}")
            try:
                answer(target)
                break
            except httpx.TransportError:
                continue
        yield target
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, 9)
            process.wait()
