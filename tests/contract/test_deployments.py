"""Deployments on a target: run, ready, routed, called, removed; and every call again, which changes nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from model_platform_core.errors import ReadinessFailedError, TargetUnavailableError
from model_platform_core.refs import EndpointRef
from model_platform_server.ports import DeploymentTarget, RoutePlan, RunnerState
from support.servers import wait_until
from targets.harness import REF, Harness, bring_up, settled
from targets.models import SavedModel, plan

FLOWER = {"sepal length (cm)": 5.1, "sepal width (cm)": 3.5, "petal length (cm)": 1.4, "petal width (cm)": 0.2}


def test_a_real_model_is_run_routed_called_and_removed(target: DeploymentTarget, iris: SavedModel) -> None:
    wanted = plan(iris)
    words: list[str] = []
    target.prepare(wanted, words.append)
    target.run(wanted)
    assert target.observe(REF)["v1"].state in {RunnerState.STARTING, RunnerState.READY}
    assert settled(target, wanted).state is RunnerState.READY
    target.route(RoutePlan(REF, {"v1": 100}))

    assert target.call("/dev/churn", [FLOWER, FLOWER], None) == [{"prediction": 0}, {"prediction": 0}]
    answer = httpx.post(f"{target.gateway_url()}/dev/churn", json=[FLOWER])
    assert answer.status_code == 200
    assert answer.headers["x-model-version"] == "1"

    target.remove(REF, "v1")
    assert target.observe(REF) == {}
    gone = httpx.post(f"{target.gateway_url()}/dev/churn", json=[FLOWER])
    assert (gone.status_code, gone.json()["code"]) == (404, "endpoint_not_found")


def test_every_call_twice_is_as_once(target: DeploymentTarget, harness: Harness, small: SavedModel) -> None:
    wanted = plan(small)
    url = bring_up(target, wanted)
    runners = harness.runners(REF, "v1")
    for _ in range(2):
        target.prepare(wanted, lambda _words: None)
        target.run(wanted)
        target.route(RoutePlan(REF, {"v1": 100}))
        target.revoke([])
        target.maintain()
        assert target.gateway_url() == url.removesuffix(f"/{REF}")
        assert target.call("/dev/churn", [[1, 2]], None) == [{"prediction": 3.0}]
    assert harness.runners(REF, "v1") == runners
    for _ in range(2):
        target.remove(REF, "v1")
        target.route(RoutePlan(REF, {}))
    assert target.observe(REF) == {}
    target.remove(EndpointRef("dev", "never-there"), "v1")


def test_several_endpoints_come_and_go_at_once(target: DeploymentTarget, small: SavedModel) -> None:
    refs = [EndpointRef("dev", f"model-{number}") for number in range(6)]

    def come_and_answer(ref: EndpointRef) -> list[object]:
        bring_up(target, plan(small, ref=ref))
        return target.call(f"/{ref}", [[1, 2]], None)

    with ThreadPoolExecutor(len(refs)) as pool:
        assert list(pool.map(come_and_answer, refs)) == [[{"prediction": 3.0}]] * 6
        assert set(refs) <= target.known()
        list(pool.map(lambda ref: target.remove(ref, "v1"), refs[1:]))
    assert target.known() == {refs[0]}
    assert target.call(f"/{refs[0]}", [[1, 2]], None) == [{"prediction": 3.0}]


def test_maintain_tells_whose_observation_changed(harness: Harness, small: SavedModel) -> None:
    target, wanted = harness.target, plan(small)
    target.prepare(wanted, lambda _words: None)
    target.run(wanted)
    assert target.maintain() == {REF}
    settled(target, wanted)
    assert target.maintain() == {REF}
    assert target.maintain() == set()
    harness.kill_runner(REF, "v1")
    wait_until(lambda: target.maintain() == {REF}, what="the change to be told")


def test_replicas_are_added_and_taken_away(target: DeploymentTarget, harness: Harness, small: SavedModel) -> None:
    url = bring_up(target, plan(small))
    (first,) = harness.runners(REF, "v1")
    for replicas in (3, 1):
        target.run(plan(small, replicas=replicas))
        wait_until(lambda number=replicas: len(harness.runners(REF, "v1")) == number, what=f"{replicas} runners")
        assert settled(target, plan(small, replicas=replicas)).ready_replicas == replicas
        assert first in harness.runners(REF, "v1")
        assert httpx.post(url, json=[[1, 2]]).json() == [{"prediction": 3.0}]


def test_what_is_called_for_its_sample_and_fails_says_its_code_and_no_row(
    target: DeploymentTarget, small: SavedModel
) -> None:
    bring_up(target, plan(small))
    with pytest.raises(ReadinessFailedError, match=r"422 \(invalid_input\)") as refused:
        target.call("/dev/churn", [["Simone", 2]], None)
    assert "Simone" not in str(refused.value)
    with pytest.raises(ReadinessFailedError, match=r"404 \(endpoint_not_found\)"):
        target.call("/dev/nothing", [[1, 2]], None)


def test_traffic_to_a_deployment_that_is_not_there_is_refused(target: DeploymentTarget, small: SavedModel) -> None:
    url = bring_up(target, plan(small))
    with pytest.raises(TargetUnavailableError, match="no deployment v2"):
        target.route(RoutePlan(REF, {"v2": 100}))
    assert httpx.post(url, json=[[1, 2]]).status_code == 200


def test_metrics_and_logs_tell_of_calls_without_their_rows(target: DeploymentTarget, small: SavedModel) -> None:
    url = bring_up(target, plan(small, replicas=2))
    for _ in range(10):
        assert httpx.post(url, json=[[1, 424242], [3, 4]]).status_code == 200
    assert httpx.post(url, json=[["Simone", 2]]).status_code == 422
    found = target.metrics(REF)
    assert (found.calls, found.errors, found.rows, found.by_version) == (11, 0, 20, {"1": 11})
    assert found.calls_per_second > 0
    assert found.p50 is not None
    assert found.p95 is not None
    assert 0 < found.p50 <= found.p95 < 1
    lines = wait_until(lambda: [line for line in target.logs(REF, "v1", 100, False) if '"call"' in line.text])
    assert {line.deployment for line in lines} == {"v1"}
    assert len({line.runner for line in target.logs(REF, None, 100, False)}) == 2
    text = " ".join(line.text for line in target.logs(REF, None, 1000, False))
    assert "424242" not in text
    assert "Simone" not in text
    assert len(list(target.logs(REF, "v1", 1, False))) == 2


def test_logs_are_followed(target: DeploymentTarget, small: SavedModel) -> None:
    url = bring_up(target, plan(small))
    lines = target.logs(REF, None, 0, True)
    httpx.get(f"{url}/schema")
    httpx.post(url, json=[[1, 2]])
    assert any('"call"' in next(lines).text for _ in range(20))
