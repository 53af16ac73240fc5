"""The gateway at size: thousands of endpoints in one Envoy, beside an Envoy with one."""

from __future__ import annotations

import http.client
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from bench import machine
from bench.envoys import clusters, endpoint, gateway, route
from bench.figures import ONE_ENDPOINT
from bench.home import Home
from bench.load import Load, Target, answer
from bench.outcomes import Measurement
from bench.workbench import Bench, Found
from model_platform_server.adapters.local.gateway import Gateway

_MANY, _MANY_QUICK = 2000, 200
_ECHO = """
import sys, uvicorn
async def answer(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"[]"})
uvicorn.run(answer, uds=sys.argv[1], access_log=False, log_level="warning", lifespan="off")
"""


def run(bench: Bench) -> None:
    """Measure the group."""
    keys = ("gateway-change", "gateway-p50")
    if not bench.due(*keys):
        return
    home = bench.home("gateway")
    count = _MANY_QUICK if bench.quick else _MANY
    try:
        with _echo(home) as listener:
            bench.progress(f"a gateway with {count} endpoints")
            with (
                gateway(home.folder / "one", listener) as one,
                gateway(home.folder / "many", listener, count) as many,
            ):
                size = Size(bench, home, listener, many, count)
                bench.row(keys[:1], size.change)
                bench.row(keys[1:], lambda: size.latency(one))
    finally:
        home.remove()


class Size:
    """The group's rows."""

    def __init__(self, bench: Bench, home: Home, listener: Path, many: tuple[Gateway, set[int]], count: int) -> None:
        self._bench, self._home, self._listener, self._count = bench, home, listener, count
        self._gateway, self._processes = many
        self._load: Load = bench.load(home)

    def change(self) -> Found:
        """One more endpoint, with its deployment, until it answers."""
        found = self._bench.in_rounds({"one more endpoint": self._one_more})
        return {"gateway-change": self._bench.outcome(found["one more endpoint"])}

    def _one_more(self) -> Measurement:
        number, self._count = self._count, self._count + 1
        wanted = clusters(self._count, self._listener)
        url = f"{self._gateway.url}/{endpoint(number)}"

        def milliseconds() -> float:
            began = time.perf_counter()
            self._gateway.set_clusters(wanted)
            self._gateway.set_route(route(number))
            if _status(url) != 200:
                raise RuntimeError("The change was said to be in force, and is not.")
            return 1000 * (time.perf_counter() - began)

        return self._bench.watched(self._home, milliseconds)

    def latency(self, one: tuple[Gateway, set[int]]) -> Found:
        """p50 at one connection, in the middle of many endpoints and with one alone."""
        alone, processes = one
        targets = [
            Target("ours", f"{self._gateway.url}/{endpoint(self._count // 2)}", [], lambda: self._processes),
            Target(ONE_ENDPOINT, f"{alone.url}/{endpoint(0)}", [], lambda: processes),
        ]
        for target in targets:
            answer(target)
        measures = {target.name: partial(self._load.median_latency, target) for target in targets}
        found = self._bench.in_rounds(measures)
        return {"gateway-p50": self._bench.outcome(found["ours"], found[ONE_ENDPOINT])}


def _status(url: str) -> int:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc, timeout=30)
    try:
        connection.request("POST", address.path, b"[]", {"content-type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()


@contextmanager
def _echo(home: Home) -> Iterator[Path]:
    """What answers for all endpoints: the socket on which it listens."""
    listener = home.folder / "echo"
    process = subprocess.Popen([sys.executable, "-c", _ECHO, str(listener)], stdin=subprocess.DEVNULL)
    try:
        for _ in machine.until(30, "the start of what answers"):
            if listener.exists():
                break
        yield listener
    finally:
        process.terminate()
        process.wait(10)
