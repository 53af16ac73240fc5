"""Endpoints: deploy, roll back, stop, start, delete. Use-cases write the spec; the reconciler moves the world."""

from __future__ import annotations

from collections.abc import Iterator

from model_platform_core.access import Actor, Scope
from model_platform_core.cards import Resources
from model_platform_core.deployments import Access, DeploymentSpec, Endpoint, EndpointSpec, TrafficSplit
from model_platform_core.errors import (
    BreakingChangeError,
    ChangedSinceReadError,
    ConflictError,
    EndpointBusyError,
    EndpointNotFoundError,
    FieldProblem,
    InvalidSpecError,
    UnsupportedByTargetError,
)
from model_platform_core.events import EventType, NewEvent
from model_platform_core.models import ModelVersion
from model_platform_core.refs import EndpointRef, ModelRef, VersionRef
from model_platform_core.signatures import breaking_changes
from model_platform_core.wire import DeployRequest, EndpointMetrics, LogLine, Page
from model_platform_core.zones import Amount
from model_platform_server.services.identity import revoke_tokens_of
from model_platform_server.services.models import readable_version
from model_platform_server.services.platform import Platform
from model_platform_server.services.zones import check_room

ANY_ETAG = "*"


def readable_endpoint(platform: Platform, actor: Actor, ref: EndpointRef) -> Endpoint:
    """An endpoint that the actor may see.

    Raises
    ------
    EndpointNotFoundError
        Also for an endpoint that the actor may not know of.
    """
    found = platform.endpoints.get(ref) if actor.may(Scope.ENDPOINTS_READ, ref.zone or "") else None
    if found is None:
        raise EndpointNotFoundError(f"There is no endpoint {ref}.", hint="%mp_status lists the endpoints")
    return found


def list_endpoints(
    platform: Platform, actor: Actor, zone: str | None, *, limit: int, cursor: str | None
) -> Page[Endpoint]:
    """The endpoints that the actor may see, by zone and name."""
    zones = actor.zones(Scope.ENDPOINTS_READ)
    if zone is not None:
        zones = frozenset({zone}) if zones is None or zone in zones else frozenset()
    return platform.endpoints.page(zones, limit=limit, cursor=cursor)


def deploy(platform: Platform, actor: Actor, ref: EndpointRef, request: DeployRequest, etag: str | None) -> Endpoint:
    """Ask for a version behind an endpoint; it is created if there is none.

    The version and its digest are resolved here and stored: a later move of an alias changes nothing by itself.

    Parameters
    ----------
    etag
        The endpoint's etag as read, `*` for an endpoint that must not exist yet, None to take it as it is.

    Raises
    ------
    ForbiddenError, EndpointNotFoundError, ModelNotFoundError, VersionNotFoundError, AliasNotFoundError
        What the actor may not do or what there is not.
    EndpointBusyError
        While another change of the endpoint is under way.
    ChangedSinceReadError
        If somebody was faster.
    BreakingChangeError
        If the version refuses requests which the live one accepts, or answers in another shape.
    ExceedsQuotaError
        If the zone has no room.
    UnsupportedByTargetError
        If the target cannot do what is asked.
    """
    zone = ref.zone or ""
    actor.require(Scope.ENDPOINTS_DEPLOY, zone)
    current = platform.endpoints.get(ref)
    _check_unchanged(ref, current, etag)
    version = _version_for(platform, actor, ref, request.version)
    _check_target(platform, gpu=bool(request.resources and request.resources.gpu))
    wanted = _wanted_deployment(current, version, request)
    if current is not None and not current.settled:
        if _asks_for(current, wanted):
            return current  # the same was asked for already, and its answer may have been lost
        raise _busy(current)
    if current is not None and not request.breaking:
        _check_breaking(platform, actor, current, version)
    if current is not None and _is_in_force(current, wanted):
        return current
    check_room(platform, ref, wanted.needs() + Amount(endpoints=1))
    spec = _spec_of(wanted)
    data = {"model": version.full_name, "version": version.version, "deployment": wanted.name}
    return _write(platform, actor, ref, current, spec, EventType.DEPLOYMENT_REQUESTED, data)


