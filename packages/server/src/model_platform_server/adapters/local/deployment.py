"""A deployment: its plan, its runners, and which of them the gateway sends requests to."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import TypeAdapter

from model_platform_server.adapters.local import files, processes
from model_platform_server.adapters.local.envoy_config import cluster_name
from model_platform_server.adapters.local.processes import ProcessIdentity
from model_platform_server.adapters.local.runner import Runner, Surroundings, runner_digest
from model_platform_server.ports import Observation, RunnerPlan, RunnerState

_plan = TypeAdapter(RunnerPlan)
_PLAN_FILE = "plan.json"


def read_plan(folder: Path) -> RunnerPlan | None:
    """The plan that an earlier server wrote; None if there is none that can be read."""
    with contextlib.suppress(ValueError):
        text = files.read(folder / _PLAN_FILE)
        return _plan.validate_json(text) if text else None
    return None


class Deployment:
    """Runs the replicas of a plan.

    Parameters
    ----------
    folder
        Holds the plan and a folder for each runner.
    plan
        What is to run.
    """

    def __init__(self, folder: Path, plan: RunnerPlan, around: Surroundings) -> None:
        self.lock = threading.RLock()
        self.leaving = False
        self.sent: tuple[Path, ...] = ()
        self._folder = folder
        self._around = around
        self.plan = plan
        self.runners = [Runner(path.parent, plan, around) for path in sorted(folder.glob("*/runner.json"))]
        self._complete()

    @property
    def cluster(self) -> str:
        """Its name in the gateway."""
        return cluster_name(self.plan.ref, self.plan.deployment.name)

    # ---------------------------------------------------------------- what is asked of it

    def run(self, plan: RunnerPlan) -> None:
        """Run this plan from now on; runners that serve it alike go on, others are replaced one for one."""
        if plan != self.plan or not (self._folder / _PLAN_FILE).exists():
            files.private_folder(self._folder)
            files.replace(self._folder / _PLAN_FILE, _plan.dump_json(plan).decode())
            self.plan = plan
        self._complete()

    def forget_failures(self) -> None:
        """Try again what was given up: somebody asks for it anew."""
        for runner in [one for one in self.runners if one.record.failure is not None]:
            runner.forget()
            self.runners.remove(runner)
        self._complete()

    def adopt(self, found: Mapping[str, list[ProcessIdentity]]) -> None:
        """Take over the processes that an earlier server started, by their configuration files."""
        for runner in self.runners:
            runner.adopt(found.get(str(runner.configuration_file), []))

    # ---------------------------------------------------------------- what it does

    def step(self, now: float, may_start: Callable[[], bool]) -> None:
        """Do what is due for every runner."""
        for runner in self.runners:
            runner.step(now, may_start)

    def sockets(self) -> tuple[Path, ...]:
        """Where requests are to go: to those that serve the plan, and until all of them answer, to those before."""
        current = self._current()
        if not all(runner.answers for runner in current):
            current = list(self.runners)
        return tuple(runner.socket for runner in current if runner.answers)

    def release(self, now: float) -> None:
        """Let those runners go that the gateway sends nothing to and the plan does not need."""
        current = self._current()
        complete = all(runner.answers for runner in current)
        for runner in [one for one in self.runners if one not in current]:
            if runner.socket not in self.sent and (complete or not runner.answers):
                runner.leave(now)
            if runner.gone:
                runner.forget()
                self.runners.remove(runner)

    def look_after(self, now: float) -> None:
        """Memory and signs of life of every runner."""
        for runner in self.runners:
            runner.look_after(now)

    def end(self, grace: float) -> None:
        """End all runners and forget the deployment."""
        found = [runner.record.process for runner in self.runners if runner.record.process is not None]
        processes.end(found, grace)
        for runner in self.runners:
            runner.forget()
        shutil.rmtree(self._folder, ignore_errors=True)

    def observation(self) -> Observation:
        """What callers get: ready as soon as one replica answers; failed when none does and none will."""
        current = self._current()
        ready = sum(runner.answers and runner.socket in self.sent for runner in current)
        failures = [runner.record.failure for runner in current if runner.record.failure is not None]
        state = RunnerState.READY if ready else RunnerState.FAILED if failures else RunnerState.STARTING
        restarts = sum(runner.record.restarts for runner in current)
        return Observation(state, ready, restarts, failures[0] if failures else None)

    def _complete(self) -> None:
        """A runner for each replica of the plan."""
        there = {runner.id: runner for runner in self.runners}
        for name in self._wanted():
            if name in there:
                there[name].plan = self.plan
            else:
                self.runners.append(Runner(self._folder / name, self.plan, self._around))

    def _current(self) -> list[Runner]:
        wanted = self._wanted()
        return [runner for runner in self.runners if runner.id in wanted]

    def _wanted(self) -> list[str]:
        digest = runner_digest(self.plan)
        return [f"{digest}-{number}" for number in range(self.plan.deployment.replicas)]
