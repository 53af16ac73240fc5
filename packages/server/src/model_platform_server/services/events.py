"""Reading what happened."""

from __future__ import annotations

from model_platform_core.access import Actor, Scope
from model_platform_core.events import Event
from model_platform_server.services.platform import Platform


def events_after(platform: Platform, actor: Actor, last_id: int, limit: int = 500) -> list[Event]:
    """Events after an id, oldest first, of the zones that the actor may read."""
    return platform.events.after(last_id, actor.zones(Scope.ZONES_READ), limit)
