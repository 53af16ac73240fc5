"""A user's home of its own for the platform: its embedded server, its gateway, its runners, as users have them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from bench import machine
from model_platform.client import Client
from model_platform.config import Address
from model_platform_core.refs import EndpointRef
from model_platform_core.wire import TokenRequest

_PROGRAMS = Path(sys.executable).parent
_UNWANTED = ("MP_", "JPY_SESSION_NAME", "JUPYTER", "PYTHON", "VIRTUAL_ENV", "MLFLOW_")


class Home:
    """A state directory below `folder`, and what runs from it.

    Models are served from the environment in which they were made: one of their own would be built meanwhile, beside
    what is measured (MP_SERVER_OWN_ENVIRONMENTS=never).
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.state, self.mark = folder, folder / "home", folder / "tmp"
        for one in (self.mark, folder / "work"):
            one.mkdir(parents=True, exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_UNWANTED)}
        self.environment = {
            **kept,
            "MP_HOME": str(self.state),
            "MP_SERVER_OWN_ENVIRONMENTS": "never",
            "TMPDIR": str(self.mark),
            **{name: str(folder / "jupyter") for name in ("IPYTHONDIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")},
            "JUPYTER_CONFIG_DIR": str(folder / "jupyter"),
        }
        # A kernel of this very Python, found wherever other kernels are installed.
        spec = folder / "jupyter" / "kernels" / "python3" / "kernel.json"
        spec.parent.mkdir(parents=True, exist_ok=True)
        launcher = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec.write_text(json.dumps({"argv": launcher, "display_name": "Python 3", "language": "python"}))

    def client(self) -> Client:
        """The client of its owner, for what a cell would be long-winded for; the server is up already."""
        return Client.at(Address(None, "the benchmarks' own home"), self.state)

    def processes(self) -> set[int]:
        """All that was started from here, the server, the gateway and the runners among it."""
        return machine.marked(self.mark)

    def server(self) -> int:
        """The process of the embedded server."""
        return int(json.loads((self.state / "server.json").read_text())["pid"])

    def url(self) -> str:
        """The address of the embedded server."""
        return str(json.loads((self.state / "server.json").read_text())["url"])

    def wait_for_mlflow(self, seconds: float = 120) -> None:
        """Wait until the server has everything up."""
        for _ in machine.until(seconds, "MLflow's start", every=0.01):
            try:
                if httpx.get(f"{self.url()}/readyz", timeout=30, trust_env=False).status_code == 200:
                    return
            except (OSError, ValueError, httpx.TransportError):
                continue

    def runner_files(self, endpoint: str) -> list[Path]:
        """The configuration of each runner of an endpoint."""
        return sorted((self.state / "local" / "deployments").glob(f"*/{endpoint}/*/**/config.json"))

    def runners(self, endpoint: str) -> list[int]:
        """The processes of an endpoint's runners."""
        records = [json.loads(file.with_name("runner.json").read_text()) for file in self.runner_files(endpoint)]
        return [int(record["process"]["pid"]) for record in records if record["process"]]

    def endpoint(self, name: str) -> tuple[str, str]:
        """The address of an endpoint at the gateway, and a token for it."""
        client = self.client()
        try:
            ref = EndpointRef(client.zone, name)
            url = client.endpoint(ref).status.url
            assert url is not None
            return url, client.create_token(TokenRequest(name="bench", endpoint=str(ref))).token
        finally:
            client.close()

    def stop_server(self) -> None:
        """End the server alone."""
        self._mp("server", "stop")

    def end(self) -> None:
        """End all that runs from here."""
        self._mp("server", "stop", "--all", "--yes")

    def remove(self) -> None:
        """End all, and remove the folder."""
        if self.state.exists():
            self.end()
        for pid in self.processes():
            machine.end(pid)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _mp(self, *words: str) -> None:
        command: list[Any] = [_PROGRAMS / "mp", *words]
        subprocess.run(command, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, check=True)
