"""How runners start: as a fork of a process that has imported what they need, or as a process of their own.

There is one fork server for each environment, made when the first runner of it starts; where there can be none, or it
does not answer in time, a runner is a fresh process, which behaves alike. Fork servers outlive us as runners do, and
runners outlive their fork server.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from model_platform_core.values import Observed, digest_of
from model_platform_server.adapters.local import files, processes
from model_platform_server.adapters.local.processes import ProcessIdentity
from model_platform_server.adapters.local.settings import Patience
from model_platform_server.adapters.local.watch import Watch

_POSSIBLE = sys.platform == "linux" and hasattr(os, "pidfd_open")
_OPTION = "--fork-server"
_RECORD = "process.json"
_LOG = "fork_server.log"
FORK_SERVERS = "fork-servers"  # their folder in the state directory
RUNNER_LOG = "runner.log"
_ROOM = 1024  # bytes of a command line that a runner's is written over
_BACKLOG = 512
_CONNECT_SECONDS = 1.0
_END_SECONDS = 2.0
_AT_ONCE = 0.05  # seconds in which a fork server answers that has imported everything
_MLFLOW = frozenset({"mlflow", "mlflow-skinny"})


@dataclass(frozen=True)
class Launch:
    """What a runner is started with.

    Attributes
    ----------
    configuration
        A file in the folder in which it is started, and where its log is.
    command
        The model's Python and what it runs; its path comes after it.
    environment
        All variables of the process.
    libraries
        Names of packages that the model needs.
    stamp
        Another one when something was installed, removed or changed in the environment.
    """

    configuration: Path
    command: tuple[str, ...]
    environment: Mapping[str, str]
    libraries: Collection[str]
    stamp: str

    @property
    def key(self) -> str:
        """The same for runners that one process can be forked for. Those with MLflow have one of their own: it is large."""
        return digest_of([self.command, dict(self.environment), not _MLFLOW.isdisjoint(self.libraries)])[7:23]


class Start(Protocol):
    """A runner on its way to being a process."""

    def identity(self) -> ProcessIdentity | None:
        """The process, as soon as it is there; raises OSError if it cannot be."""
        ...

    def go(self) -> None:
        """The process is noted, and may begin."""
        ...

    def cancel(self) -> None:
        """It is not wanted any more."""
        ...


@dataclass(frozen=True)
class Fresh:
    """A process of its own, which has begun."""

    process: ProcessIdentity

    def identity(self) -> ProcessIdentity:
        """The process."""
        return self.process

    def go(self) -> None:
        """Nothing: it has begun."""

    def cancel(self) -> None:
        """End it."""
        processes.kill(self.process)


class _Record(Observed):
    """Which process is a fork server, whose Python it runs, and what was installed when it was started."""

    process: ProcessIdentity
    python: Path
    stamp: str


class Order:
    """A runner that a fork server was asked for. It waits for `go`, and ends where that does not come."""

    def __init__(
        self, servers: ForkServers, server: ProcessIdentity, launch: Launch, connection: socket.socket
    ) -> None:
        self.server = server
        self.launch = launch
        self._servers = servers
        self._connection = connection
        self._identity: ProcessIdentity | None = None
        self._deadline = time.monotonic() + servers.seconds_for(self)
        connection.setblocking(False)

    def identity(self) -> ProcessIdentity | None:
        """The process; a fresh one where the fork server gives none."""
        if self._identity is None:
            self._identity = self._look()
        return self._identity

    def _look(self) -> ProcessIdentity | None:
        try:
            answer = _answer(self._connection.recv(4096))
        except BlockingIOError:
            if time.monotonic() < self._deadline:
                return None
            self._servers.give_up(self.server)
            answer = {}
        except OSError:
            answer = {}
        if "pid" in answer:
            self._servers.note_imported(self)
            return processes.identity_from(answer["pid"], answer["ticks"])
        if "unfit" in answer:
            self._servers.note_unfit(self.launch)
        self._connection.close()
        return fresh(self.launch).process

    def go(self) -> None:
        """Let it begin."""
        with contextlib.suppress(OSError):  # it has ended: told as every end is
            self._connection.send(b"\n")
        self._connection.close()

    def cancel(self) -> None:
        """Let it end before it has begun."""
        self._connection.close()
        if self._identity is not None:
            processes.kill(self._identity)  # a fresh one begins without being told


class ForkServers:
    """The fork servers of a state directory.

    Parameters
    ----------
    folder
        Holds a folder for each.
    sockets
        Where their sockets are.
    """

    def __init__(self, folder: Path, sockets: Path, watch: Watch, patience: Patience) -> None:
        self._folder = folder
        self._sockets = sockets
        self._watch = watch
        self._patience = patience
        self._lock = threading.Lock()
        self._records: dict[str, _Record] = {}  # by key
        self._imported: dict[tuple[int, str], set[str]] = {}  # what a process has imported for the orders before
        self._unfit: set[tuple[str, str, frozenset[str]]] = set()  # launches for which forks do not do

    def begin(self, launch: Launch) -> Start:
        """Start a runner.

        Raises
        ------
        OSError, StorageUnavailableError
            If that cannot be.
        """
        if not _POSSIBLE or _what(launch) in self._unfit:
            return fresh(launch)
        with self._lock:
            order = self._order(launch) or self._order(launch)
        if order is None:
            return fresh(launch)
        return order

    def look_after(self) -> None:
        """End those whose Python is not there any more; the runners that they started go on."""
        with self._lock:
            for key, record in list(self._records.items()):
                if not processes.alive(record.process):
                    del self._records[key]
                elif not record.python.exists():
                    self.give_up(record.process)

    def _order(self, launch: Launch) -> Order | None:
        """An order with the launch's fork server; None if that has just ended."""
        process = self._running(launch)
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(_CONNECT_SECONDS)
            connection.connect(str(self._door(launch.key)))
            order = {"configuration": str(launch.configuration), "libraries": sorted(launch.libraries)}
            connection.sendall(json.dumps(order).encode() + b"\n")
        except OSError:
            connection.close()
            self.give_up(process)
            return None
        if self._has_imported(process, launch):
            select.select([connection], [], [], _AT_ONCE)
        self._watch.tell_of_answer(connection)
        return Order(self, process, launch, connection)

    def _running(self, launch: Launch) -> ProcessIdentity:
        """The process for a launch; a new one if there is none, or something in its environment has changed."""
        place = self._folder / launch.key
        record = self._records.get(launch.key) or _read(place / _RECORD)
        if record is not None and processes.alive(record.process):
            self._records[launch.key] = record
            if record.stamp == launch.stamp:
                return record.process
            self.give_up(record.process)
        for process in processes.running(str(place)).get(str(place), []):
            self.give_up(process)  # one that nobody noted: who started it ended in that moment
        files.private_folder(place)
        process = self._new(launch, place)
        record = _Record(process=process, python=Path(launch.command[0]), stamp=launch.stamp)
        self._records[launch.key] = record
        files.replace(place / _RECORD, record.model_dump_json())
        return process

    def _new(self, launch: Launch, place: Path) -> ProcessIdentity:
        door = self._door(launch.key)
        door.unlink(missing_ok=True)
        (place / _LOG).unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(door))
            door.chmod(0o600)  # whoever may write there starts processes
            listener.listen(_BACKLOG)
            arguments = [_OPTION, place, listener.fileno(), self._patience.idle, "-" * _ROOM]
            return processes.start(
                [*launch.command, *map(str, arguments)],
                environment=launch.environment,
                directory=place,
                log=place / _LOG,
                descriptors=[listener.fileno()],
            )

    def _door(self, key: str) -> Path:
        return self._sockets / f"{key}.fork"

    # ---------------------------------------------------------------- what orders tell

    def seconds_for(self, order: Order) -> float:
        """How long an order may take: a fork, or the imports before it."""
        at_once = self._has_imported(order.server, order.launch)
        return self._patience.fork if at_once else self._patience.imports

    def note_imported(self, order: Order) -> None:
        """A fork server has imported what was asked for."""
        self._imported.setdefault(_identity(order.server), set()).update(order.launch.libraries)

    def note_unfit(self, launch: Launch) -> None:
        """What a launch needs cannot be shared by forks, as long as nothing changes in its environment."""
        self._unfit.add(_what(launch))

    def give_up(self, process: ProcessIdentity) -> None:
        """End a fork server, and not what it has started."""
        self._imported.pop(_identity(process), None)
        processes.send(process, signal.SIGKILL)
        processes.wait_until(lambda: not processes.alive(process), _END_SECONDS)

    def _has_imported(self, process: ProcessIdentity, launch: Launch) -> bool:
        return self._imported.get(_identity(process), set()).issuperset(launch.libraries)


def _identity(process: ProcessIdentity) -> tuple[int, str]:
    return process.pid, process.started


def _what(launch: Launch) -> tuple[str, str, frozenset[str]]:
    """What a fork server is asked to have ready."""
    return launch.key, launch.stamp, frozenset(launch.libraries)


def fresh(launch: Launch) -> Fresh:
    """Start a runner as a process of its own; raises OSError."""
    command = [*launch.command, str(launch.configuration)]
    folder = launch.configuration.parent
    return Fresh(processes.start(command, environment=launch.environment, directory=folder, log=folder / RUNNER_LOG))


def _read(record: Path) -> _Record | None:
    with contextlib.suppress(OSError, ValidationError):
        text = files.read(record)
        return _Record.model_validate_json(text) if text else None
    return None


def _answer(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
