"""A change under way: quota, environment, runner, parity, traffic. Only then does the new deployment get a request.

While it is under way the version before answers every call. What fails stops here, with one sentence and the line to
change, and nothing was switched.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from model_platform_core.deployments import (
    STEPS,
    DeploymentSpec,
    DeploymentStatus,
    Endpoint,
    EndpointState,
    EndpointStatus,
    Failure,
    ProgressStep,
    StepState,
)
from model_platform_core.errors import (
    FailedError,
    ModelPlatformError,
    ReadinessFailedError,
    TargetUnavailableError,
    UnavailableError,
)
from model_platform_core.events import EventType
from model_platform_core.parity import ParityReport
from model_platform_core.zones import Amount
from model_platform_server.ports import RoutePlan, RunnerState
from model_platform_server.reconcile.plans import runner_plan, version_of
from model_platform_server.reconcile.proof import parity_failure, prove, unproven_failure, words_of
from model_platform_server.reconcile.status import UPDATE_FAILED, StatusWriter, failure_of
from model_platform_server.services.platform import Platform
from model_platform_server.services.zones import check_room

WARM_FOR = dt.timedelta(hours=1)
HISTORY_LENGTH = 10
_LOOK_SECONDS = 0.2  # at the latest; a newer spec, and the server's end, are found out then too
_TRIES = 3
_TRY_AGAIN_SECONDS = 1.0


Result = TypeVar("Result")

log = logging.getLogger(__name__)


class SupersededError(Exception):
    """A newer spec was written, or the server stops: this change is given up where it stands."""


class StepFailedError(Exception):
    """A step came to its end without success."""

    def __init__(self, failure: Failure, report: ParityReport | None = None) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.report = report


class Change:
    """Brings the deployment that the spec names up, proves it, and gives it the traffic."""

    def __init__(self, platform: Platform, endpoint: Endpoint, stopping: threading.Event) -> None:
        self._platform = platform
        self._endpoint = endpoint
        self._stopping = stopping
        self._writer = StatusWriter(platform, endpoint)
        self._wanted = endpoint.spec.deployments[0]
        self._before = endpoint.status
        self._began = time.monotonic()
        self._steps = {name: ProgressStep(name=name) for name in STEPS}
        self._step_began = self._began

    def carry_out(self) -> None:
        """All steps, in order.

        Raises
        ------
        SupersededError
            If a newer spec came, or the server stops.
        """
        try:
            self._step("quota", self._check_room)
            self._step("environment", self._prepare)
            self._step("runner", self._bring_up)
            report = self._step("parity", self._prove)
            self._done("parity", words_of(report))
            self._step("traffic", self._give_traffic)
        except StepFailedError as error:
            self._fail(error.failure, error.report)
        except ModelPlatformError as error:
            if self._stopping.is_set():
                raise SupersededError from error  # the step was given up because the server stops
            self._fail(failure_of(error), None)
        except SupersededError:
            raise
        except Exception as error:
            log.exception("a change of %s", self._endpoint.ref)
            message = f"The server made a mistake ({type(error).__name__}); its log says more."
            self._fail(Failure(code=FailedError.code, message=message), None)
        else:
            self._succeed(report)

    # ---------------------------------------------------------------- steps

    def _step(self, name: str, action: Callable[[], Result]) -> Result:
        self._check_current()
        self._step_began = time.monotonic()
        self._show(name, StepState.RUNNING)
        for _ in range(_TRIES - 1):
            try:
                return self._finished(name, action())
            except UnavailableError as error:  # it may be back in a moment
                self._show(name, StepState.RUNNING, error.message)
                self._stopping.wait(_TRY_AGAIN_SECONDS)
                self._check_current()
        return self._finished(name, action())

    def _finished(self, name: str, result: Result) -> Result:
        self._done(name, "")
        return result

    def _check_room(self) -> None:
        check_room(self._platform, self._endpoint.ref, self._wanted.needs() + Amount(endpoints=1))

    def _prepare(self) -> None:
        plan = runner_plan(self._platform, self._endpoint, self._wanted)
        self._platform.target.prepare(plan, lambda words: self._show("environment", StepState.RUNNING, words))

    def _bring_up(self) -> None:
        self._platform.target.run(runner_plan(self._platform, self._endpoint, self._wanted))
        while True:
            self._check_current()
            seen = self._platform.target.observe(self._endpoint.ref).get(self._wanted.name)
            if seen and seen.state is RunnerState.READY and seen.ready_replicas >= self._wanted.replicas:
                return
            if seen and seen.state is RunnerState.FAILED:
                raise StepFailedError(failure_of(seen))
            self._platform.target.wait(self._endpoint.ref, _LOOK_SECONDS)

    def _prove(self) -> ParityReport | None:
        known = self._before.deployment(self._wanted.name)
        if known is not None and known.failure is None:
            return known.parity  # it answered before, with these bytes in this environment
        target, ref, name = self._platform.target, self._endpoint.ref, self._wanted.name
        try:
            report = prove(self._platform, self._endpoint, self._wanted, self._before.traffic.weights)
        except ReadinessFailedError as error:
            raise ReadinessFailedError(target.lacking(ref, name) or error.message, hint=error.hint) from error
        if report is None or report.not_proven is not None:
            zone = self._platform.zone(self._endpoint.zone)
            if zone.spec.requires_parity:
                raise StepFailedError(unproven_failure(zone, version_of(self._platform, self._wanted), report), report)
        elif not report.proven:
            version = version_of(self._platform, self._wanted)
            failure = parity_failure(version, report, target.libraries(ref, name), target.lacking(ref, name))
            raise StepFailedError(failure, report)
        return report

    def _give_traffic(self) -> None:
        self._platform.target.route(RoutePlan(self._endpoint.ref, self._endpoint.spec.traffic.weights))

    def _check_current(self) -> None:
        latest = self._platform.endpoints.get(self._endpoint.ref)
        if self._stopping.is_set() or latest is None or latest.etag != self._endpoint.etag:
            raise SupersededError

    # ---------------------------------------------------------------- progress

    def _show(self, name: str, state: StepState, detail: str = "") -> None:
        seconds = None if state is StepState.WAITING else round(time.monotonic() - self._step_began, 3)
        self._steps[name] = ProgressStep(name=name, state=state, seconds=seconds, detail=detail)
        live = self._before.live()
        answering = f"; version {live.version} answers every call meanwhile" if live else ""
        status = self._before.model_copy(
            update={
                "state": EndpointState.UPDATING if live else EndpointState.STARTING,
                "message": f"version {self._wanted.version}: {name}{answering}",
                "progress": tuple(self._steps.values()),
                "url": self._url(),
                "seconds": round(time.monotonic() - self._began, 3),
            }
        )
        data: dict[str, object] = {"step": name, "state": state, "version": self._wanted.version}
        told = [] if detail else [self._writer.event(EventType.DEPLOYMENT_PROGRESSED, data)]
        self._writer.write(status, *told)

    def _done(self, name: str, detail: str) -> None:
        earlier = self._steps[name]
        seconds = earlier.seconds if earlier.state is StepState.DONE else round(time.monotonic() - self._step_began, 3)
        self._steps[name] = ProgressStep(
            name=name, state=StepState.DONE, seconds=seconds, detail=detail or earlier.detail
        )

    def _url(self) -> str | None:
        try:
            return f"{self._platform.target.gateway_url()}/{self._endpoint.ref}"
        except TargetUnavailableError:  # told by the step that needs the gateway
            return self._before.url

    # ---------------------------------------------------------------- ends

    def _succeed(self, report: ParityReport | None) -> None:
        history = self._history()
        seen = self._platform.target.observe(self._endpoint.ref)
        wanted = DeploymentStatus(spec=self._wanted, ready_replicas=self._wanted.replicas, parity=report)
        status = EndpointStatus(
            state=EndpointState.LIVE,
            message=f"version {self._wanted.version} answers",
            observed_generation=self._endpoint.generation,
            conditions=self._writer.with_borrowed((), self._endpoint.spec.traffic.weights, seen),
            traffic=self._endpoint.spec.traffic,
            deployments=(wanted, *self._kept_warm(history)),
            history=history,
            progress=tuple(self._steps.values()),
            url=self._url(),
            seconds=round(time.monotonic() - self._began, 3),
        )
        self._writer.write(status)

    def _kept_warm(self, history: Sequence[DeploymentSpec]) -> list[DeploymentStatus]:
        """What was live until now, and where a rollback would go; the rest makes room."""
        until = self._platform.clock.now() + WARM_FOR
        names = {one.name for one in [self._before.live(), *history[:1]] if one} - {self._wanted.name}
        return [
            one.model_copy(update={"warm_until": one.warm_until or until})
            for one in self._before.deployments
            if one.spec.name in names and one.failure is None
        ]

    def _history(self) -> tuple[DeploymentSpec, ...]:
        """What was live before, newest first. A rollback takes its goal out, so that the next one goes further back."""
        earlier, live = self._before.history, self._before.live()
        if self._wanted in earlier:
            return earlier[earlier.index(self._wanted) + 1 :]
        if live is None or live.name == self._wanted.name:
            return earlier
        return (live, *earlier)[:HISTORY_LENGTH]

    def _fail(self, failure: Failure, report: ParityReport | None) -> None:
        running = next((name for name, step in self._steps.items() if step.state is StepState.RUNNING), STEPS[-1])
        self._steps[running] = self._steps[running].model_copy(update={"state": StepState.FAILED})
        self._take_back()
        state, still = self._what_still_answers()
        others = [one for one in self._before.deployments if one.spec.name != self._wanted.name and not one.failure]
        status = EndpointStatus(
            state=state,
            message=failure.message + still,
            conditions=(
                *(one for one in self._before.conditions if one.type != UPDATE_FAILED),
                self._writer.condition(UPDATE_FAILED, reason=failure.code, message=failure.message),
            ),
            observed_generation=self._endpoint.generation,
            traffic=self._before.traffic,
            deployments=(*others, DeploymentStatus(spec=self._wanted, failure=failure, parity=report)),
            history=self._before.history,
            progress=tuple(self._steps.values()),
            url=self._url(),
            seconds=round(time.monotonic() - self._began, 3),
        )
        data: dict[str, object] = {"step": running, "state": StepState.FAILED, "code": failure.code}
        data |= {"message": failure.message, "version": self._wanted.version}
        self._writer.write(status, self._writer.event(EventType.DEPLOYMENT_PROGRESSED, data))

    def _what_still_answers(self) -> tuple[EndpointState, str]:
        live = self._before.live()
        if live is None:
            return EndpointState.FAILED, ""
        seen = self._platform.target.observe(self._endpoint.ref).get(live.name)
        if seen and seen.ready_replicas:
            return EndpointState.LIVE, f" Version {live.version} still answers."
        return EndpointState.FAILED, f" Version {live.version} does not answer either."

    def _take_back(self) -> None:
        """Nothing of the failed deployment stays, unless it has traffic (a change of what is live already)."""
        if self._wanted.name in self._before.traffic.weights:
            return
        try:
            self._platform.target.route(RoutePlan(self._endpoint.ref, self._before.traffic.weights))
            self._platform.target.remove(self._endpoint.ref, self._wanted.name)
        except ModelPlatformError:
            log.warning("what is left of %s on %s is removed later", self._wanted.name, self._endpoint.ref)
