"""Many runners: how fast one more answers, and what it takes of the memory."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

from bench import machine
from bench.figures import of_group
from bench.home import Home
from bench.kernel import Kernel, kernel
from bench.models import PREPARE, SAMPLES
from bench.outcomes import Measurement, exact
from bench.workbench import Bench, Found
from model_platform_core.cards import Resources
from model_platform_core.refs import EndpointRef, ModelRef, VersionRef
from model_platform_core.wire import DeployRequest, TokenRequest
from model_platform_core.zones import Amount, ZoneSpec
from model_platform_server.adapters.local.deployment import read_plan
from model_platform_server.adapters.local.requirements import needs_of

_SIBLINGS, _CALLS = 4, 1000
_MANY, _MANY_CALLS = 200, 20
_FORKS = 10  # of which one measurement is the median
_SMALL = Resources(cpu=0.05, memory=256 << 20)
_ROOM = Amount(cpu=1000, memory=1 << 42, endpoints=10_000)


def run(bench: Bench) -> None:
    """Measure the group."""
    if not bench.due(*(figure.key for figure in of_group("start"))):
        return
    home = bench.home("start")
    with ExitStack() as stack:
        stack.callback(home.remove)
        group = Start(bench, home, stack)
        bench.row(("fork",), group.fork)
        bench.row(("memory-numpy",), lambda: group.memory("regression", "memory-numpy"))
        bench.row(("memory-pandas",), lambda: group.memory("penguins", "memory-pandas"))
        bench.row(("many-answer", "many-memory", "many-p99"), group.many)


@dataclass(frozen=True)
class Endpoint:
    """Where an endpoint answers, a body for it, and a token."""

    host: str
    path: str
    body: bytes
    token: str

    def call(self, connection: http.client.HTTPConnection) -> float:
        """Milliseconds of a call on a connection that is kept.

        Raises
        ------
        RuntimeError
            If the answer is not 200.
        """
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.token}"}
        began = time.perf_counter()
        connection.request("POST", self.path, self.body, headers)
        answer = connection.getresponse()
        text = answer.read()
        passed = 1000 * (time.perf_counter() - began)
        if answer.status != 200:
            raise RuntimeError(f"{self.path} answers {answer.status}: {text[:200]!r}")
        return passed


class Start:
    """The group's rows; models are published from a kernel when a row needs them."""

    def __init__(self, bench: Bench, home: Home, stack: ExitStack) -> None:
        self._bench, self._home = bench, home
        self._kernel = cache(lambda: self._first(stack.enter_context(kernel(home.environment, home.folder / "work"))))
        self._row = cache(self._publish)
        self._token = cache(lambda: home.endpoint("forked")[1])

    def _first(self, found: Kernel) -> Kernel:
        """Has the server started, and its zone room for more than a machine's default."""
        found.run(PREPARE + "import model_platform; model_platform.connect()")
        client = self._home.client()
        try:
            spec = ZoneSpec(owner=client.me.actor, limits=_ROOM)
            client.rest.call("PUT", f"/zones/{client.zone}", json=spec.model_dump(mode="json"))
        finally:
            client.close()
        self._home.wait_for_mlflow()
        return found

    def _publish(self, name: str) -> bytes:
        """Publish a sample; the body of a call."""
        self._bench.progress(f"publishing {name}")
        folder = self._home.folder / "models" / name
        shutil.rmtree(folder, ignore_errors=True)  # what a row left that failed
        folder.mkdir(parents=True)
        printed = self._kernel().run(SAMPLES[name].publish(folder))
        return json.dumps(json.loads(printed.rpartition("ROW ")[2])).encode()

    def _deploy(self, model: str, names: Sequence[str]) -> list[Endpoint]:
        """Deploy a sample under several names, all at once, and wait until all are live."""
        body, client = self._row(model), self._home.client()
        try:
            zone = client.zone
            version = VersionRef(ModelRef(zone, model), 1)
            refs = [EndpointRef(zone, name) for name in names]
            request = DeployRequest(version=str(version), resources=_SMALL)
            asked = [client.deploy(ref, request, None) for ref in refs]
            found = []
            for at, (ref, resource) in enumerate(zip(refs, asked, strict=True)):
                self._bench.progress(f"{model}: {at} of {len(refs)} are live")
                for last in client.follow(resource):
                    live = last
                url = live.status.url
                if live.status.live() is None or url is None:
                    raise RuntimeError(f"{ref} is {live.status.state}: {live.status.message}")
                host, _, path = url.removeprefix("http://").partition("/")
                token = client.create_token(TokenRequest(name="bench", endpoint=str(ref))).token
                found.append(Endpoint(host, f"/{path}", body, token))
            return found
        finally:
            client.close()

    def _stop(self, names: Sequence[str]) -> None:
        """End what runs behind endpoints, so that the next row finds nothing of it."""
        client = self._home.client()
        try:
            for resource in [client.act(EndpointRef(client.zone, name), "stop") for name in names]:
                for _ in client.follow(resource):
                    pass
        finally:
            client.close()

    # ---------------------------------------------------------------- rows

    def fork(self) -> Found:
        """From an order at the fork server to the answer of a runner that came of it."""
        self._deploy("regression", ["forked"])
        self._token()
        with _listener(self._home.folder / "told") as told:
            numbers = count()
            measures = {"forks": lambda: self._bench.watched(self._home, lambda: self._forks(told, numbers))}
            found = self._bench.in_rounds(measures)["forks"]
        self._stop(["forked"])
        each = [Measurement(one.value, (one.cpu or 0) / _FORKS, one.others) for one in found]
        return {"fork": self._bench.outcome(each)}

    def _forks(self, told: socket.socket, numbers: Iterator[int]) -> float:
        return statistics.median(self._fork(told, next(numbers)) for _ in range(_FORKS))

    def _fork(self, told: socket.socket, number: int) -> float:
        """Milliseconds: as the server orders a runner, waits for its word and proves it with a call."""
        configuration, call = self._configure(number, told)
        libraries = self._libraries()
        door = self._door()
        began = time.perf_counter()
        with socket.socket(socket.AF_UNIX) as order:
            order.connect(str(door))
            wanted = {"configuration": str(configuration), "libraries": libraries}
            order.sendall(json.dumps(wanted).encode() + b"\n")
            pid = int(json.loads(order.makefile().readline())["pid"])
            order.sendall(b"\n")
        told.recv(100)
        call()
        passed = 1000 * (time.perf_counter() - began)
        machine.end(pid)
        shutil.rmtree(configuration.parent)
        return passed

    def _libraries(self) -> list[str]:
        """What the server says with an order that the model needs."""
        plan = read_plan(self._home.runner_files("forked")[0].parents[1])
        if plan is None:
            raise RuntimeError("Nobody wrote down what is deployed.")
        return sorted(needs_of(plan).libraries)

    def _door(self) -> Path:
        """Where the fork server takes orders from which the deployed runner comes."""
        local = self._home.state / "local"
        server = machine.table()[self._home.runners("forked")[0]].parent
        for record in (local / "fork-servers").glob("*/process.json"):
            if json.loads(record.read_text())["process"]["pid"] == server:
                return local / "sockets" / f"{record.parent.name}.fork"
        raise RuntimeError("The runner that is deployed comes from no fork server.")

    def _configure(self, number: int, told: socket.socket) -> tuple[Path, Callable[[], None]]:
        """The configuration of the runner that is deployed, with sockets of its own; and a call of it."""
        folder = self._home.folder / "forks" / str(number)
        folder.mkdir(parents=True)
        places = {"socket": str(folder / "calls"), "control_socket": str(folder / "control")}
        document = json.loads(self._home.runner_files("forked")[0].read_text())
        changed = {**document, **places, "supervisor": str(told.getsockname())}
        (folder / "config.json").write_text(json.dumps(changed))
        token, body = self._token(), self._row("regression")
        connection = _UnixConnection(folder / "calls")

        def call() -> None:
            Endpoint("", "/", body, token).call(connection)
            connection.close()

        return folder / "config.json", call

    def memory(self, model: str, key: str) -> Found:
        """By how much the memory of all runners and their fork servers grows with each further runner."""
        names = [f"{model}-{number}" for number in range(_SIBLINGS + 1)]
        _call_often(self._deploy(model, names[:1]))
        alone = self._runners(names[:1])
        _call_often(self._deploy(model, names[1:]))
        together = self._runners(names)
        self._stop(names)
        return {key: exact((together - alone) / _SIBLINGS)}

    def _runners(self, names: Sequence[str]) -> float:
        pids = {pid for name in names for pid in self._home.runners(name)}
        return machine.memory(pids | machine.with_argument("--fork-server", self._home.processes()))

    def many(self) -> Found:
        """Deployments of one small model each, called in turn through the gateway."""
        number = 10 if self._bench.quick else _MANY
        names = [f"small-{at}" for at in range(number)]
        endpoints = self._deploy("regression", names)
        taken: list[list[float]] = []

        def p99() -> float:
            taken.append(_in_turn(endpoints, _MANY_CALLS))
            return statistics.quantiles(taken[-1], n=100)[98]

        found = self._bench.in_rounds({"calls in turn": lambda: self._bench.watched(self._home, p99)})["calls in turn"]
        each = [Measurement(one.value, (one.cpu or 0) / len(taken[0]), one.others) for one in found]
        return {
            "many-answer": exact(100.0 * len(endpoints) / number),
            "many-memory": exact(machine.memory(self._home.processes() - {self._kernel().pid}) / 1000),
            "many-p99": self._bench.outcome(each),
        }


def _call_often(endpoints: list[Endpoint]) -> None:
    _in_turn(endpoints, _CALLS)


def _in_turn(endpoints: list[Endpoint], times: int) -> list[float]:
    """Call all, one after the other, so many times; milliseconds."""
    connection = http.client.HTTPConnection(endpoints[0].host, timeout=60)
    try:
        return [endpoint.call(connection) for _ in range(times) for endpoint in endpoints]
    finally:
        connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


@contextmanager
def _listener(path: Path) -> Iterator[socket.socket]:
    """Where runners tell that they are ready."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as found:
        found.bind(str(path))
        found.settimeout(60)
        yield found
