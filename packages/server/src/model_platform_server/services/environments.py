"""Environments in which models run, on the machine of the target."""

from __future__ import annotations

from model_platform_core.access import EVERY_ZONE, Actor, Scope
from model_platform_core.events import EventType, NewEvent
from model_platform_core.wire import EnvironmentInfo
from model_platform_server.services.platform import Platform


def list_environments(platform: Platform, actor: Actor) -> list[EnvironmentInfo]:
    """Those that were built, and those that deployments wait for.

    Raises
    ------
    ForbiddenError
        Unless the actor may see the endpoints of every zone: they share environments.
    """
    actor.require(Scope.ENDPOINTS_READ, EVERY_ZONE)
    return platform.target.environments()


def prune(platform: Platform, actor: Actor) -> list[EnvironmentInfo]:
    """Remove those that no deployment uses, live or warm; what was removed. What needs one again builds it again.

    Raises
    ------
    ForbiddenError
        Unless the actor may deploy in every zone.
    """
    actor.require(Scope.ENDPOINTS_DEPLOY, EVERY_ZONE)
    removed = platform.target.prune_environments()
    if removed:
        data: dict[str, object] = {"keys": [one.key for one in removed], "bytes": sum(one.bytes for one in removed)}
        kind = EventType.ENVIRONMENTS_PRUNED
        platform.events.append([NewEvent(type=kind, actor=actor.name, zone=None, subject="environments", data=data)])
    return removed
