"""Zones: who may see them, what is used, what fits."""

from __future__ import annotations

from model_platform_core.access import EVERY_ZONE, Actor, Scope
from model_platform_core.cards import Resources
from model_platform_core.deployments import Endpoint
from model_platform_core.errors import ExceedsQuotaError, NameTakenError, ZoneNotFoundError
from model_platform_core.events import EventType, NewEvent
from model_platform_core.refs import EndpointRef, check_name
from model_platform_core.wire import Preflight, PreflightRequest, ZoneUsage
from model_platform_core.zones import Amount, Zone, ZoneSpec, check_fits
from model_platform_server.services.platform import Platform


def readable_zone(platform: Platform, actor: Actor, name: str) -> Zone:
    """A zone that the actor may see.

    Raises
    ------
    ZoneNotFoundError
        Also for a zone that the actor may not know of.
    """
    if not actor.may(Scope.ZONES_READ, name):
        raise ZoneNotFoundError(f"There is no zone {name}.", hint="%mp_zone lists the zones")
    return platform.zone(name)


def list_zones(platform: Platform, actor: Actor) -> list[Zone]:
    """The zones that the actor may see."""
    return platform.zones.visible(actor.zones(Scope.ZONES_READ))


def put_zone(platform: Platform, actor: Actor, name: str, spec: ZoneSpec) -> Zone:
    """Create or resize a zone.

    Raises
    ------
    ForbiddenError
        Unless the actor may manage the zone.
    """
    actor.require(Scope.ZONES_MANAGE, check_name("zone", name))
    kind = EventType.ZONE_RESIZED if platform.zones.get(name) else EventType.ZONE_CREATED
    zone = Zone(name=name, spec=spec)
    data = spec.model_dump(mode="json")
    platform.zones.put(zone, NewEvent(type=kind, actor=actor.name, zone=name, subject=name, data=data))
    platform.changes.notify()
    return zone


def delete_zone(platform: Platform, actor: Actor, name: str) -> None:
    """Delete a zone in which nothing is left.

    Raises
    ------
    ForbiddenError
        Unless the actor may manage every zone.
    InUseError
        If models or endpoints are in it.
    """
    readable_zone(platform, actor, name)
    actor.require(Scope.ZONES_MANAGE, name)
    if actor.home_zone == name and not actor.may(Scope.ZONES_MANAGE, EVERY_ZONE):
        raise NameTakenError(f"{name} is your home zone; an administrator of every zone can delete it.")
    platform.zones.delete(name, NewEvent(type=EventType.ZONE_DELETED, actor=actor.name, zone=name, subject=name))
    platform.changes.notify()


def _endpoints(platform: Platform, zone: str) -> list[Endpoint]:
    found, cursor = [], None
    while True:
        page = platform.endpoints.page(frozenset({zone}), cursor=cursor)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


def _counted(endpoint: Endpoint) -> Amount:
    """What an endpoint asks for. A warm runner of an earlier version is not counted: it makes room when asked to."""
    if endpoint.spec.stopped:
        return Amount()
    wanted = set(endpoint.spec.traffic.weights) if not endpoint.settled else set(endpoint.status.traffic.weights)
    named = {one.name: one for one in endpoint.spec.deployments} | {
        one.spec.name: one.spec for one in endpoint.status.deployments
    }
    total = Amount(endpoints=1)
    for name in wanted & set(named):
        total += named[name].needs()
    return total


def used_in(platform: Platform, zone: str, *, without: str | None = None) -> Amount:
    """What the endpoints of a zone ask for together, `without` one of them."""
    total = Amount()
    for endpoint in _endpoints(platform, zone):
        if endpoint.name != without:
            total += _counted(endpoint)
    return total


def usage(platform: Platform, actor: Actor, name: str) -> ZoneUsage:
    """A zone, what is used of it and what is left."""
    zone, used = readable_zone(platform, actor, name), used_in(platform, name)
    return ZoneUsage(zone=zone, used=used, left=_left(zone, used))


def _left(zone: Zone, used: Amount) -> Amount:
    limits = zone.spec.limits
    fields = {field: max(getattr(limits, field) - getattr(used, field), 0) for field in Amount.model_fields}
    return Amount(**fields)


def stop_candidates(platform: Platform, zone: str, *, without: str) -> list[str]:
    """Endpoints that could be stopped to make room, the least called first; what holds no room makes none."""
    running = [one for one in _endpoints(platform, zone) if one.name != without and _counted(one).cpu > 0]
    calls = {one.name: platform.target.metrics(one.ref).calls for one in running}
    return sorted(calls, key=lambda name: (calls[name], name))


def check_room(platform: Platform, ref: EndpointRef, needed: Amount) -> None:
    """Nothing if an endpoint that needs this much fits into its zone.

    While a version replaces another both run for a moment; the room of the one that goes is not counted twice.

    Raises
    ------
    ExceedsQuotaError
        Says what is needed, what is left, and what to stop.
    """
    zone = platform.zone(ref.zone or "")
    used = used_in(platform, zone.name, without=ref.name)
    try:
        check_fits(zone, used, needed)
    except ExceedsQuotaError:
        check_fits(zone, used, needed, stop_candidates(platform, zone.name, without=ref.name))


def preflight(platform: Platform, actor: Actor, name: str, request: PreflightRequest) -> Preflight:
    """Whether a deployment would fit, and what to stop if it does not."""
    zone = readable_zone(platform, actor, name)
    used = used_in(platform, name, without=request.endpoint)
    each = request.resources or Resources()
    count = request.replicas
    needed = Amount(cpu=each.cpu * count, memory=each.memory * count, gpu=each.gpu * count, endpoints=1)
    try:
        check_fits(zone, used, needed)
    except ExceedsQuotaError:
        candidates = stop_candidates(platform, name, without=request.endpoint)
        return Preflight(fits=False, needed=needed, left=_left(zone, used), stop_candidates=candidates)
    return Preflight(fits=True, needed=needed, left=_left(zone, used))
