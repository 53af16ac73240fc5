"""A deployment's runner at an address of its own: wrk knows no Unix sockets, and a forwarder would take time itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from bench import machine
from bench.home import Home
from bench.load import Target, answer
from model_platform_server.adapters.local.overlay import main_file
from model_platform_server.adapters.local.processes import allowed_environment, thread_environment

_START_SECONDS = 60


@contextmanager
def direct(home: Home, endpoint: str, body: Any, token: str) -> Iterator[Target]:
    """A second runner of a deployed endpoint: its configuration, its files, its program, but on TCP, as in a pod."""
    deployed = home.runner_files(endpoint)[0]
    port = machine.free_port()
    folder = home.folder / "direct" / endpoint
    folder.mkdir(parents=True, exist_ok=True)
    changed = {"socket": f"tcp:127.0.0.1:{port}", "control_socket": str(folder / "control")}
    (folder / "config.json").write_text(json.dumps(json.loads(deployed.read_text()) | changed))
    overlays = (home.state / "local" / "overlays").glob("[!.]*")
    overlay = max(overlays, key=lambda one: one.stat().st_mtime)  # the one that is laid over runners now
    with (folder / "runner.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", str(main_file(overlay)), str(folder / "config.json")],
            env={**allowed_environment(), **thread_environment(1), "TMPDIR": str(home.mark)},
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
