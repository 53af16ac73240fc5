"""Names on the server, for completion in cells and terminals. It never keeps one waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate

from model_platform.client import Client, current_if_any
from model_platform.grammar import Names
from model_platform_core.errors import ModelPlatformError

PATIENCE_SECONDS = 0.2
FRESH_SECONDS = 10.0

Fetch = Callable[[Client], list[str]]


def _models(client: Client) -> list[str]:
    return [one.name if one.zone == client.zone else one.full_name for one in client.models()]


def _versions(client: Client) -> list[str]:
    found = []
    for model in client.models():
        name = model.name if model.zone == client.zone else model.full_name
        found.append(name)
        found += [f"{name}@{alias}" for alias in model.aliases]
        found += [f"{name}:{version}" for version in range(model.newest_version or 0, 0, -1)][:10]
    return found


_FETCH: Mapping[Names, Fetch] = {
    Names.MODELS: _models,
    Names.VERSIONS: _versions,
    Names.ENDPOINTS: lambda client: [one.name for one in client.endpoints(client.zone)],
    Names.ZONES: lambda client: [one.name for one in client.zones()],
}


class KnownNames:
    """Names on the server, as of a few seconds ago. Asked in the background; who asks waits for 0.2 s at most."""

    def __init__(self, connection: Callable[[], Client | None] = current_if_any) -> None:
        self._connection = connection
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="completion")
        self._known: dict[Names, tuple[float, list[str]]] = {}
        self._lock = threading.Lock()

    def get(self, names: Names) -> list[str]:
        """What is known; nothing is started and nothing connected for a Tab."""
        client, fetch = self._connection(), _FETCH.get(names)
        if client is None or fetch is None:
            return []
        with self._lock:
            at, known = self._known.get(names, (0.0, []))
        if time.monotonic() - at < FRESH_SECONDS:
            return known
        asked = self._pool.submit(self._refresh, names, client, fetch)
        try:
            return asked.result(PATIENCE_SECONDS)
        except TooLate:
            return known

    def _refresh(self, names: Names, client: Client, fetch: Fetch) -> list[str]:
        try:
            found = fetch(client)
        except ModelPlatformError:
            found = []
        with self._lock:
            self._known[names] = (time.monotonic(), found)
        return found
