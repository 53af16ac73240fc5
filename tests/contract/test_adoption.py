"""The data plane outlives the server: the next one takes over what runs, and starts what does not."""

from __future__ import annotations

import httpx
import pytest

from model_platform_server.ports import RoutePlan, RunnerState
from support.servers import wait_until
from targets.harness import REF, Harness, bring_up, maintained, settled, wait_for_step
from targets.load import load
from targets.models import SavedModel, plan

PAIR = [[1, 2]]


def test_the_next_server_takes_over_what_runs_and_restarts_nothing(harness: Harness, small: SavedModel) -> None:
    wanted = plan(small, replicas=2)
    url = bring_up(harness.target, wanted)
    before = harness.runners(REF, "v1")
    with load(url, PAIR) as calls:
        calls.more(20)
        target = harness.another()
        with maintained(target):
            assert target.observe(REF)["v1"].ready_replicas == 2
            target.run(wanted)
            target.route(RoutePlan(REF, {"v1": 100}))
            calls.more(100)
            assert harness.runners(REF, "v1") == before
            assert f"{target.gateway_url()}/{REF}" == url
            assert target.metrics(REF).calls >= 120
            target.run(plan(small, "v2", version=2))
            settled(target, plan(small, "v2", version=2))
            target.route(RoutePlan(REF, {"v2": 100}))
            target.remove(REF, "v1")
            calls.more(50)
    assert calls.failures == []
    assert set(calls.answers) == {"1", "2"}


@pytest.mark.parametrize("step", ["begun", "run", "ready", "routed"])
def test_a_server_is_killed_at_any_step_and_the_next_one_goes_on(
    harness: Harness, small: SavedModel, step: str
) -> None:
    wanted = plan(small, replicas=2)
    with harness.drive(wanted) as driver:
        wait_for_step(driver, step)
        driver.kill()
    running = harness.runners(REF, "v1")
    target = harness.another()
    with maintained(target):
        url = bring_up(target, wanted)
        assert httpx.post(url, json=PAIR).json() == [{"prediction": 3.0}]
        now = harness.runners(REF, "v1")
        assert len(now) == 2
        assert set(running) <= set(now)


def test_runners_answer_while_there_is_no_server(harness: Harness, small: SavedModel) -> None:
    with harness.drive(plan(small, replicas=2)) as driver:
        wait_for_step(driver, "routed")
        driver.kill()
    url = f"{harness.another().gateway_url()}/{REF}"
    with load(url, PAIR) as calls:
        calls.more(100)
        harness.kill_runner(REF, "v1")
        calls.more(200)
    assert calls.failures == []


def test_after_everything_has_ended_all_comes_back_at_the_same_address(harness: Harness, small: SavedModel) -> None:
    url = bring_up(harness.target, plan(small))
    before = harness.runners(REF, "v1")
    harness.end()
    target = harness.another()
    with maintained(target):
        wait_until(lambda: target.observe(REF)["v1"].state is RunnerState.READY, 60, "the runner to come back")
        assert httpx.post(url, json=PAIR).json() == [{"prediction": 3.0}]
        assert harness.runners(REF, "v1") != before
