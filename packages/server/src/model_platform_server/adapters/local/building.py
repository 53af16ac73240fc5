"""Building environments in the background: one at a time, giving way to everything else, again and again where it fails."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from model_platform_core.deployments import Failure
from model_platform_core.errors import ModelPlatformError
from model_platform_server.adapters.local.environments import Environments
from model_platform_server.adapters.local.settings import EnvironmentPolicy
from model_platform_server.ports import RunnerPlan

_END_SECONDS = 5.0

log = logging.getLogger(__name__)


class Stage(StrEnum):
    """Where the build of an environment stands."""

    WAITING = "waiting"
    BUILDING = "building"
    FAILED = "failed"
    """Tried, and to be tried again."""


@dataclass(frozen=True)
class Build:
    """One environment to be built: how often that failed, why, and when it is tried again (monotonic seconds)."""

    stage: Stage = Stage.WAITING
    tries: int = 0
    failure: Failure | None = None
    not_before: float = 0.0


class Builder:
    """Builds what is wanted. Its thread lives while anything is."""

    def __init__(self, environments: Environments, policy: EnvironmentPolicy) -> None:
        self._environments = environments
        self._policy = policy
        self._changed = threading.Condition()
        self._wanted: dict[str, RunnerPlan] = {}
        self._builds: dict[str, Build] = {}
        self._thread: threading.Thread | None = None
        self._ended = False

    def want(self, plans: Mapping[str, RunnerPlan]) -> None:
        """Build these, by the hash of what is in them, and nothing else."""
        with self._changed:
            self._wanted = dict(plans)
            kept = {key: self._builds.get(key, Build()) for key in plans}
            self._builds = kept | {key: one for key, one in self._builds.items() if one.stage is Stage.BUILDING}
            if self._wanted and self._thread is None and not self._ended:
                self._thread = threading.Thread(target=self._run, name="environments", daemon=True)
                self._thread.start()
            self._changed.notify()

    def stage(self, key: str) -> Build | None:
        """How far one is; None if it is not wanted, or done."""
        with self._changed:
            return self._builds.get(key)

    def end(self) -> None:
        """Give up what is being built, and build nothing any more."""
        with self._changed:
            self._ended = True
            self._changed.notify()
            thread = self._thread
        self._environments.end()
        if thread is not None:
            thread.join(_END_SECONDS)

    def _run(self) -> None:
        while (due := self._next()) is not None:
            key, plan = due
            failure = self._build(plan)
            with self._changed:
                if failure is None:
                    self._builds.pop(key, None)
                    self._wanted.pop(key, None)
                else:
                    self._builds[key] = self._failed(key, failure)

    def _next(self) -> tuple[str, RunnerPlan] | None:
        """The next one to build, when it is due; None when there is nothing to do."""
        with self._changed:
            while self._wanted and not self._ended:
                due = {key: self._builds[key].not_before for key in self._wanted}
                key = min(due, key=lambda one: due[one])
                if (wait := due[key] - time.monotonic()) <= 0:
                    tries, failure = self._builds[key].tries, self._builds[key].failure
                    self._builds[key] = Build(Stage.BUILDING, tries, failure)
                    return key, self._wanted[key]
                self._changed.wait(wait)
            self._thread = None
            return None

    def _build(self, plan: RunnerPlan) -> Failure | None:
        try:
            self._environments.build(plan)
        except ModelPlatformError as error:
            return Failure(code=error.code, message=error.message, hint=error.hint)
        except Exception as error:
            log.exception("building an environment")
            return Failure(code="failed_environment", message=f"The server made a mistake ({type(error).__name__}).")
        return None

    def _failed(self, key: str, failure: Failure) -> Build:
        tries = self._builds[key].tries + 1 if key in self._builds else 1
        policy = self._policy
        pause = min(policy.first_pause * 2 ** (tries - 1), policy.longest_pause)
        return Build(Stage.FAILED, tries, failure, time.monotonic() + pause)
