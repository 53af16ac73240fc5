"""Gateways as the platform starts them, in front of whatever listens on a Unix socket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import TypeAdapter

from bench import machine
from model_platform_core.refs import EndpointRef
from model_platform_server.adapters.local.envoy_config import cluster_name
from model_platform_server.adapters.local.gateway import Clusters, Gateway
from model_platform_server.ports import RoutePlan

DEPLOYMENT = "v1"
_SECONDS = 35.0  # that a call may take, as in the local target
_plans = TypeAdapter(list[RoutePlan])


def endpoint(number: int) -> EndpointRef:
    """One of many endpoints."""
    return EndpointRef("dev-bench", f"model-{number}")


def clusters(count: int, listener: Path) -> Clusters:
    """A deployment of each of so many endpoints; all are answered by whoever listens there."""
    return {cluster_name(endpoint(number), DEPLOYMENT): (listener,) for number in range(count)}


def route(number: int) -> RoutePlan:
    """All traffic of an endpoint to its deployment."""
    return RoutePlan(endpoint(number), {DEPLOYMENT: 100})


@contextmanager
def gateway(folder: Path, listener: Path, count: int = 1) -> Iterator[tuple[Gateway, set[int]]]:
    """A gateway with so many endpoints, and its processes."""
    for one in (folder, folder / "gateway", folder / "sockets"):
        one.mkdir(mode=0o700, parents=True, exist_ok=True)
    # As an earlier server would have left them, so that they are put in force at once.
    (folder / "gateway" / "routes.json").write_bytes(_plans.dump_json([route(number) for number in range(count)]))
    found = Gateway(folder / "gateway", folder / "sockets", port=machine.free_port(), seconds=_SECONDS)
    bootstrap = str(folder / "gateway" / "bootstrap.json")
    try:
        found.ensure()
        found.set_clusters(clusters(count, listener))
        found.refresh()
        yield found, machine.with_argument(bootstrap, machine.table())
    finally:
        for pid in machine.with_argument(bootstrap, machine.table()):
            machine.end(pid)
