"""What the use-cases work with: every port, joined once by `compose`."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field

from model_platform_core.errors import ZoneNotFoundError
from model_platform_core.zones import Zone
from model_platform_server.ports import (
    ActorStore,
    Answers,
    Catalogue,
    Clock,
    DeploymentTarget,
    EndpointStore,
    EventStore,
    Keys,
    Registry,
    UploadStore,
    ZoneStore,
)


class Changes:
    """Wakes those who wait for something to change: the reconciler, event streams, long polls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self.reconciler = threading.Event()

    def notify(self) -> None:
        """Something changed; may be called from any thread."""
        self.reconciler.set()
        with self._lock:
            waiting = list(self._waiting)
        for loop, event in waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    async def wait(self, seconds: float) -> None:
        """Return at the next change, or after `seconds`."""
        entry = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._waiting.add(entry)
        try:
            await asyncio.wait_for(entry[1].wait(), seconds)
        except TimeoutError:
            pass
        finally:
            with self._lock:
                self._waiting.discard(entry)


@dataclass(frozen=True)
class Platform:
    """Every port."""

    actors: ActorStore
    zones: ZoneStore
    endpoints: EndpointStore
    events: EventStore
    catalogue: Catalogue
    answers: Answers
    uploads: UploadStore
    registry: Registry
    keys: Keys
    target: DeploymentTarget
    clock: Clock
    changes: Changes = field(default_factory=Changes)

    def zone(self, name: str) -> Zone:
        """The zone of that name.

        Raises
        ------
        ZoneNotFoundError
            If there is none.
        """
        zone = self.zones.get(name)
        if zone is None:
            raise ZoneNotFoundError(f"There is no zone {name}.", hint="%mp_zone lists the zones")
        return zone
