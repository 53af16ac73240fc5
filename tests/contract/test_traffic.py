"""Traffic on a target: splits, switches, removals and deaths, under callers who lose nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import httpx

from model_platform_server.ports import DeploymentTarget, RoutePlan, RunnerState
from support.servers import wait_until
from targets import models
from targets.harness import REF, Harness, bring_up, settled
from targets.load import load
from targets.models import SavedModel, plan

PAIR = [[1, 2]]


def _versions(url: str, number: int) -> Counter[str]:
    with httpx.Client() as client:
        return Counter(client.post(url, json=PAIR).headers["x-model-version"] for _ in range(number))


def test_a_switch_is_in_force_when_route_returns_and_loses_no_request(
    target: DeploymentTarget, small: SavedModel
) -> None:
    url = bring_up(target, plan(small, "v1"), plan(small, "v2", version=2))
    with load(url, PAIR) as calls:
        for turn in range(20):
            name = f"v{2 - turn % 2}"
            target.route(RoutePlan(REF, {name: 100, f"v{1 + turn % 2}": 0}))
            assert _versions(url, 5) == {name[1]: 5}
            calls.more(30)
    assert calls.failures == []
    assert set(calls.answers) == {"1", "2"}


def test_weights_split_the_calls(target: DeploymentTarget, small: SavedModel) -> None:
    url = bring_up(target, plan(small, "v1"), plan(small, "v2", version=2))
    target.route(RoutePlan(REF, {"v1": 80, "v2": 20}))
    seen = _versions(url, 500)
    assert 50 < seen["2"] < 160  # 100 of 500, give or take 6 standard deviations
    assert sum(seen.values()) == 500


def test_a_private_path_leads_to_its_deployment_alone(target: DeploymentTarget, small: SavedModel) -> None:
    url = bring_up(target, plan(small, "v1"), plan(small, "v2", version=2))
    path = "/.parity/Wq3x_-9"
    target.route(RoutePlan(REF, {"v1": 100}, private={"v2": path}))
    assert _versions(url, 20) == {"1": 20}
    assert _versions(f"{target.gateway_url()}{path}", 20) == {"2": 20}
    assert target.call(path, PAIR, None) == [{"prediction": 3.0}]
    target.route(RoutePlan(REF, {"v1": 100}))
    assert httpx.post(f"{target.gateway_url()}{path}", json=PAIR).status_code == 404


def test_a_deployment_is_removed_while_it_is_called_and_finishes_what_it_holds(
    target: DeploymentTarget, small: SavedModel
) -> None:
    url = bring_up(target, plan(small, "v1", replicas=2), plan(small, "v2", version=2))
    target.route(RoutePlan(REF, {"v1": 50, "v2": 50}))
    with load(url, PAIR) as calls:
        calls.more(200)
        target.route(RoutePlan(REF, {"v2": 100}))
        target.remove(REF, "v1")
        calls.more(200)
    assert calls.failures == []
    assert list(target.observe(REF)) == ["v2"]


def test_a_deployment_with_traffic_is_taken_out_of_the_route_when_it_is_removed(
    target: DeploymentTarget, small: SavedModel
) -> None:
    url = bring_up(target, plan(small, "v1"), plan(small, "v2", version=2))
    target.route(RoutePlan(REF, {"v1": 50, "v2": 50}))
    with load(url, PAIR) as calls:
        calls.more(100)
        target.remove(REF, "v1")
        calls.more(100)
    assert calls.failures == []
    assert _versions(url, 20) == {"2": 20}


def test_one_of_two_runners_dies_and_no_call_is_lost(target: DeploymentTarget, harness: Harness, folder: Path) -> None:
    slow = models.small(folder, f"time.sleep(0.01); {models.SUM}")
    wanted = plan(slow, replicas=2)  # slow enough for a runner to hold requests whenever it dies
    url = bring_up(target, wanted)
    with load(url, PAIR) as calls:
        for number in (0, 1):
            before = set(harness.runners(REF, "v1"))
            calls.more(100)
            harness.kill_runner(REF, "v1", number)
            calls.more(100)
            wait_until(lambda before=before: len(set(harness.runners(REF, "v1")) - before) == 1, what="a new runner")
            assert settled(target, wanted).ready_replicas == 2
            calls.more(100)
    assert calls.failures == []
    assert target.observe(REF)["v1"].restarts == 2


def test_an_only_runner_dies_and_comes_back_and_says_so_meanwhile(
    target: DeploymentTarget, harness: Harness, small: SavedModel
) -> None:
    wanted = plan(small)
    url = bring_up(target, wanted)
    harness.kill_runner(REF, "v1")
    seen = [httpx.post(url, json=PAIR)]

    def answered() -> bool:
        seen.append(httpx.post(url, json=PAIR))
        return seen[-1].status_code == 200

    wait_until(answered, 60, "an answer")
    for refusal in seen[:-1]:
        assert refusal.status_code == 503
        assert refusal.json()["code"] == "unavailable_target"
        assert refusal.headers["retry-after"] == "1"
    assert seen[0].status_code == 503
    observation = settled(target, wanted)
    assert (observation.state, observation.restarts) == (RunnerState.READY, 1)


def test_runners_are_replaced_one_for_one_when_their_plan_changes(
    target: DeploymentTarget, harness: Harness, small: SavedModel
) -> None:
    url = bring_up(target, plan(small))
    before = harness.runners(REF, "v1")
    larger = plan(small, memory=2 << 30)
    with load(url, PAIR) as calls:
        calls.more(50)
        target.run(larger)
        assert settled(target, larger).ready_replicas == 1
        wait_until(lambda: len(harness.runners(REF, "v1")) == 1, what="the end of the runner before")
        calls.more(50)
    assert calls.failures == []
    assert harness.runners(REF, "v1") != before
