"""Load with `wrk`: connections that send the same request again and again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench import machine
from bench.outcomes import Measurement

MISSING = "wrk is not installed, and it makes the load: apt-get install wrk (Debian, Ubuntu), brew install wrk (macOS)"
_WARM_UP = ("-c8", "-d1s")
_UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6}
_SCRIPT = """wrk.method = "POST"
wrk.body = os.getenv("BENCH_BODY")
wrk.headers["Content-Type"] = "application/json"
local token = os.getenv("BENCH_TOKEN")
if token ~= nil then wrk.headers["Authorization"] = "Bearer " .. token end
"""


@dataclass(frozen=True)
class Target:
    """Where to send what, and whose processor time that takes; `processes` is asked at each measurement."""

    name: str
    url: str
    body: Any
    processes: Callable[[], set[int]]
    token: str | None = None


def installed() -> bool:
    """Whether wrk is there."""
    return shutil.which("wrk") is not None


def answer(target: Target) -> Any:
    """The target's answer to one request.

    Raises
    ------
    RuntimeError
        If it is not 200.
    """
    headers = {"Authorization": f"Bearer {target.token}"} if target.token else {}
    got = httpx.post(target.url, json=target.body, headers=headers, timeout=30, trust_env=False)
    if got.status_code != 200:
        raise RuntimeError(f"{target.name} answers {got.status_code}: {got.text[:200]}")
    return got.json()


class Load:
    """wrk against targets on this machine.

    Parameters
    ----------
    folder
        For wrk's script.
    mark
        Where the temporary files of our own processes go; all others are somebody else's.
    seconds
        Of one measurement.
    """

    def __init__(self, folder: Path, mark: Path, seconds: int) -> None:
        self._mark, self._seconds = mark, seconds
        self._script = folder / "load.lua"
        self._script.write_text(_SCRIPT)

    def rate(self, target: Target, connections: int = 32) -> Measurement:
        """Requests per second; microseconds of the target's processor time for each."""
        text, requests, cpu, others = self._run(target, connections)
        return Measurement(_number(r"Requests/sec:\s+([\d.]+)", text), 1e6 * cpu / requests, others)

    def median_latency(self, target: Target) -> Measurement:
        """Microseconds at one connection; half of the answers took less."""
        text, requests, cpu, others = self._run(target, 1)
        found = re.search(r"^\s+50%\s+([\d.]+)(us|ms|s)$", text, re.MULTILINE)
        assert found is not None, text
        return Measurement(float(found[1]) * _UNITS[found[2]], 1e6 * cpu / requests, others)

    def _run(self, target: Target, connections: int) -> tuple[str, int, float, float]:
        self._wrk(target, *_WARM_UP)
        members = target.processes()
        before = machine.processor_seconds(members)
        with machine.Watch(self._mark) as watch:
            text = self._wrk(target, f"-c{connections}", f"-d{self._seconds}s")
        cpu = machine.processor_seconds(members) - before
        if wrong := re.search(r"Non-2xx or 3xx responses: \d+|Socket errors: .*", text):
            raise RuntimeError(f"{target.name}: {wrong[0]}")
        return text, int(_number(r"(\d+) requests in", text)), cpu, watch.others

    def _wrk(self, target: Target, *options: str) -> str:
        body = {"BENCH_BODY": json.dumps(target.body)}
        token = {"BENCH_TOKEN": target.token} if target.token else {}
        command = ["wrk", "-t1", *options, "--latency", "-s", str(self._script), target.url]
        return subprocess.run(
            command,
            env={**os.environ, **body, **token},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        ).stdout


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    assert found is not None, text
    return float(found[1])