def _check_unchanged(ref: EndpointRef, current: Endpoint | None, etag: str | None) -> None:
    if etag == ANY_ETAG and current is not None:
        raise ChangedSinceReadError(f"{ref} exists already; somebody was faster.", hint=f"%mp_status {ref.name}")
    if etag not in (None, ANY_ETAG) and (current is None or current.etag != etag):
        raise ChangedSinceReadError(f"{ref} was changed since you read it; look at it again.", hint=f"%mp_status {ref}")


def _busy(current: Endpoint) -> EndpointBusyError:
    wanted = ", ".join(f"version {one.version}" for one in current.spec.deployments)
    way_out = ("roll it back", "rollback") if current.status.live() else ("stop it", "stop")
    return EndpointBusyError(
        f"{current.name} is being updated to {wanted}; wait until that is done, or {way_out[0]}.",
        hint=f"%mp_{way_out[1]} {current.name}",
    )


def _version_for(platform: Platform, actor: Actor, ref: EndpointRef, text: str) -> ModelVersion:
    version = readable_version(platform, actor, VersionRef.parse(text).within(ref.zone or ""))
    if version.zone != ref.zone:
        raise InvalidSpecError(
            f"{ref} serves versions of its own zone; {version.full_name}:{version.version} is of zone {version.zone}."
        )
    return version


def _check_target(platform: Platform, *, gpu: bool = False) -> None:
    can = platform.target.capabilities()
    if can.missing:
        raise UnsupportedByTargetError(
            f"The target {can.target} cannot run here: {'; '.join(can.missing)}.", hint="mp doctor"
        )
    if not can.isolation and len(platform.actors.every()) > 1:
        raise UnsupportedByTargetError(
            f"The target {can.target} keeps nobody apart (isolation), and this server knows more than one actor.",
            hint="use a server with the kserve target",
        )
    if gpu and not can.gpu:
        raise UnsupportedByTargetError(f"The target {can.target} has no GPUs to give (gpu); leave --gpu out.")


def _check_breaking(platform: Platform, actor: Actor, current: Endpoint, version: ModelVersion) -> None:
    live = current.status.live()
    if live is None or current.spec.stopped:
        return
    ref = VersionRef(ModelRef.parse(live.model), live.version)
    found = breaking_changes(readable_version(platform, actor, ref).signature, version.signature)
    if found:
        raise BreakingChangeError(
            f"{version.name} version {version.version} would break those who call {current.name}"
            f" (version {live.version} is live): {'; '.join(found)}.",
            hint=f"%mp_deploy {version.name}:{version.version} --breaking",
            fields=[FieldProblem(field=f"change {number}", problem=text) for number, text in enumerate(found, 1)],
        )


def _wanted_deployment(current: Endpoint | None, version: ModelVersion, request: DeployRequest) -> DeploymentSpec:
    live = current.status.live() if current else None
    same_model = live if live and live.model == version.full_name else None
    resources = request.resources or version.card.resources or Resources()
    wanted = DeploymentSpec(
        name=f"v{version.version}-{(current.generation if current else 0) + 1}",
        model=version.full_name,
        version=version.version,
        artifact_sha256=version.artifact_sha256,
        access=request.access or (live.access if live else current.spec.access if current else Access.TOKEN),
        replicas=request.replicas or (same_model.replicas if same_model else 1),
        resources=resources,
    )
    return _existing(current, wanted) or wanted


def _existing(current: Endpoint | None, wanted: DeploymentSpec) -> DeploymentSpec | None:
    """The deployment that runs just this already, live or warm: it is used again as it stands."""
    if current is None:
        return None
    running = (one.spec for one in current.status.deployments if one.failure is None)
    return next((one for one in running if one.model_copy(update={"name": wanted.name}) == wanted), None)


def _is_in_force(current: Endpoint, wanted: DeploymentSpec) -> bool:
    same = current.status.traffic.weights == {wanted.name: 100} == current.spec.traffic.weights
    return same and not current.spec.stopped


def _asks_for(current: Endpoint, wanted: DeploymentSpec) -> bool:
    same = (one.model_copy(update={"name": wanted.name}) == wanted for one in current.spec.deployments)
    return not current.spec.stopped and any(same)


