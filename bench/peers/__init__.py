"""Whom ours is measured against: servers in an environment of their own, each with one model."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from uv import find_uv_bin

from bench import machine
from bench.envoys import endpoint, gateway
from bench.load import Target, answer
from model_platform_server.adapters.local.processes import thread_environment

_HERE = Path(__file__).parent
_START_SECONDS = 120
_MODEL = "model"


class Peers:
    """The environment of the peers, made from its lock when it is first needed, and the servers started from it.

    Parameters
    ----------
    folder
        Where the environment lies, and what the servers write.
    lock
        What is in it.
    mark
        Where temporary files go.
    """

    def __init__(self, folder: Path, lock: Path, mark: Path) -> None:
        self._folder, self._lock, self._mark = folder, lock, mark
        self._programs = folder / "environment" / "bin"

    def make(self, tell: Callable[[str], None]) -> None:
        """Make the environment, unless it is that of the lock already."""
        digest, noted = hashlib.sha256(self._lock.read_bytes()).hexdigest(), self._folder / "lock.sha256"
        if noted.is_file() and noted.read_text() == digest:
            return
        tell("making the peers' environment (once)")
        environment = self._folder / "environment"
        shutil.rmtree(environment, ignore_errors=True)
        _uv("venv", "--quiet", "--python", sys.executable, environment)
        python = environment / "bin" / "python"
        _uv("pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", self._lock)
        noted.write_text(digest)

    @contextmanager
    def kserve(self, name: str, kind: str, path: Path, body: Any, *options: str) -> Iterator[Target]:
        """KServe's server with a model; `kind` is `joblib`, `booster` or `pyfunc`."""
        port = machine.free_port()
        program = [self._programs / "python", _HERE / "kserve_server.py", "--kind", kind, "--path", path]
        given = ["--model_name", _MODEL, "--http_port", port, "--enable_grpc", "false", *options]
        with self._running(
            name, [*program, *given], f"http://127.0.0.1:{port}/v1/models/{_MODEL}:predict", body
        ) as found:
            yield found

    @contextmanager
    def kserve_behind(self, name: str, path: Path, body: Any, folder: Path) -> Iterator[Target]:
        """KServe's server with what joblib dumped, behind a gateway of its own in `folder`."""
        folder.mkdir(mode=0o700, parents=True)
        listener = folder / "kserve"
        options = ["--kind", "joblib", "--path", path, "--model_name", _MODEL, "--enable_grpc", "false"]
        command = [self._programs / "python", _HERE / "kserve_server.py", *options, "--unix-socket", listener]
        with gateway(folder, listener) as (envoy, processes):
            url = f"{envoy.url}/{endpoint(0)}/v1/models/{_MODEL}:predict"
            with self._running(name, command, url, body) as found:
                yield replace(found, processes=lambda: found.processes() | processes)

    @contextmanager
    def mlflow(self, name: str, path: Path, body: Any) -> Iterator[Target]:
        """`mlflow models serve` with a folder of MLflow's."""
        port = machine.free_port()
        command = [self._programs / "mlflow", "models", "serve", "--env-manager", "local", "-m", path, "-p", port]
        with self._running(name, command, f"http://127.0.0.1:{port}/invocations", body) as found:
            yield found

    @contextmanager
    def starlette(self, name: str, path: Path, body: Any) -> Iterator[Target]:
        """Bare Starlette with a model that joblib dumped."""
        port = machine.free_port()
        command = [self._programs / "python", _HERE / "starlette_server.py", path, port]
        with self._running(name, command, f"http://127.0.0.1:{port}/v1/models/{_MODEL}:predict", body) as found:
            yield found

    @contextmanager
    def _running(self, name: str, command: list[Any], url: str, body: Any) -> Iterator[Target]:
        """A server, once it answers; with one thread for numerical libraries, as our runners have."""
        environment = {
            "PATH": f"{self._programs}:{os.environ['PATH']}",
            "HOME": os.environ.get("HOME", "/"),
            "TMPDIR": str(self._mark),
            **thread_environment(1),
        }
        log = self._folder / f"{Path(command[0]).name}-{machine.free_port()}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(word) for word in command],
                env=environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            target = Target(name, url, body, lambda: machine.family(process.pid))
            _wait(target, process, log)
            yield target
        finally:
            _end(process)
            log.unlink(missing_ok=True)


def _wait(target: Target, process: subprocess.Popen[bytes], log: Path) -> None:
    last = ""
    try:
        for _ in machine.until(_START_SECONDS, f"the first answer of {target.name}", every=0.1):
            if process.poll() is not None:
                raise RuntimeError(f"{target.name} ended: {log.read_text(errors='replace')[-800:]}")
            try:
                answer(target)
            except httpx.TransportError:
                continue
            except RuntimeError as error:  # it answers, but not yet, or not at all, with 200
                last = str(error)
            else:
                return
    except TimeoutError:
        raise RuntimeError(f"{last}\n{log.read_text(errors='replace')[-800:]}") from None


def _end(process: subprocess.Popen[bytes]) -> None:
    members = machine.family(process.pid)
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in members - {process.pid}:
        if Path(f"/proc/{pid}").exists():
            os.kill(pid, 9)


def _uv(*words: Any) -> None:
    subprocess.run([find_uv_bin(), *map(str, words)], stdin=subprocess.DEVNULL, check=True)
