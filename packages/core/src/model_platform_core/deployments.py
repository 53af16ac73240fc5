"""Endpoints and what runs behind them: spec (desired) and status (observed)."""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from model_platform_core.cards import Resources
from model_platform_core.parity import ParityReport
from model_platform_core.refs import EndpointRef
from model_platform_core.values import Observed, Sha256, Value, digest_of
from model_platform_core.zones import Amount


class EndpointState(StrEnum):
    """The state is a word, and it says what callers get: while an older version answers, an endpoint is `live`."""

    LIVE = "live"
    STARTING = "starting"
    UPDATING = "updating"
    DEGRADED = "degraded"
    ASLEEP = "asleep"
    STOPPED = "stopped"
    FAILED = "failed"


class Access(StrEnum):
    """Who may call: holders of a token, or whoever reaches the gateway."""

    TOKEN = "token"  # noqa: S105
    OPEN = "open"


class DeploymentSpec(Value):
    """A version behind an endpoint. Version and digest are resolved: a later move of an alias changes nothing.

    `model` is the full name; `resources` are for one replica. `access` is what its runners demand of callers: another
    access is another deployment, so that a change of it goes through the same steps and leaves what is live alone.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")
    model: str
    version: int = Field(ge=1)
    artifact_sha256: Sha256
    access: Access = Access.TOKEN
    replicas: int = Field(1, ge=1, le=100)
    resources: Resources = Resources()

    def needs(self) -> Amount:
        """What all replicas need together."""
        each = self.resources
        return Amount(cpu=each.cpu * self.replicas, memory=each.memory * self.replicas, gpu=each.gpu * self.replicas)


class TrafficSplit(Value):
    """Percentages by deployment; they add up to 100."""

    weights: dict[str, int] = {}

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.weights and (sum(self.weights.values()) != 100 or min(self.weights.values()) < 0):
            raise ValueError(f"the weights of a traffic split add up to 100, not {sum(self.weights.values())}")
        return self


class EndpointSpec(Value):
    """What an endpoint is meant to be."""

    access: Access = Access.TOKEN
    deployments: tuple[DeploymentSpec, ...] = ()
    traffic: TrafficSplit = TrafficSplit()
    stopped: bool = False

    @model_validator(mode="after")
    def _traffic_is_known(self) -> Self:
        known = {deployment.name for deployment in self.deployments}
        if len(known) < len(self.deployments):
            raise ValueError("two deployments of an endpoint have the same name")
        if unknown := set(self.traffic.weights) - known:
            raise ValueError(f"traffic names deployments that do not exist: {', '.join(sorted(unknown))}")
        return self

    def deployment(self, name: str) -> DeploymentSpec | None:
        """The deployment of that name."""
        return next((one for one in self.deployments if one.name == name), None)


class Condition(Observed):
    """One thing that is to be known about an endpoint, as in Kubernetes: `UpdateFailed` is true since …, because …."""

    type: str
    status: bool
    reason: str = ""
    message: str = ""
    since: dt.datetime


class StepState(StrEnum):
    """Where a step of a deployment stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class ProgressStep(Observed):
    """One named step of a change: quota, environment, runner, parity, traffic. `seconds` is how long it took so far."""

    name: str
    state: StepState = StepState.WAITING
    seconds: float | None = None
    detail: str = ""


STEPS = ("quota", "environment", "runner", "parity", "traffic")


class Failure(Observed):
    """Why a deployment did not come up: the error's code, one sentence, the line to change, the end of the log."""

    code: str
    message: str
    hint: str | None = None
    log_tail: tuple[str, ...] = ()


class DeploymentStatus(Observed):
    """One deployment as observed; `warm_until` is set for one that is kept ready for a rollback."""

    spec: DeploymentSpec
    ready_replicas: int = 0
    parity: ParityReport | None = None
    failure: Failure | None = None
    restarts: int = 0
    warm_until: dt.datetime | None = None


class EndpointStatus(Observed):
    """An endpoint as observed.

    `traffic` is the split in force; `history` holds what was live before, newest first: where a rollback goes.
    A reader that knows only `state` and `message` can tell a user what is going on.
    """

    state: EndpointState = EndpointState.STARTING
    message: str = ""
    conditions: tuple[Condition, ...] = ()
    observed_generation: int = 0
    traffic: TrafficSplit = TrafficSplit()
    deployments: tuple[DeploymentStatus, ...] = ()
    history: tuple[DeploymentSpec, ...] = ()
    progress: tuple[ProgressStep, ...] = ()
    url: str | None = None
    seconds: float | None = None

    def deployment(self, name: str) -> DeploymentStatus | None:
        """The deployment of that name."""
        return next((one for one in self.deployments if one.spec.name == name), None)

    def live(self) -> DeploymentSpec | None:
        """The deployment that gets most of the traffic now."""
        if not self.traffic.weights:
            return None
        found = self.deployment(max(self.traffic.weights, key=lambda name: self.traffic.weights[name]))
        return found.spec if found else None

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type, if it is true."""
        return next((one for one in self.conditions if one.type == kind and one.status), None)


class Endpoint(Observed):
    """A stable name and URL in a zone. `generation` counts changes of the spec."""

    zone: str
    name: str
    spec: EndpointSpec
    status: EndpointStatus = EndpointStatus()
    generation: int = 1
    created_at: dt.datetime
    updated_at: dt.datetime

    @property
    def ref(self) -> EndpointRef:
        """`zone/name`."""
        return EndpointRef(self.zone, self.name)

    @property
    def etag(self) -> str:
        """Changes with the spec: what `If-Match` compares."""
        return digest_of([self.zone, self.name, self.generation, self.created_at.isoformat()])[7:23]

    @property
    def settled(self) -> bool:
        """Whether the newest spec has been acted on to its end, well or not."""
        return self.status.observed_generation >= self.generation


class Capabilities(Observed):
    """What a target can do. What it cannot, it refuses by name, never silently."""

    target: str
    traffic_split: bool = True
    replicas: bool = True
    gpu: bool = False
    isolation: bool = False
    asleep: bool = False
    missing: tuple[str, ...] = ()
