"""From a borrowed environment to a model's own: in the background, beside what answers, and never on a guess."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from model_platform_core.deployments import Failure
from model_platform_core.wire import EnvironmentState
from model_platform_server.adapters.local import metrics, sockets
from model_platform_server.adapters.local.settings import EnvironmentPolicy
from model_platform_server.ports import Observation, RunnerPlan, RunnerState
from support.servers import wait_until
from targets import index, models
from targets.harness import REF, LocalHarness, bring_up, maintained
from targets.load import load
from targets.models import SavedModel, installed

SOON = EnvironmentPolicy(after=0.0, first_pause=0.2, longest_pause=0.5)
PAIR = [[1, 2]]


@pytest.fixture
def moving(tmp_path: Path) -> Iterator[LocalHarness]:
    """A local target that builds environments as soon as a deployment answers."""
    made = LocalHarness(tmp_path / "state", policy=SOON)
    try:
        yield made
    finally:
        made.end()
        assert list((tmp_path / "state" / "environments").glob(".making-*")) == []


@pytest.fixture
def one_package(monkeypatch: pytest.MonkeyPatch) -> Iterator[index.Index]:
    """An index besides the usual one, which nobody can reach before it is opened."""
    made = index.Index()
    monkeypatch.setenv("UV_INDEX", made.url)
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def helped(tmp_path: Path) -> RunnerPlan:
    """A model that needs the package of that index; the kernel has it in a folder of its own."""
    folder = tmp_path / "user-site"
    for path, text in index.metadata().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    load_it = f"import {index.MODULE}; self.factor = {index.MODULE}.FACTOR"
    model = models.small(tmp_path / "model", "return self.factor * rows.sum(axis=1)", load=load_it)
    plan = models.plan(SavedModel(model.directory, (*installed("numpy"), index.LINE)))
    assert plan.environment is not None
    return replace(plan, environment=plan.environment.model_copy(update={"paths": (str(folder),)}))


def observed(harness: LocalHarness) -> Observation:
    return harness.target.observe(REF)["v1"]


def program(harness: LocalHarness) -> Path:
    (process,) = harness.processes(REF, "v1")
    return Path(psutil.Process(process.pid).cmdline()[0])


def until_successor(harness: LocalHarness) -> None:
    wait_until(lambda: observed(harness).successor, 90, "an environment of its own, and a runner in it")


def test_it_moves_beside_what_answers_and_no_call_is_lost(moving: LocalHarness, small: SavedModel) -> None:
    url = bring_up(moving.target, models.plan(small))
    assert observed(moving).borrowed is not None
    environments = moving.state / "environments"
    with maintained(moving.target), load(url, PAIR) as calls:
        calls.more(20)
        until_successor(moving)
        borrowed, own = sorted(
            moving.processes(REF, "v1"), key=lambda one: _program(one.pid).is_relative_to(environments)
        )
        assert not _program(borrowed.pid).is_relative_to(environments)
        assert moving.target.call_successor(REF, "v1", PAIR, None) == [{"prediction": 3.0}]
        calls.more(20)
        assert _calls_of_successor(moving) == 1, "a call went to a runner that has not proven itself"
        moving.target.take_over(REF, "v1")
        wait_until(lambda: moving.processes(REF, "v1") == [own], 30, "the end of the runner before")
        calls.more(20)
    assert calls.failures == []
    assert observed(moving) == Observation(RunnerState.READY, ready_replicas=1)


def _program(pid: int) -> Path:
    return Path(psutil.Process(pid).cmdline()[0])


def _calls_of_successor(harness: LocalHarness) -> int:
    deployment = harness.target._get(REF, "v1")
    assert deployment is not None
    assert deployment.successor is not None
    return metrics.read_figures(sockets.ask(deployment.successor.control_socket, "/metrics")[1]).calls


def test_what_has_moved_stays_there_under_the_next_server_and_when_its_runner_dies(
    moving: LocalHarness, small: SavedModel
) -> None:
    bring_up(moving.target, models.plan(small))
    with maintained(moving.target):
        until_successor(moving)
        moving.target.take_over(REF, "v1")
        wait_until(lambda: len(moving.processes(REF, "v1")) == 1, 30)
    own = program(moving)
    moving.target.end()
    moving.target = moving.another()
    assert program(moving) == own
    before = moving.processes(REF, "v1")
    moving.kill_runner(REF, "v1")
    with maintained(moving.target):
        wait_until(lambda: moving.processes(REF, "v1") not in ([], before), 30)
        wait_until(lambda: observed(moving).state is RunnerState.READY, 30)
        assert program(moving) == own
    assert moving.target.call(f"/{REF}", PAIR, None) == [{"prediction": 3.0}]


def test_a_server_that_ends_while_a_successor_waits_leaves_it_to_the_next_without_a_call(
    moving: LocalHarness, small: SavedModel
) -> None:
    bring_up(moving.target, models.plan(small))
    with maintained(moving.target):
        until_successor(moving)
    before = moving.processes(REF, "v1")
    moving.target.end()
    moving.target = moving.another()
    with maintained(moving.target):
        until_successor(moving)
        assert moving.processes(REF, "v1") == before
        assert observed(moving).borrowed is not None
        assert observed(moving).ready_replicas == 1


def test_what_waits_and_is_refused_ends_and_what_answered_goes_on(moving: LocalHarness, small: SavedModel) -> None:
    bring_up(moving.target, models.plan(small))
    with maintained(moving.target):
        until_successor(moving)
        borrowed, refused = (
            next(one for one in moving.processes(REF, "v1") if _own(moving, one.pid) is own) for own in (False, True)
        )
        moving.target.refuse_successor(REF, "v1", Failure(code="failed_parity", message="1 of 1 rows differ."))
        wait_until(lambda: refused not in moving.processes(REF, "v1"), 30)
        seen = observed(moving)
        assert (seen.state, seen.successor) == (RunnerState.READY, False)
        assert seen.borrowed is not None
        assert seen.borrowed.reason == "failed_parity"
        assert "1 of 1 rows differ." in seen.borrowed.message
        assert moving.processes(REF, "v1") == [borrowed]


def _own(harness: LocalHarness, pid: int) -> bool:
    return _program(pid).is_relative_to(harness.state / "environments")


def test_a_second_deployment_of_the_same_needs_borrows_nothing(moving: LocalHarness, small: SavedModel) -> None:
    bring_up(moving.target, models.plan(small))
    with maintained(moving.target):
        until_successor(moving)
    bring_up(moving.target, models.plan(small, "v2"))
    assert moving.target.observe(REF)["v2"].borrowed is None


def test_without_the_index_it_stays_borrowed_says_why_and_tries_again(
    moving: LocalHarness, helped: RunnerPlan, one_package: index.Index
) -> None:
    bring_up(moving.target, helped)
    with maintained(moving.target):

        def why() -> str:
            seen = observed(moving).borrowed
            return seen.message if seen is not None and seen.reason == "failed_environment" else ""

        said = wait_until(why, 60)
        assert "cannot be built yet and is tried again: The package index cannot be reached" in said
        (told,) = moving.target.environments()
        assert (told.state, told.used_by) in {
            (EnvironmentState.FAILED, (str(REF),)),
            (EnvironmentState.BUILDING, (str(REF),)),
        }
        assert "cannot be reached" in told.message
        assert moving.target.call(f"/{REF}", PAIR, None) == [{"prediction": 30.0}]
        one_package.open()
        until_successor(moving)
        assert moving.target.call_successor(REF, "v1", PAIR, None) == [{"prediction": 30.0}]


def test_a_build_ends_with_the_server_and_leaves_nothing_half(
    moving: LocalHarness, helped: RunnerPlan, one_package: index.Index
) -> None:
    one_package.open(hang=True)
    bring_up(moving.target, helped)
    with maintained(moving.target):
        assert one_package.asked.wait(60)
        (building,) = (process for process in psutil.process_iter() if _builds(process, moving.state))
        assert building.nice() == 19
    moving.target.end()
    assert not building.is_running() or building.status() == psutil.STATUS_ZOMBIE
    assert list((moving.state / "environments").glob(".making-*")) == []
    assert moving.target.call(f"/{REF}", PAIR, None) == [{"prediction": 30.0}]


def _builds(process: psutil.Process, state: Path) -> bool:
    try:
        return any(part.startswith(f"{state}/environments/.making-") for part in process.cmdline())
    except psutil.Error:
        return False


def test_a_deployment_that_waits_for_its_first_environment_is_let_go_when_the_server_ends(
    moving: LocalHarness, helped: RunnerPlan, one_package: index.Index
) -> None:
    one_package.open(hang=True)
    assert helped.environment is not None
    elsewhere = replace(helped, environment=helped.environment.model_copy(update={"host": "elsewhere"}))
    raised: list[Exception] = []

    def prepare() -> None:
        try:
            moving.target.prepare(elsewhere, lambda _words: None)
        except Exception as error:  # noqa: BLE001 - looked at below
            raised.append(error)

    waiting = threading.Thread(target=prepare)
    waiting.start()
    assert one_package.asked.wait(60)
    moving.target.end()
    waiting.join(10)
    assert [str(error) for error in raised] == ["The server stops; the next one makes the environment."]


def test_the_kernels_environment_goes_before_the_own_one_is_built(
    moving: LocalHarness, helped: RunnerPlan, one_package: index.Index
) -> None:
    """The runner dies, and cannot start where it was: the endpoint tells so, and comes back in its own environment."""
    bring_up(moving.target, helped)
    assert helped.environment is not None
    (folder,) = helped.environment.paths
    with maintained(moving.target):
        for path in Path(folder).glob("*.dist-info/*"):
            path.unlink()
        moving.kill_runner(REF, "v1")
        failure = wait_until(lambda: observed(moving).failure, 60)
        assert failure.code == "failed_environment", failure
        assert "has changed: the model needs helpers-of-mine==1.2, and there is none now." in failure.message
        one_package.open()
        until_successor(moving)
        moving.target.take_over(REF, "v1")
        wait_until(lambda: observed(moving).state is RunnerState.READY, 30)
    assert moving.target.call(f"/{REF}", PAIR, None) == [{"prediction": 30.0}]


def test_an_own_environment_that_was_removed_is_built_again(moving: LocalHarness, small: SavedModel) -> None:
    bring_up(moving.target, models.plan(small))
    with maintained(moving.target):
        until_successor(moving)
        moving.target.take_over(REF, "v1")
        wait_until(lambda: len(moving.processes(REF, "v1")) == 1, 30)
        (one,) = moving.target.environments()
        moving.target._environments.remove(one.key)
        moving.kill_runner(REF, "v1")
        wait_until(lambda: observed(moving).state is not RunnerState.READY, 30)
        wait_until(lambda: observed(moving).state is RunnerState.READY, 90)
    assert moving.target.call(f"/{REF}", PAIR, None) == [{"prediction": 3.0}]


def test_when_more_is_found_that_the_model_needs_it_moves_once_more(moving: LocalHarness, small: SavedModel) -> None:
    """What custom code imports while it answers is found out after the publish; the lock is another one then."""
    plan = models.plan(small)
    bring_up(moving.target, plan)
    with maintained(moving.target):
        until_successor(moving)
        moving.target.take_over(REF, "v1")
        wait_until(lambda: len(moving.processes(REF, "v1")) == 1, 30)
        first = program(moving)
        moving.target.run(replace(plan, environment=models.environment((*small.packages, "iniconfig==2.0.0"))))
        until_successor(moving)
        assert moving.target.prune_environments() == [], "an environment was removed in which a runner runs"
        moving.target.take_over(REF, "v1")
        wait_until(lambda: len(moving.processes(REF, "v1")) == 1, 30)
        assert program(moving) != first
        assert [one.key for one in moving.target.prune_environments()] == [first.parents[1].name]


def test_pruning_removes_what_no_deployment_uses(moving: LocalHarness, small: SavedModel) -> None:
    bring_up(moving.target, models.plan(small))
    with maintained(moving.target):
        until_successor(moving)
        assert moving.target.prune_environments() == []
        (used,) = moving.target.environments()
        assert (used.state, used.used_by, used.packages) == (EnvironmentState.BUILT, (str(REF),), small.packages)
        assert used.bytes > 1 << 20
    moving.target.remove(REF, "v1")
    (unused,) = moving.target.prune_environments()
    assert unused.key == used.key
    assert moving.target.environments() == []
    assert not (moving.state / "environments" / used.key).exists()
