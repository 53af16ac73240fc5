"""Runners as forks of a process that has imported what they need: alike to fresh ones, and apart from each other."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from model_platform_server.adapters.local import processes, sockets
from model_platform_server.adapters.local.processes import ProcessIdentity, alive
from model_platform_server.ports import RunnerPlan, RunnerState
from support.servers import wait_until
from targets import models
from targets.harness import PATIENCE, REF, LocalHarness, bring_up, maintained, settled
from targets.models import SavedModel, plan

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="fork servers are for Linux")

PAIR = [[1, 2]]


def fork_servers(harness: LocalHarness) -> list[ProcessIdentity]:
    """Those that run."""
    records = harness.state.glob("fork-servers/*/process.json")
    found = [ProcessIdentity.model_validate(json.loads(path.read_text())["process"]) for path in records]
    return [process for process in found if alive(process)]


def fork_server(harness: LocalHarness) -> ProcessIdentity:
    """The only one."""
    (found,) = fork_servers(harness)
    return found


def starts(harness: LocalHarness, deployment: str) -> list[str]:
    """How the runners of a deployment were started, the last time that each was."""
    logs = sorted((harness.state / "deployments" / str(REF) / deployment).glob("*/runner.log"))
    events = [[json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")] for log in logs]
    return [[event["start"] for event in each if event["event"] == "loading"][-1] for each in events]


def ask(harness: LocalHarness, deployment: str) -> list[object]:
    """What each runner of a deployment answers."""
    files = sorted((harness.state / "deployments" / str(REF) / deployment).glob("*/config.json"))
    places = [Path(json.loads(file.read_text())["socket"]) for file in files]
    headers = {"content-type": "application/json"}
    answers = [sockets.post(place, "/", json.dumps(PAIR), headers, timeout=10) for place in places]
    assert [status for status, _ in answers] == [200] * len(answers), answers
    return [json.loads(text)[0]["prediction"] for _, text in answers]


def open_there(pid: int) -> set[str]:
    """What a process has open beside files and devices: sockets, pipes and the like, each by its own number."""
    links = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]
    return {link for link in links if not link.startswith("/") and not link.startswith("anon_inode:[eventp")}


def looks_into(wanted: RunnerPlan, folder: Path) -> RunnerPlan:
    """The same plan, made where Python looks into a folder as well."""
    assert wanted.environment is not None
    return replace(wanted, environment=wanted.environment.model_copy(update={"paths": (str(folder),)}))


def test_runners_of_one_environment_are_forks_of_one_process_and_look_like_fresh_ones(
    harness: LocalHarness, small: SavedModel
) -> None:
    bring_up(harness.target, plan(small, replicas=2), plan(small, "v2", version=2))
    server = psutil.Process(fork_server(harness).pid)
    runners = [psutil.Process(one.pid) for name in ("v1", "v2") for one in harness.processes(REF, name)]
    assert starts(harness, "v1") + starts(harness, "v2") == ["fork"] * 3
    for runner in runners:
        folder = Path(runner.cwd()).parent
        assert runner.ppid() == server.pid
        assert os.getsid(runner.pid) == runner.pid
        assert [argument for argument in runner.cmdline() if argument][-1] == str(folder / "config.json")
        assert [argument for argument in runner.cmdline() if argument][:-1] == server.cmdline()[:-5]
        assert runner.environ() == server.environ()
        assert {Path(f"/proc/{runner.pid}/fd/{number}").resolve() for number in (0, 1, 2)} == {Path(os.devnull)}
    door, *others = open_there(server.pid)
    assert all(open_there(one.pid).isdisjoint({door, *others}) for one in runners)
    assert not any("pidfd" in link for one in runners for link in open_there(one.pid))


def test_each_draws_random_numbers_of_its_own(harness: LocalHarness, folder: Path) -> None:
    predict = "import random; return numpy.full(len(rows), numpy.random.random() + random.random())"
    bring_up(harness.target, plan(models.small(folder, predict), replicas=3))
    assert starts(harness, "v1") == ["fork"] * 3
    assert len(set(map(str, ask(harness, "v1")))) == 3


def test_modules_of_one_model_are_not_those_of_another(harness: LocalHarness, small: SavedModel, folder: Path) -> None:
    """Both call theirs `behaviour`."""
    other = models.small(folder, "return rows.prod(axis=1)", load="numpy.float64 = numpy.behaviour = None")
    bring_up(harness.target, plan(other, version=2))
    bring_up(harness.target, plan(small, "v2"))
    assert (ask(harness, "v1"), ask(harness, "v2")) == ([2.0], [3.0])
    assert starts(harness, "v2") == ["fork"]


def test_runners_outlive_their_fork_server_and_the_next_start_gets_another(
    harness: LocalHarness, small: SavedModel
) -> None:
    bring_up(harness.target, plan(small, replicas=2))
    before, runners = fork_server(harness), harness.runners(REF, "v1")
    os.kill(before.pid, signal.SIGKILL)
    wait_until(lambda: not alive(before))
    with maintained(harness.target):
        harness.kill_runner(REF, "v1")
        wait_until(lambda: len(set(harness.runners(REF, "v1"))) == 2 and harness.runners(REF, "v1") != runners)
        assert settled(harness.target, plan(small, replicas=2)).ready_replicas == 2
    assert len(set(runners) & set(harness.runners(REF, "v1"))) == 1
    assert starts(harness, "v1") == ["fork", "fork"]
    assert fork_server(harness) != before


def test_where_a_fork_server_hangs_a_fresh_process_does_it(tmp_path: Path, small: SavedModel) -> None:
    harness = LocalHarness(tmp_path / "state", replace(PATIENCE, fork=0.2))
    try:
        bring_up(harness.target, plan(small))
        hanging = fork_servers(harness)
        for one in hanging:
            os.kill(one.pid, signal.SIGSTOP)
        bring_up(harness.target, plan(small, "v2", version=2))
        assert starts(harness, "v2") == ["fresh"]
        assert ask(harness, "v2") == [3.0]
        assert not any(map(alive, hanging))
    finally:
        harness.end()


THREAD = "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"


@pytest.mark.parametrize("code", [THREAD, "1 / 0"])
def test_libraries_that_cannot_be_shared_are_imported_by_each_runner_alone(
    harness: LocalHarness, folder: Path, tmp_path: Path, code: str
) -> None:
    place = tmp_path / "modules"
    place.mkdir()
    (place / "cloudpickle.py").write_text(code)
    made = models.small(folder)
    unfit = looks_into(plan(SavedModel(made.directory, models.installed("numpy", "cloudpickle"))), place)
    bring_up(harness.target, unfit)
    bring_up(harness.target, replace(unfit, deployment=unfit.deployment.model_copy(update={"name": "v2"})))
    assert starts(harness, "v1") + starts(harness, "v2") == ["fresh", "fresh"]
    assert ask(harness, "v2") == [3.0]
    wait_until(lambda: not fork_servers(harness), what="the end of the fork server")


def test_what_was_installed_meanwhile_is_what_the_next_runner_imports(
    harness: LocalHarness, small: SavedModel, tmp_path: Path
) -> None:
    place = tmp_path / "modules"
    place.mkdir()
    bring_up(harness.target, looks_into(plan(small), place))
    before, runners = fork_server(harness), harness.runners(REF, "v1")
    (place / "installed.py").write_text("")
    bring_up(harness.target, looks_into(plan(small, "v2", version=2), place))
    after = fork_server(harness)
    assert after != before
    assert starts(harness, "v2") == ["fork"]
    assert harness.runners(REF, "v1") == runners


def test_the_next_server_orders_from_the_same_fork_server(harness: LocalHarness, small: SavedModel) -> None:
    bring_up(harness.target, plan(small))
    before = fork_server(harness)
    target = harness.another()
    bring_up(target, plan(small, "v2", version=2))
    assert fork_server(harness) == before
    assert starts(harness, "v2") == ["fork"]
    assert psutil.Process(harness.processes(REF, "v2")[0].pid).ppid() == before.pid


def test_a_fork_server_that_nobody_noted_is_replaced(harness: LocalHarness, small: SavedModel) -> None:
    bring_up(harness.target, plan(small))
    before = fork_server(harness)
    (record,) = harness.state.glob("fork-servers/*/process.json")
    record.unlink()
    bring_up(harness.another(), plan(small, "v2", version=2))
    assert not alive(before)
    assert starts(harness, "v2") == ["fork"]


def test_runners_that_end_leave_no_zombies(harness: LocalHarness, small: SavedModel) -> None:
    bring_up(harness.target, plan(small, replicas=2))
    first, second = harness.processes(REF, "v1")
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(first.pid))
    harness.target.remove(REF, "v1")
    wait_until(lambda: not psutil.pid_exists(second.pid))
    assert fork_server(harness)


def test_a_start_that_is_not_wanted_any_more_does_not_come_later(harness: LocalHarness, small: SavedModel) -> None:
    bring_up(harness.target, plan(small))
    server = fork_server(harness)
    os.kill(server.pid, signal.SIGSTOP)
    harness.target.run(plan(small, "v2", version=2))
    harness.target.remove(REF, "v2")
    os.kill(server.pid, signal.SIGCONT)
    bring_up(harness.target, plan(small, "v3", version=3))  # after what came before it
    assert starts(harness, "v3") == ["fork"]
    children = psutil.Process(server.pid).children()
    wait_until(lambda: len([one for one in children if one.is_running() and one.status() != "zombie"]) == 2)


def test_other_numbers_of_threads_are_another_fork_server(harness: LocalHarness, small: SavedModel) -> None:
    bring_up(harness.target, plan(small))
    bring_up(harness.target, plan(small, "v2", version=2, cpu=2))
    (runner,) = harness.processes(REF, "v2")
    assert psutil.Process(runner.pid).environ()["OMP_NUM_THREADS"] == "2"
    assert starts(harness, "v2") == ["fork"]
    assert len(fork_servers(harness)) == 2


def test_a_fork_server_ends_when_it_has_nothing_to_do(tmp_path: Path, small: SavedModel) -> None:
    harness = LocalHarness(tmp_path / "state", replace(PATIENCE, idle=0.2))
    try:
        bring_up(harness.target, plan(small))
        server = fork_server(harness)
        harness.target.remove(REF, "v1")
        wait_until(lambda: not alive(server))
    finally:
        harness.end()


def test_everything_ends(harness: LocalHarness, small: SavedModel) -> None:
    bring_up(harness.target, plan(small, replicas=2), plan(small, "v2", version=2, cpu=2))
    found = [*fork_servers(harness), *harness.processes(REF, "v1"), *harness.processes(REF, "v2")]
    assert len(found) == 5
    harness.end()
    assert not any(map(alive, found))
    assert processes.running(f"{harness.state}/") == {}


def test_whoever_waits_is_told_when_a_runner_is_ready_and_when_it_ends(
    harness: LocalHarness, small: SavedModel
) -> None:
    wanted = plan(small)
    harness.target.prepare(wanted, lambda _words: None)
    harness.target.run(wanted)
    looks = _looks_until(harness, RunnerState.READY)
    harness.kill_runner(REF, "v1")
    assert looks + _looks_until(harness, RunnerState.STARTING) < 20


def _looks_until(harness: LocalHarness, state: RunnerState) -> int:
    """How often is looked, where one look follows another only when something has happened."""
    looks = 1
    while harness.target.observe(REF)["v1"].state is not state:
        harness.target.wait(REF, 60)
        looks += 1
    return looks


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a test puts a model of its own; it is not there yet."""
    return tmp_path / "model"
