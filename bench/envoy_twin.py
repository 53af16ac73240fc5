"""An Envoy as the platform's gateway is, the same program with the same configuration, in front of another server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import machine
from model_platform_core.refs import EndpointRef
from model_platform_server.adapters.local import envoy_config, processes
from model_platform_server.adapters.local.envoy_config import GatewayFiles, cluster_name
from model_platform_server.adapters.local.gateway import Gateway
from model_platform_server.ports import RoutePlan

_REF, _DEPLOYMENT, _SECONDS = EndpointRef("dev-bench", "model"), "v1", 35.0


@contextmanager
def envoy_before(folder: Path, port: int) -> Iterator[tuple[str, set[int]]]:
    """An Envoy that leads to a port of the loopback: the base of the endpoint, and Envoy's processes."""
    for one in (folder, folder / "sockets"):
        one.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = GatewayFiles(folder / "gateway", folder / "sockets" / "gateway.admin")
    gateway = Gateway(found.folder, folder / "sockets", port=machine.free_port(), seconds=_SECONDS)
    cluster = envoy_config.cluster(cluster_name(_REF, _DEPLOYMENT), [Path("/")])
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"] = address
    found.clusters.write_text(json.dumps({"version_info": "1", "resources": [cluster]}))
    try:
        gateway.ensure()
        gateway.set_route(RoutePlan(_REF, {_DEPLOYMENT: 100}))
        running = processes.running(lambda argument: argument == str(found.bootstrap))
        yield f"{gateway.url}/{_REF}", {one.pid for several in running.values() for one in several}
    finally:
        running = processes.running(lambda argument: argument == str(found.bootstrap))
        processes.end([one for several in running.values() for one in several], 1)
