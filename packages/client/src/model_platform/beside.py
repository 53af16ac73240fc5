"""Work that goes on after a verb has answered: it ends with its connection, at the latest with the session."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable

_LAST_WORDS_SECONDS = 5.0


class Beside:
    """Threads beside the notebook, each with what brings it to its end."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._running: dict[threading.Thread, Callable[[], None]] = {}

    def start(self, name: str, work: Callable[[], None], end: Callable[[], None]) -> None:
        """Let `work` run in a thread. After `end`, which is called when there is no more time, it has seconds left."""

        def run() -> None:
            try:
                work()
            finally:
                with self._turn:
                    self._running.pop(thread, None)
                    if not self._running:
                        atexit.unregister(self.close)

        thread = threading.Thread(target=run, name=name, daemon=True)
        with self._turn:
            if not self._running:
                atexit.register(self.close)
            self._running[thread] = end
        thread.start()

    def close(self) -> None:
        """Bring everything to its end."""
        with self._turn:
            running = dict(self._running)
        for end in running.values():
            end()
        for thread in running:
            thread.join(_LAST_WORDS_SECONDS)
