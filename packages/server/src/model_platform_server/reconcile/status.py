"""What a status says, and writing it with the events that tell of a change of state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from model_platform_core.access import SYSTEM
from model_platform_core.deployments import (
    Condition,
    DeploymentStatus,
    Endpoint,
    EndpointState,
    EndpointStatus,
    Failure,
)
from model_platform_core.errors import ModelPlatformError
from model_platform_core.events import EventType, NewEvent
from model_platform_server.ports import Observation
from model_platform_server.services.platform import Platform

UPDATE_FAILED = "UpdateFailed"
ENVIRONMENT_BORROWED = "EnvironmentBorrowed"

_EVENTS = {
    EndpointState.LIVE: EventType.ENDPOINT_LIVE,
    EndpointState.DEGRADED: EventType.ENDPOINT_DEGRADED,
    EndpointState.FAILED: EventType.ENDPOINT_FAILED,
    EndpointState.STOPPED: EventType.ENDPOINT_STOPPED,
}


def failure_of(seen: Observation | ModelPlatformError) -> Failure:
    """The failure that an observation holds, or that an error tells."""
    if isinstance(seen, ModelPlatformError):
        return Failure(code=seen.code, message=seen.message, hint=seen.hint)
    return seen.failure or Failure(code="failed", message="The runner ended without saying why.")


def state_of(status: EndpointStatus, deployments: Sequence[DeploymentStatus]) -> tuple[EndpointState, str]:
    """State and message of an endpoint with traffic, from what its deployments look like now."""
    serving = [one for one in deployments if one.spec.name in status.traffic.weights]
    wanted, ready = sum(one.spec.replicas for one in serving), sum(one.ready_replicas for one in serving)
    versions = " and ".join(f"version {one.spec.version}" for one in serving)
    if ready == wanted:
        failed = status.condition(UPDATE_FAILED)
        return EndpointState.LIVE, f"{versions} answers" + (f"; {failed.message}" if failed else "")
    failure = next((one.failure for one in serving if one.failure), None)
    if ready:
        why = failure.message if failure else "a runner is being restarted"
        return EndpointState.DEGRADED, f"{ready} of {wanted} runners answer: {why}"
    if failure:
        return EndpointState.FAILED, failure.message
    return EndpointState.STARTING, f"{versions} is starting"


class StatusWriter:
    """Writes the status of one endpoint, and events where its state changed."""

    def __init__(self, platform: Platform, endpoint: Endpoint) -> None:
        self._platform = platform
        self._endpoint = endpoint
        self.current = endpoint.status

    def write(self, status: EndpointStatus, *events: NewEvent) -> None:
        """Replace the status; nothing is written if it says what it said."""
        if status == self.current and not events:
            return
        told = list(events)
        if status.state is not self.current.state and (kind := _EVENTS.get(status.state)):
            told.append(self.event(kind, {"message": status.message, "versions": _versions(status)}))
        self._platform.endpoints.write_status(self._endpoint, status, told)
        self.current = status
        self._platform.changes.tell()

    def event(self, kind: EventType, data: dict[str, object]) -> NewEvent:
        """An event about this endpoint."""
        ref = self._endpoint.ref
        return NewEvent(type=kind, actor=SYSTEM.name, zone=ref.zone, subject=str(ref), data=data)

    def condition(self, kind: str, *, reason: str, message: str) -> Condition:
        """A condition that is true from now on."""
        return Condition(type=kind, status=True, reason=reason, message=message, since=self._platform.clock.now())

    def with_borrowed(
        self, conditions: Sequence[Condition], weights: Iterable[str], seen: Mapping[str, Observation]
    ) -> tuple[Condition, ...]:
        """These conditions, and whether what has traffic runs in a borrowed environment."""
        others = tuple(one for one in conditions if one.type != ENVIRONMENT_BORROWED)
        found = next((seen[name].borrowed for name in weights if name in seen and seen[name].borrowed), None)
        if found is None:
            return others
        message = f"borrowed from the kernel; {found.message[0].lower()}{found.message[1:].rstrip('.')}"
        condition = self.condition(ENVIRONMENT_BORROWED, reason=found.reason, message=message)
        if known := self.current.condition(ENVIRONMENT_BORROWED):
            condition = condition.model_copy(update={"since": known.since})
        return (*others, condition)


def _versions(status: EndpointStatus) -> list[int]:
    return [one.spec.version for one in status.deployments if one.spec.name in status.traffic.weights]
