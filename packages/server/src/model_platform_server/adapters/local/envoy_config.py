"""Envoy's configuration as pure functions: plain values in, documents out.

There are two discovery files: routes, and clusters with their runners. (Not a file of runners for each cluster: Envoy
takes an inotify instance for each file that it watches, of which a user has 128, and ends itself when they run out.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_platform_core.refs import EndpointRef
from model_platform_server.ports import RoutePlan

Document = dict[str, Any]

TYPES = "type.googleapis.com/envoy."
NAME = "mp"
ROUTES_SCOPE, CLUSTERS_SCOPE = f"http.{NAME}.rds.{NAME}", "cluster_manager.cds"
"""Below these names Envoy counts what it took of a discovery file, and what it refused."""


@dataclass(frozen=True)
class GatewayFiles:
    """Where Envoy finds what it is told: discovery files in a folder, its admin on a Unix socket."""

    folder: Path
    admin: Path

    @property
    def bootstrap(self) -> Path:
        """The part that never changes while Envoy runs."""
        return self.folder / "bootstrap.json"

    @property
    def routes(self) -> Path:
        """Which path goes to which cluster."""
        return self.folder / "rds.pb"

    @property
    def clusters(self) -> Path:
        """The deployments and their runners."""
        return self.folder / "cds.pb"


def cluster_name(ref: EndpointRef, deployment: str) -> str:
    """The name of a deployment's cluster; `_` is in no name of ours, so that it separates."""
    return f"{ref.zone}_{ref.name}_{deployment}"


# ---------------------------------------------------------------- clusters


def cluster(name: str, sockets: Iterable[Path]) -> Document:
    """A deployment, and the sockets of its runners that take requests now; with none of them callers get 503.

    Envoy's default of 3 retries at a time loses requests when a runner dies under load. Only what the connection
    shows ejects a runner: a model that answers with errors, or is overloaded, is not dead.
    """
    limits = {"max_retries": 1024, "max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096}
    addresses = [{"endpoint": {"address": {"pipe": {"path": str(socket)}}}} for socket in sockets]
    return {
        "@type": TYPES + "config.cluster.v3.Cluster",
        "name": name,
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": addresses}] if addresses else []},
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {"thresholds": [{"priority": "DEFAULT", **limits}]},
        "outlier_detection": {
            "split_external_local_origin_errors": True,
            "consecutive_local_origin_failure": 3,
            "enforcing_consecutive_5xx": 0,
            "enforcing_consecutive_gateway_failure": 0,
            "enforcing_success_rate": 0,
            "enforcing_local_origin_success_rate": 0,
            "interval": "1s",
            "base_ejection_time": "2s",
            "max_ejection_percent": 50,
        },
    }


# ---------------------------------------------------------------- routes


def route_configuration(matches: Document | bytes) -> Document:
    """The routes of all endpoints, found by their path in one look however many there are.

    Parameters
    ----------
    matches
        What `matches_of` gives for each endpoint, together, or encoded.
    """
    path = {"@type": TYPES + "type.matcher.v3.HttpRequestHeaderMatchInput", "header_name": ":path"}
    tree = {"input": {"name": "path", "typed_config": path}, "prefix_match_map": matches}
    host: Document = {"name": NAME, "domains": ["*"], "retry_policy": _retries()}
    if matches:  # Envoy takes no empty one
        host["matcher"] = {"matcher_tree": tree}
    return {"@type": TYPES + "config.route.v3.RouteConfiguration", "name": NAME, "virtual_hosts": [host]}


def matches_of(plan: RoutePlan, seconds: float) -> Document:
    """The paths of an endpoint: its weighted split, and the private paths that lead to one deployment each.

    Parameters
    ----------
    seconds
        How long a call may take.
    """
    return {"map": {path: _match(path, goal, seconds) for path, goal in _goals(plan)}}


def _goals(plan: RoutePlan) -> Iterable[tuple[str, Document]]:
    for deployment, path in sorted(plan.private.items()):
        yield path, {"cluster": cluster_name(plan.ref, deployment)}
    weights = {name: weight for name, weight in sorted(plan.weights.items()) if weight > 0}
    if weights:
        split = [{"name": cluster_name(plan.ref, name), "weight": weight} for name, weight in weights.items()]
        yield f"/{plan.ref.zone}/{plan.ref.name}", {"weighted_clusters": {"clusters": split}}


def _match(path: str, goal: Document, seconds: float) -> Document:
    """The longest prefix decides, and separated: `/z/churn` and `/z/churn/…`, never `/z/churn2`.

    All paths have two parts; the runner sees what is behind them. One pattern of plain letters does for all: Envoy
    compiles it for each route, and half as long if it were to know every letter there is.
    """
    action = {
        **goal,
        "regex_rewrite": {"pattern": {"regex": "^/[!-.0-~]+/[!-.0-~]+/?"}, "substitution": "/"},
        "timeout": f"{seconds:g}s",
    }
    route = {
        "@type": TYPES + "config.route.v3.Route",
        "match": {"path_separated_prefix": path},
        "route": action,
    }
    return {"action": {"name": "route", "typed_config": route}}


def _retries() -> Document:
    """A prediction may be asked twice: `reset` covers the request that a runner held when it died.

    Not more often than twice: a request that kills whoever answers it is not to end every replica. And elsewhere: a dead
    runner has the fewest requests, so it is chosen again and again, and it takes many choices to come past it.
    """
    previous = TYPES + "extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    return {
        "retry_on": "connect-failure,refused-stream,reset-before-request,reset",
        "num_retries": 2,
        "host_selection_retry_max_attempts": "64",
        "retry_host_predicate": [
            {"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": {"@type": previous}}
        ],
    }


