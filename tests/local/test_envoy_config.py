"""Envoy's configuration, as whole documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model_platform_core.refs import EndpointRef
from model_platform_server.adapters.local.envoy_config import (
    GatewayFiles,
    bootstrap,
    cluster,
    cluster_name,
    matches_of,
    route_configuration,
)
from model_platform_server.ports import RoutePlan

FILES = GatewayFiles(Path("/state/gateway"), Path("/state/sockets/gateway.admin"))
TYPE = "type.googleapis.com/envoy."
RETRIES = {
    "retry_on": "connect-failure,refused-stream,reset-before-request,reset",
    "num_retries": 2,
    "host_selection_retry_max_attempts": "64",
    "retry_host_predicate": [
        {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {"@type": TYPE + "extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
        }
    ],
}


def _from_file(path: str) -> dict[str, Any]:
    return {"path_config_source": {"path": path}, "resource_api_version": "V3"}


def _route(path: str, goal: dict[str, Any]) -> dict[str, Any]:
    pattern = {"regex": "^/[!-.0-~]+/[!-.0-~]+/?"}
    route = {
        "@type": TYPE + "config.route.v3.Route",
        "match": {"path_separated_prefix": path},
        "route": {**goal, "regex_rewrite": {"pattern": pattern, "substitution": "/"}, "timeout": "35s"},
    }
    return {"action": {"name": "route", "typed_config": route}}


def test_names_of_clusters_cannot_collide() -> None:
    assert cluster_name(EndpointRef("a-b", "c"), "d") == "a-b_c_d"
    assert cluster_name(EndpointRef("a", "b-c"), "d") == "a_b-c_d"


def test_a_deployment_and_its_runners() -> None:
    document = {
        "@type": TYPE + "config.cluster.v3.Cluster",
        "name": "dev_churn_v1",
        "type": "STATIC",
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {
            "thresholds": [
                {
                    "priority": "DEFAULT",
                    "max_retries": 1024,
                    "max_connections": 4096,
                    "max_pending_requests": 4096,
                    "max_requests": 4096,
                }
            ]
        },
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
    pipes = [{"endpoint": {"address": {"pipe": {"path": f"/s/{name}"}}}} for name in "ab"]
    assert cluster("dev_churn_v1", [Path("/s/a"), Path("/s/b")]) == {
        **document,
        "load_assignment": {"cluster_name": "dev_churn_v1", "endpoints": [{"lb_endpoints": pipes}]},
    }
    assert cluster("dev_churn_v1", []) == {
        **document,
        "load_assignment": {"cluster_name": "dev_churn_v1", "endpoints": []},
    }


def test_routes_of_a_split_and_of_a_private_path() -> None:
    plan = RoutePlan(EndpointRef("dev", "churn"), {"v2": 10, "v1": 90, "v0": 0}, private={"v3": "/.parity/a-b_1"})
    split = [{"name": "dev_churn_v1", "weight": 90}, {"name": "dev_churn_v2", "weight": 10}]
    matches = matches_of(plan, 35.0)
    assert matches == {
        "map": {
            "/.parity/a-b_1": _route("/.parity/a-b_1", {"cluster": "dev_churn_v3"}),
            "/dev/churn": _route("/dev/churn", {"weighted_clusters": {"clusters": split}}),
        }
    }
    path = {"@type": TYPE + "type.matcher.v3.HttpRequestHeaderMatchInput", "header_name": ":path"}
    tree = {"input": {"name": "path", "typed_config": path}, "prefix_match_map": matches}
    host = {"name": "mp", "domains": ["*"], "retry_policy": RETRIES, "matcher": {"matcher_tree": tree}}
    assert route_configuration(matches) == {
        "@type": TYPE + "config.route.v3.RouteConfiguration",
        "name": "mp",
        "virtual_hosts": [host],
    }


def test_routes_of_endpoints_without_traffic() -> None:
    assert matches_of(RoutePlan(EndpointRef("dev", "churn"), {"v1": 0}), 35.0) == {"map": {}}
    assert route_configuration(b"")["virtual_hosts"] == [{"name": "mp", "domains": ["*"], "retry_policy": RETRIES}]


def test_the_part_that_never_changes() -> None:
    def error(message: str, code: str) -> dict[str, Any]:
        return {"json_format": {"error": message, "code": code}}

    unknown = "No endpoint has this path; paths are /zone/endpoint, and a stopped endpoint has none."
    away = "The endpoint has no runner that answers now; try again in a moment."
    mutation = TYPE + "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
    router = {"@type": TYPE + "extensions.filters.http.router.v3.Router", "suppress_envoy_headers": True}
    manager = {
        "@type": TYPE + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "mp",
        "codec_type": "HTTP1",
        "server_name": "model-platform",
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
                "typed_config": {
                    "@type": mutation,
                    "mutations": [
                        {"remove_on_match": {"key_matcher": {"prefix": "x-mp-"}}},
                        {"remove_on_match": {"key_matcher": {"prefix": "x-envoy-"}}},
                    ],
                },
            }
        ],
        "local_reply_config": {
            "mappers": [
                {
                    "filter": {"response_flag_filter": {"flags": ["NR"]}},
                    "body_format_override": error(unknown, "endpoint_not_found"),
                },
                {
                    "filter": {"response_flag_filter": {"flags": ["UT", "SI", "DT"]}},
                    "body_format_override": error("The endpoint did not answer in time.", "exceeds_time"),
                },
                {
                    "filter": {
                        "status_code_filter": {
                            "comparison": {
                                "op": "GE",
                                "value": {"default_value": 500, "runtime_key": "mp.own_errors"},
                            }
                        }
                    },
                    "body_format_override": error(away, "unavailable_target"),
                    "status_code": 503,
                    "headers_to_add": [
                        {
                            "header": {"key": "retry-after", "value": "1"},
                            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                        }
                    ],
                },
            ],
            "body_format": error("The gateway cannot read this request.", "invalid_request"),
        },
        "rds": {"route_config_name": "mp", "config_source": _from_file("/state/gateway/rds.pb")},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }
    limit = {
        "@type": TYPE + "extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        "max_active_downstream_connections": 100,
    }
    prefixes = ["http.mp.", "cluster_manager.", "listener_manager.", "server."]
    assert bootstrap(FILES, 8800, connections=100, server="model-platform") == {
        "node": {"id": "mp", "cluster": "mp"},
        "admin": {"address": {"pipe": {"path": "/state/sockets/gateway.admin", "mode": 0o600}}},
        "dynamic_resources": {"cds_config": _from_file("/state/gateway/cds.pb")},
        "static_resources": {
            "listeners": [
                {
                    "name": "mp",
                    "enable_reuse_port": False,
                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": 8800}},
                    "filter_chains": [
                        {
                            "filters": [
                                {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
                            ]
                        }
                    ],
                }
            ]
        },
        "stats_config": {
            "stats_matcher": {
                "inclusion_list": {
                    "patterns": [*({"prefix": one} for one in prefixes), {"suffix": ".upstream_rq_active"}]
                }
            }
        },
        "overload_manager": {
            "resource_monitors": [
                {"name": "envoy.resource_monitors.global_downstream_max_connections", "typed_config": limit}
            ]
        },
    }
