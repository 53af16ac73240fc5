"""What the use-cases work with: every port, joined once by `compose`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


class Watch:
    """One who waits for changes, in an event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """Something changed; may be called from any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._changed.set)

    async def wait(self, seconds: float) -> None:
        """Return when something has changed since the last return, or after `seconds`."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)
        self._changed.clear()


class Changes:
    """Wakes those who wait for something to change: the reconciler, event streams, long polls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watches: set[Watch] = set()
        self.reconciler = threading.Event()

    def notify(self) -> None:
        """Something changed; may be called from any thread."""
        self.reconciler.set()
        self.tell()

    def tell(self) -> None:
        """Something changed of which the reconciler knows, for it was itself that changed it."""
        with self._lock:
            watches = list(self._watches)
        for watch in watches:
            watch.wake()

    @contextmanager
    def watched(self) -> Iterator[Watch]:
        """Notice every change from now on: what is read inside cannot change unnoticed before it is waited for."""
        watch = Watch()
        with self._lock:
            self._watches.add(watch)
        try:
            yield watch
        finally:
            with self._lock:
                self._watches.discard(watch)


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
