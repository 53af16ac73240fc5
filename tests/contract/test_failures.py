"""Deployments that do not come up, or do not stay up: each says which, in one sentence, and takes nothing else along."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from model_platform_core.deployments import Failure
from model_platform_server.adapters.local.settings import Patience
from model_platform_server.ports import DeploymentTarget, Observation, RoutePlan, RunnerPlan, RunnerState
from support.servers import wait_until
from targets import models
from targets.harness import PATIENCE, REF, Harness, bring_up, maintained, settled
from targets.models import SavedModel, plan

PAIR = [[1, 2]]


def _failed(target: DeploymentTarget, wanted: RunnerPlan) -> tuple[Observation, Failure]:
    target.prepare(wanted, lambda _words: None)
    target.run(wanted)
    seen = settled(target, wanted)
    assert seen.state is RunnerState.FAILED
    assert seen.failure is not None
    return seen, seen.failure


def test_a_module_that_is_missing_is_named_and_nothing_is_tried_again(target: DeploymentTarget, folder: Path) -> None:
    seen, failure = _failed(target, plan(models.small(folder, load="import module_of_nobody")))
    assert failure.code == "failed_import"
    assert "module_of_nobody" in failure.message
    assert seen.restarts == 0
    assert failure.log_tail


def test_bytes_that_are_not_those_published_are_not_served(
    target: DeploymentTarget, small: SavedModel, folder: Path
) -> None:
    published = plan(small)
    shutil.copytree(small.directory, folder)
    with (folder / "model.pkl").open("ab") as file:
        file.write(b"#")
    seen, failure = _failed(target, replace(published, directory=folder))
    assert failure.code == "failed_integrity"
    assert "model.pkl" in failure.message
    assert seen.restarts == 0


def test_a_model_that_raises_while_it_is_loaded_is_told_by_the_type_alone(
    target: DeploymentTarget, folder: Path
) -> None:
    _, failure = _failed(target, plan(models.small(folder, load="raise KeyError('Simone, 42')")))
    assert failure.code == "failed_start"
    assert "KeyError" in failure.message
    assert "Simone" not in f"{failure.message} {failure.log_tail}"


def test_a_runner_that_always_dies_is_given_up(target: DeploymentTarget, folder: Path) -> None:
    seen, failure = _failed(target, plan(models.small(folder, load="os._exit(7)")))
    assert failure.code == "failed_crash_loop"
    assert "5 times" in failure.message
    assert seen.restarts == 4
    assert any("loading" in line for line in failure.log_tail)


def test_a_runner_that_dies_of_its_calls_is_given_up_and_its_neighbour_is_not(
    target: DeploymentTarget, folder: Path, small: SavedModel
) -> None:
    deadly = plan(models.small(folder, "os._exit(9)"), "v2", version=2)
    url = bring_up(target, plan(small))
    bring_up(target, deadly, route=False)
    path = "/.parity/deadly"
    target.route(RoutePlan(REF, {"v1": 100}, private={"v2": path}))

    def given_up() -> bool:
        httpx.post(f"{target.gateway_url()}{path}", json=PAIR)
        return target.observe(REF)["v2"].state is RunnerState.FAILED

    wait_until(given_up, 60, "the runner to be given up")
    failure = target.observe(REF)["v2"].failure
    assert failure is not None
    assert failure.code == "failed_crash_loop"
    assert httpx.post(url, json=PAIR).json() == [{"prediction": 3.0}]
    assert target.observe(REF)["v1"].restarts == 0


class TestReadiness:
    @pytest.fixture
    def patience(self) -> Patience:
        return replace(PATIENCE, ready=3)

    def test_a_runner_that_is_never_ready_is_given_up(self, target: DeploymentTarget, folder: Path) -> None:
        _, failure = _failed(target, plan(models.small(folder, load="time.sleep(600)")))
        assert failure.code == "failed_readiness"
        assert "3 seconds" in failure.message


class TestSilence:
    @pytest.fixture
    def patience(self) -> Patience:
        return replace(PATIENCE, silence=1)

    def test_a_runner_that_hangs_is_replaced(
        self, target: DeploymentTarget, harness: Harness, small: SavedModel
    ) -> None:
        url = bring_up(target, plan(small))
        before = harness.runners(REF, "v1")
        harness.hang_runner(REF, "v1")
        wait_until(lambda: harness.runners(REF, "v1") not in ([], before), what="another runner")
        assert settled(target, plan(small)).ready_replicas == 1
        assert httpx.post(url, json=PAIR).status_code == 200


def test_a_model_larger_than_its_memory_is_told_so_with_the_line_to_change(
    target: DeploymentTarget, folder: Path
) -> None:
    hungry = models.small(folder, load="self.block = b'x' * (600 << 20); time.sleep(600)")
    seen, failure = _failed(target, plan(hungry, memory=300 << 20))
    assert failure.code == "failed_out_of_memory"
    assert "300 MiB" in failure.message
    assert failure.hint is not None
    assert failure.hint.startswith("%mp_deploy churn:1 --memory ")
    assert seen.restarts == 0


def test_a_runner_that_grows_beyond_its_memory_is_ended_and_after_a_few_times_given_up(
    target: DeploymentTarget, folder: Path
) -> None:
    hungry = models.small(folder, "self.block = b'x' * (600 << 20); return rows.sum(axis=1)")
    url = bring_up(target, plan(hungry, memory=300 << 20))

    def given_up() -> Observation | None:
        httpx.post(url, json=PAIR)
        seen = target.observe(REF)["v1"]
        return seen if seen.state is RunnerState.FAILED else None

    seen: Observation = wait_until(given_up, 60, "the runner to be given up")
    assert seen.failure is not None
    assert seen.failure.code == "failed_out_of_memory"
    assert seen.restarts == 2


def test_what_was_given_up_is_tried_again_when_it_is_prepared_again(harness: Harness, folder: Path) -> None:
    broken = plan(models.small(folder, load=f"assert os.path.exists({str(folder.with_name('repaired'))!r})"))
    with maintained(harness.target):
        _failed(harness.target, broken)
        harness.target.run(broken)
        assert harness.target.observe(REF)["v1"].state is RunnerState.FAILED
        folder.with_name("repaired").touch()
        bring_up(harness.target, broken)
