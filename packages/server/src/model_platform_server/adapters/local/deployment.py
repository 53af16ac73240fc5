"""A deployment: its plan, its runners, and which of them the gateway sends requests to."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import TypeAdapter

from model_platform_core.deployments import Failure
from model_platform_server.adapters.local import files, processes
from model_platform_server.adapters.local.envoy_config import cluster_name
from model_platform_server.adapters.local.processes import ProcessIdentity
from model_platform_server.adapters.local.requirements import Needs, needs_of
from model_platform_server.adapters.local.runner import Runner, Surroundings, runner_digest
from model_platform_server.ports import Observation, RunnerPlan, RunnerState

_plan = TypeAdapter(RunnerPlan)
_PLAN_FILE = "plan.json"
_OWN_FILE = "own-environment"  # is there once the model's own environment has taken over


def read_plan(folder: Path) -> RunnerPlan | None:
    """The plan that an earlier server wrote; None if there is none that can be read."""
    with contextlib.suppress(ValueError):
        text = files.read(folder / _PLAN_FILE)
        return _plan.validate_json(text) if text else None
    return None


class Deployment:
    """Runs the replicas of a plan: in the model's own environment, or in a borrowed one until its own takes over.

    For that, successors come up beside the runners. They get no request before they have taken over.

    Parameters
    ----------
    folder
        Holds the plan and a folder for each runner.
    plan
        What is to run.
    """

    def __init__(self, folder: Path, plan: RunnerPlan, around: Surroundings) -> None:
        self.own = (folder / _OWN_FILE).exists()
        self.refused: Failure | None = None
        self._needs: Needs | None = None
        self.answered_since: float | None = None
        self.lock = threading.RLock()
        self.leaving = False
        self.sent: tuple[Path, ...] = ()
        self._folder = folder
        self._around = around
        self.plan = plan
        self.runners = [Runner(path.parent, plan, around) for path in sorted(folder.glob("*/runner.json"))]
        self._succeeding = not self.own and any(runner.record.own for runner in self.runners)
        self._complete()

    @property
    def cluster(self) -> str:
        """Its name in the gateway."""
        return cluster_name(self.plan.ref, self.plan.deployment.name)

    @property
    def needs(self) -> Needs:
        """What its model needs, read once; raises as `needs_of` does."""
        if self._needs is None:
            self._needs = needs_of(self.plan)
        return self._needs

    # ---------------------------------------------------------------- what is asked of it

    def run(self, plan: RunnerPlan) -> None:
        """Run this plan from now on; runners that serve it alike go on, others are replaced one for one."""
        if plan != self.plan or not (self._folder / _PLAN_FILE).exists():
            files.private_folder(self._folder)
            files.replace(self._folder / _PLAN_FILE, _plan.dump_json(plan).decode())
            self.plan = plan
            self.refused = self._needs = None
        self._complete()

    def forget_failures(self) -> None:
        """Try again what was given up: somebody asks for it anew."""
        for runner in [one for one in self.runners if one.record.failure is not None]:
            runner.forget()
            self.runners.remove(runner)
        self._complete()

    def failed_with(self, code: str) -> bool:
        """Whether a runner that it needs was given up for this reason."""
        return any(one.record.failure is not None and one.record.failure.code == code for one in self._current())

    def adopt(self, found: Mapping[str, list[ProcessIdentity]]) -> None:
        """Take over the processes that an earlier server started, by their configuration files."""
        for runner in self.runners:
            runner.adopt(found.get(str(runner.configuration_file), []))

    # ---------------------------------------------------------------- its own environment

    def succeed(self) -> None:
        """The model's own environment is there: have runners in it come up beside the others."""
        if not self.own and self.refused is None and not self._succeeding:
            self._succeeding = True
            self._complete()

    @property
    def moving(self) -> bool:
        """Whether successors are on their way."""
        return self._succeeding

    @property
    def successor(self) -> Runner | None:
        """One of those that wait for taking over, if all of them answer."""
        found = self._successors()
        return found[0] if found and all(runner.answers for runner in found) else None

    def take_over(self) -> None:
        """Serve from the model's own environment from now on; the runners before go when nobody calls them any more."""
        if self.own:
            return
        files.private_folder(self._folder)
        files.replace(self._folder / _OWN_FILE, "")
        self.own, self._succeeding, self.refused = True, False, None
        self._complete()

    def refuse(self, failure: Failure) -> None:
        """The successors do not do, for this reason: what served before goes on serving."""
        self._succeeding, self.refused = False, failure

    # ---------------------------------------------------------------- what it does

    def step(self, now: float, may_start: Callable[[], bool]) -> None:
        """Do what is due for every runner."""
        self._complete()
        for runner in self.runners:
            runner.step(now, may_start)
        failure = next((one.record.failure for one in self._successors() if one.record.failure), None)
        if failure is not None:
            self.refuse(failure)
        if self.answered_since is None and self.sent:
            self.answered_since = now

    def sockets(self) -> tuple[Path, ...]:
        """Where requests are to go: to those that serve the plan, and until all of them answer, to those before."""
        current = self._current()
        if not all(runner.answers for runner in current):
            current = [runner for runner in self.runners if self.own or not runner.record.own]
        return tuple(runner.socket for runner in current if runner.answers)

    def release(self, now: float) -> None:
        """Let those runners go that the gateway sends nothing to and the plan does not need."""
        current = self._current()
        complete = all(runner.answers for runner in current)
        for runner in [one for one in self.runners if one not in current and one not in self._successors()]:
            refused = runner.record.own and not self.own
            if runner.socket not in self.sent and (complete or refused or not runner.answers):
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
        """A runner for each replica of the plan, and its successor where that is on its way."""
        there = {runner.id: runner for runner in self.runners}
        for own in {self.own, self.own or self._succeeding}:
            for name in self._names(own=own):
                if name in there:
                    there[name].plan = self.plan
                else:
                    self.runners.append(Runner(self._folder / name, self.plan, self._around, own=own))

    def _current(self) -> list[Runner]:
        wanted = self._names(own=self.own)
        return [runner for runner in self.runners if runner.id in wanted]

    def _successors(self) -> list[Runner]:
        wanted = self._names(own=True) if self._succeeding else []
        return [runner for runner in self.runners if runner.id in wanted]

    def _names(self, *, own: bool) -> list[str]:
        digest = runner_digest(self.plan, own=own)
        return [f"{digest}-{number}" for number in range(self.plan.deployment.replicas)]
