"""How a client finds the embedded server: a file of mode 0600, a lock that one server holds, a heartbeat."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import platform as machine
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TextIO

import psutil

from model_platform_core.errors import ServerUnavailableError, StorageUnavailableError
from model_platform_server import __version__
from model_platform_server.adapters.local import processes
from model_platform_server.adapters.local.processes import ProcessIdentity
from model_platform_server.bootstrap import write_private

DISCOVERY_FILE = "server.json"
LOCK_FILE = "server.lock"
HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 60.0

log = logging.getLogger(__name__)


class StateDirectory:
    """The folder of one server, held for as long as it runs."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._lock: TextIO | None = None
        self._stopping = threading.Event()
        self._beating: threading.Thread | None = None

    def hold(self) -> None:
        """Make the folder and take it.

        Raises
        ------
        StorageUnavailableError
            If it cannot be written.
        ServerUnavailableError
            If another server, here or on another host, holds it.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
            self._lock = (self.path / LOCK_FILE).open("w")
        except OSError as error:
            raise StorageUnavailableError(
                f"The state directory {self.path} cannot be written ({error.strerror}); set MP_HOME to one that can."
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ServerUnavailableError(f"Another server holds {self.path}.", hint="mp server status") from None
        self._refuse_other_host()

    def _refuse_other_host(self) -> None:
        path = self.path / DISCOVERY_FILE
        try:
            found, age = json.loads(path.read_text()), time.time() - path.stat().st_mtime
        except (OSError, ValueError):
            return
        if found.get("host") != machine.node() and age < STALE_SECONDS:
            raise ServerUnavailableError(
                f"{self.path} is in use by a server on {found.get('host')}.",
                hint="stop it there (mp server stop), or set MP_HOME to another folder here",
            )

    def announce(self, url: str, proof_key: str) -> None:
        """Write the discovery file, and touch it from now on."""
        content = {
            "url": url,
            "pid": os.getpid(),
            "start_time": psutil.Process().create_time(),  # for people: it moves when the clock is set
            "started": processes.identity_of(os.getpid()).started,
            "host": machine.node(),
            "version": __version__,
            "interpreter": sys.executable,
            "proof_key": proof_key,
            "uploads": str(self.path / "uploads"),
        }
        write_private(self.path / DISCOVERY_FILE, json.dumps(content))
        self._beating = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._beating.start()

    def _beat(self) -> None:
        while not self._stopping.wait(HEARTBEAT_SECONDS):
            if not self._is_held():
                log.error("%s was removed or replaced under this server; it ends", self.path)
                os.kill(os.getpid(), signal.SIGTERM)
                return
            with contextlib.suppress(OSError):  # a disk that cannot be written is told by whoever has to write
                os.utime(self.path / DISCOVERY_FILE)

    def _is_held(self) -> bool:
        """Whether the folder is still the one that was taken: who removes it, or puts another in its place, means it."""
        assert self._lock is not None
        try:
            return os.path.samestat(os.fstat(self._lock.fileno()), (self.path / LOCK_FILE).stat())
        except FileNotFoundError:
            return False
        except OSError:
            return True

    def release(self) -> None:
        """Take the file back and let the folder go."""
        self._stopping.set()
        if self._beating is not None:
            self._beating.join()
            if self._is_held():
                (self.path / DISCOVERY_FILE).unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()


def running_server(state: Path) -> ProcessIdentity | None:
    """The process of the server that the discovery file names; None if it is gone."""
    try:
        found = json.loads((state / DISCOVERY_FILE).read_text())
        identity = ProcessIdentity(pid=found["pid"], started=found["started"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return identity if found.get("host") == machine.node() and processes.alive(identity) else None