# ---------------------------------------------------------------- bootstrap


def bootstrap(files: GatewayFiles, port: int, *, connections: int, server: str) -> Document:
    """The static part: one listener on loopback, the admin on a Unix socket, the files to watch.

    Parameters
    ----------
    connections
        How many callers may be connected at once.
    server
        What answers say in their `server` header.
    """
    manager = _connection_manager(files, server)
    listener = {
        "name": NAME,
        # Exclusive: with SO_REUSEPORT a second Envoy would share the port, and take half of the calls.
        "enable_reuse_port": False,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
    monitor = TYPES + "extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
    return {
        "node": {"id": NAME, "cluster": NAME},
        "admin": {"address": {"pipe": {"path": str(files.admin), "mode": 0o600}}},
        "dynamic_resources": {"cds_config": _from_file(files.clusters)},
        "static_resources": {"listeners": [listener]},
        "stats_config": {"stats_matcher": {"inclusion_list": {"patterns": _statistics()}}},
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {"@type": monitor, "max_active_downstream_connections": connections},
                }
            ]
        },
    }


def _statistics() -> Sequence[Document]:
    """What we look at. A cluster has a hundred figures by itself: too much for thousands of deployments."""
    prefixes = (f"http.{NAME}.", "cluster_manager.", "listener_manager.", "server.")
    return [*({"prefix": prefix} for prefix in prefixes), {"suffix": ".upstream_rq_active"}]


def _connection_manager(files: GatewayFiles, server: str) -> Document:
    mutation = TYPES + "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
    foreign = [{"remove_on_match": {"key_matcher": {"prefix": prefix}}} for prefix in ("x-mp-", "x-envoy-")]
    router = {"@type": TYPES + "extensions.filters.http.router.v3.Router", "suppress_envoy_headers": True}
    return {
        "@type": TYPES + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": NAME,
        "codec_type": "HTTP1",
        "server_name": server,
        "generate_request_id": False,
        "preserve_external_request_id": True,
        "skip_xff_append": True,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "request_headers_timeout": "10s",
        "early_header_mutation_extensions": [
            {
                "name": "envoy.http.early_header_mutation.header_mutation",
                "typed_config": {"@type": mutation, "mutations": foreign},
            }
        ],
        "local_reply_config": _own_answers(),
        "rds": {"route_config_name": NAME, "config_source": _from_file(files.routes)},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }


def _own_answers() -> Document:
    """What the gateway answers by itself looks like a runner's error."""
    unknown = "No endpoint has this path; paths are /zone/endpoint, and a stopped endpoint has none."
    late = "The endpoint did not answer in time."
    away = "The endpoint has no runner that answers now; try again in a moment."
    server_error = {"comparison": {"op": "GE", "value": {"default_value": 500, "runtime_key": "mp.own_errors"}}}
    retry = {"header": {"key": "retry-after", "value": "1"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    return {
        "mappers": [
            _answer({"response_flag_filter": {"flags": ["NR"]}}, unknown, "endpoint_not_found"),
            _answer({"response_flag_filter": {"flags": ["UT", "SI", "DT"]}}, late, "exceeds_time"),
            {
                **_answer({"status_code_filter": server_error}, away, "unavailable_target"),
                "status_code": 503,
                "headers_to_add": [retry],
            },
        ],
        "body_format": _error("The gateway cannot read this request.", "invalid_request"),
    }


def _answer(matching: Mapping[str, Any], message: str, code: str) -> Document:
    return {"filter": dict(matching), "body_format_override": _error(message, code)}


def _error(message: str, code: str) -> Document:
    return {"json_format": {"error": message, "code": code}}


def _from_file(path: Path) -> Document:
    return {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}
