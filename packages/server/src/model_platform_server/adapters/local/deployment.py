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
_HOMES_FILE = "environments.json"  # those that have taken over, by their hashes, the newest last
_homes = TypeAdapter(list[str])


def read_plan(folder: Path) -> RunnerPlan | None:
    """The plan that an earlier server wrote; None if there is none that can be read."""
    with contextlib.suppress(ValueError):
        text = files.read(folder / _PLAN_FILE)
        return _plan.validate_json(text) if text else None
    return None


class Deployment:
    """Runs the replicas of a plan: in an environment built for its model, or in a borrowed one until that takes over.

    For that, successors come up beside the runners. They get no request before they have taken over.

    Parameters
    ----------
    folder
        Holds the plan and a folder for each runner.
    plan
        What is to run.
    """

    def __init__(self, folder: Path, plan: RunnerPlan, around: Surroundings) -> None:
        self._taken_over = _homes.validate_json(files.read(folder / _HOMES_FILE) or "[]")
        self._next: str | None = None
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
        unproven = {runner.record.home for runner in self.runners} - {None, *self._taken_over}
        self._next = next(iter(unproven), None)
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

    @property
    def home(self) -> str | None:
        """The hash of the environment in which it runs; None for a borrowed one."""
        return self._taken_over[-1] if self._taken_over else None

    def succeed(self, home: str) -> None:
        """An environment was built for the model: have runners in it come up beside the others."""
        if home not in (self.home, self._next) and self.refused is None:
            self._next = home
            self._complete()

    @property
    def moving(self) -> bool:
        """Whether successors are on their way."""
        return self._next is not None

    @property
    def successor(self) -> Runner | None:
        """One of those that wait for taking over, if all of them answer."""
        found = self._successors()
        return found[0] if found and all(runner.answers for runner in found) else None

    def take_over(self, home: str | None = None) -> None:
        """Serve from there from now on, or from where successors are; those before go when nobody calls them any more."""
        home = home or self._next
        if home in (None, self.home):
            return
        files.private_folder(self._folder)
        homes = [one for one in self._taken_over if one != home] + [str(home)]
        files.replace(self._folder / _HOMES_FILE, _homes.dump_json(homes).decode())
        self._taken_over, self._next, self.refused = homes, None, None
        self._complete()

    def refuse(self, failure: Failure) -> None:
        """The successors do not do, for this reason: what served before goes on serving."""
        self._next, self.refused = None, failure

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
            current = [runner for runner in self.runners if self._proven(runner)]
        return tuple(runner.socket for runner in current if runner.answers)

    def release(self, now: float) -> None:
        """Let those runners go that the gateway sends nothing to and the plan does not need."""
        current = self._current()
        complete = all(runner.answers for runner in current)
        for runner in [one for one in self.runners if one not in current and one not in self._successors()]:
            unneeded = complete or not self._proven(runner) or not runner.answers
            if runner.socket not in self.sent and unneeded:
                runner.leave(now)
            if runner.gone:
                runner.forget()
                self.runners.remove(runner)

    def look_after(self, now: float) -> None:
        """Memory and signs of life of every runner."""
        for runner in self.runners:
            runner.look_after(now)

    def cancel_starts(self) -> None:
        """Let no process begin that is not noted yet: the next server starts it."""
        for runner in self.runners:
            runner.cancel_start()

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
        for home in [self.home, self._next] if self._next else [self.home]:
            for name in self._names(home):
                if name in there:
                    there[name].plan = self.plan
                else:
                    self.runners.append(Runner(self._folder / name, self.plan, self._around, home))

    def _current(self) -> list[Runner]:
        wanted = self._names(self.home)
        return [runner for runner in self.runners if runner.id in wanted]

    def _successors(self) -> list[Runner]:
        wanted = self._names(self._next) if self._next else []
        return [runner for runner in self.runners if runner.id in wanted]

    def _proven(self, runner: Runner) -> bool:
        """Whether it runs where answers were proven: no other may get a call."""
        return runner.record.home is None or runner.record.home in self._taken_over

    def _names(self, home: str | None) -> list[str]:
        digest = runner_digest(self.plan, home)
        return [f"{digest}-{number}" for number in range(self.plan.deployment.replicas)]