def _spec_of(deployment: DeploymentSpec) -> EndpointSpec:
    traffic = TrafficSplit(weights={deployment.name: 100})
    return EndpointSpec(access=deployment.access, deployments=(deployment,), traffic=traffic)


def _write(
    platform: Platform,
    actor: Actor,
    ref: EndpointRef,
    current: Endpoint | None,
    spec: EndpointSpec,
    kind: EventType,
    data: dict[str, object],
) -> Endpoint:
    event = NewEvent(type=kind, actor=actor.name, zone=ref.zone, subject=str(ref), data=data)
    if current is None:
        written = platform.endpoints.create(ref, spec, event)
    else:
        written = platform.endpoints.change_spec(ref, spec, current.generation, event)
    platform.changes.notify()
    return written


def roll_back(platform: Platform, actor: Actor, ref: EndpointRef) -> Endpoint:
    """Go back to what was live before; a change under way is given up.

    Raises
    ------
    ConflictError
        If nothing was live before.
    """
    actor.require(Scope.ENDPOINTS_DEPLOY, ref.zone or "")
    current = readable_endpoint(platform, actor, ref)
    live = current.status.live()
    target = live if not current.settled else next(iter(current.status.history), None)
    if target is None or current.spec.stopped:
        why = "it is stopped" if current.spec.stopped else "nothing was live before"
        verb = "stop" if not current.settled else "deploy"
        raise ConflictError(f"{ref.name} cannot go back: {why}.", hint=f"%mp_{verb} {ref.name}")
    _check_target(platform)
    if live is not None and target.access is not live.access:
        # Going back to a version does not go back to who may call: a closed endpoint stays closed.
        target = target.model_copy(
            update={"name": f"v{target.version}-{current.generation + 1}", "access": live.access}
        )
    spec = _spec_of(target)
    data = {"model": target.model, "version": target.version, "deployment": target.name, "rollback": True}
    return _write(platform, actor, ref, current, spec, EventType.DEPLOYMENT_REQUESTED, data)


def set_stopped(platform: Platform, actor: Actor, ref: EndpointRef, *, stopped: bool) -> Endpoint:
    """Stop an endpoint, or start it again with what was live.

    Raises
    ------
    ExceedsQuotaError
        If there is no room to start it.
    """
    actor.require(Scope.ENDPOINTS_DEPLOY, ref.zone or "")
    current = readable_endpoint(platform, actor, ref)
    if current.spec.stopped == stopped:
        return current
    live = current.status.live()
    spec = _spec_of(live) if stopped and live is not None else current.spec  # what answers is what a start brings back
    if not stopped:
        _check_target(platform)
        needed = Amount(endpoints=1)
        for deployment in spec.deployments:
            needed += deployment.needs()
        check_room(platform, ref, needed)
    spec = spec.model_copy(update={"stopped": stopped})
    data: dict[str, object] = {"stopped": stopped}
    return _write(platform, actor, ref, current, spec, EventType.DEPLOYMENT_REQUESTED, data)


def delete(platform: Platform, actor: Actor, ref: EndpointRef) -> None:
    """Delete an endpoint and the tokens that call it; the reconciler ends what still runs."""
    actor.require(Scope.ENDPOINTS_DEPLOY, ref.zone or "")
    readable_endpoint(platform, actor, ref)
    revoke_tokens_of(platform, actor, ref)
    event = NewEvent(type=EventType.ENDPOINT_DELETED, actor=actor.name, zone=ref.zone, subject=str(ref))
    platform.endpoints.delete(ref, event)
    platform.changes.notify()


def metrics(platform: Platform, actor: Actor, ref: EndpointRef) -> EndpointMetrics:
    """Calls of an endpoint since its runners started."""
    return platform.target.metrics(readable_endpoint(platform, actor, ref).ref)


def logs(
    platform: Platform, actor: Actor, ref: EndpointRef, deployment: str | None, lines: int, *, follow: bool
) -> Iterator[LogLine]:
    """The end of the runners' logs, and what comes."""
    found = readable_endpoint(platform, actor, ref)
    return platform.target.logs(found.ref, deployment, lines, follow)
