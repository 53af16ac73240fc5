"""What the gateway makes of paths and headers, and what it answers by itself."""

from __future__ import annotations

import http.client
import json
from pathlib import Path

import httpx
import pytest

from model_platform_core.refs import EndpointRef
from model_platform_server.ports import DeploymentTarget, RoutePlan
from support.servers import wait_until
from targets import models
from targets.harness import REF, bring_up
from targets.models import SavedModel, plan


def _raw(target: DeploymentTarget, path: str) -> tuple[int, dict[str, str]]:
    """Ask for a path exactly as it stands: clients normalise it before they send it."""
    connection = http.client.HTTPConnection(target.gateway_url().removeprefix("http://"), timeout=30)
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    try:
        return response.status, json.loads(body)
    except ValueError:
        return response.status, {}


def test_paths_are_separated_prefixes(target: DeploymentTarget, small: SavedModel) -> None:
    """`churn` never matches `churn2`; a slash or a query string may follow."""
    bring_up(target, plan(small))
    bring_up(target, plan(small, ref=EndpointRef("dev", "churn2"), version=7))
    base = target.gateway_url()
    for path, version in (("/dev/churn", "1"), ("/dev/churn/", "1"), ("/dev/churn?x=1", "1"), ("/dev/churn2", "7")):
        answer = httpx.post(f"{base}{path}", json=[[1, 2]])
        assert (answer.status_code, answer.headers["x-model-version"]) == (200, version)
    for path in ("/dev/churn/schema", "/dev/churn/v2/health/ready?x=/y", "/dev/churn/v2/models/churn"):
        assert httpx.get(f"{base}{path}").status_code == 200
    for path in ("/dev/churn3", "/dev/chur", "/dev", "/", "/prod/churn", "/dev/churnx/schema"):
        status, answer = _raw(target, path)
        assert (status, answer["code"]) == (404, "endpoint_not_found"), path


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/dev/churn/../churn/schema", 200),
        ("//dev///churn//schema", 200),
        ("/dev/other/../churn/schema", 200),
        ("/dev/churn/../../secret", 404),
        ("/dev%2Fchurn/schema", 400),
        ("/dev/churn%2f..%2f..%2fsecret", 400),
        ("/dev/churn%5Cschema", 400),
    ],
)
def test_paths_are_normalised_and_escaped_slashes_refused(
    target: DeploymentTarget, small: SavedModel, path: str, status: int
) -> None:
    bring_up(target, plan(small))
    assert _raw(target, path)[0] == status


def test_the_gateway_is_not_to_be_told_by_headers_and_tells_nothing_of_itself(
    target: DeploymentTarget, small: SavedModel
) -> None:
    url = bring_up(target, plan(small))
    headers = {"X-MP-Variant": "v2", "x-envoy-upstream-rq-timeout-ms": "1", "X-Request-Id": "mine.1"}
    answer = httpx.post(url, json=[[1, 2]], headers=headers)
    assert answer.status_code == 200
    assert answer.headers["x-request-id"] == "mine.1"
    assert answer.headers["server"] == "model-platform"
    assert not [name for name in answer.headers if name.startswith("x-envoy")]


def test_metrics_of_a_runner_are_not_routed(target: DeploymentTarget, small: SavedModel) -> None:
    url = bring_up(target, plan(small))
    assert httpx.get(f"{url}/metrics").status_code == 404
    assert httpx.get(f"{url}/info").status_code == 404


def test_an_endpoint_whose_runners_are_not_ready_is_known_and_says_when_to_come_back(
    target: DeploymentTarget, folder: Path
) -> None:
    slow = models.small(folder, load="time.sleep(600)")
    target.run(plan(slow))
    target.route(RoutePlan(REF, {"v1": 100}))
    refusal = httpx.post(f"{target.gateway_url()}/dev/churn", json=[[1, 2]])
    assert (refusal.status_code, refusal.json()["code"]) == (503, "unavailable_target")
    assert refusal.headers["retry-after"] == "1"
    assert refusal.headers["content-type"] == "application/json"


def test_a_large_body_passes_and_a_larger_one_is_refused_in_words(target: DeploymentTarget, small: SavedModel) -> None:
    url = bring_up(target, plan(small))
    large = json.dumps([[1.5, 2.5]] * 9_000) + " " * (8 << 20)
    with httpx.Client() as client:
        answer = client.post(url, content=large, headers={"content-type": "application/json"})
        assert (answer.status_code, len(answer.json())) == (200, 9_000)
        refusal = client.post(url, content=large * 3, headers={"content-type": "application/json"})
    assert (refusal.status_code, refusal.json()["code"]) == (413, "exceeds_body")
    wait_until(lambda: httpx.post(url, json=[[1, 2]]).status_code == 200)
