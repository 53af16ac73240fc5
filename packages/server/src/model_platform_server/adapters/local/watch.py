"""Waiting for what happens to runners: the system tells when one ends, and a runner itself when it is ready."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from pathlib import Path

from model_platform_server.adapters.local import processes
from model_platform_server.adapters.local.processes import ProcessIdentity

_POSSIBLE = hasattr(select, "epoll") and hasattr(os, "pidfd_open")
_LOOK_SECONDS = 0.02  # where the system tells nothing by itself


class Watch:
    """Counts what happens, so that whoever has looked can wait for more. It has a thread from the first look on.

    Parameters
    ----------
    path
        Where runners send a datagram when they are ready. Of several that watch there the last gets them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._happened = threading.Condition()
        self._count = 0
        self._seen = threading.local()
        self._over = not _POSSIBLE
        self._epoll: select.epoll | None = None
        self._wake = -1
        self._ends: set[int] = set()  # descriptors that stand for processes

    def look(self) -> None:
        """The calling thread is about to look at what there is; it can wait for what happens from now on."""
        with self._happened:
            self._begin()
            self._seen.count = self._count

    def wait(self, seconds: float) -> None:
        """Return when something has happened since this thread looked, at the latest after so many seconds."""
        with self._happened:
            if not self._over:
                seen = getattr(self._seen, "count", self._count)
                self._happened.wait_for(lambda: self._count != seen or self._over, seconds)
                return
        time.sleep(min(seconds, _LOOK_SECONDS))

    def tell_of_end(self, identity: ProcessIdentity) -> None:
        """Have it count when a process ends."""
        with self._happened, contextlib.suppress(OSError):  # it is gone; whoever waits looks from time to time as well
            self._begin()
            if self._epoll is None:
                return
            descriptor = os.pidfd_open(identity.pid)
            if processes.alive(identity):
                self._ends.add(descriptor)
                self._epoll.register(descriptor, select.EPOLLIN)
            else:
                os.close(descriptor)

    def tell_of_answer(self, connection: socket.socket) -> None:
        """Have it count, once, when something comes on a connection."""
        with self._happened:
            self._begin()
            if self._epoll is not None:
                self._epoll.register(connection, select.EPOLLIN | select.EPOLLONESHOT)

    def end(self) -> None:
        """Watch no longer; who waits goes on."""
        with self._happened:
            if self._epoll is not None:
                os.eventfd_write(self._wake, 1)
            self._over = True
            self._happened.notify_all()

    def _begin(self) -> None:
        if self._over or self._epoll is not None:
            return
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.setblocking(False)
        try:
            self.path.unlink(missing_ok=True)
            listener.bind(str(self.path))
            self.path.chmod(0o600)
        except OSError:  # no room on the disk: whoever waits looks from time to time
            listener.close()
            self._over = True
            return
        self._epoll, self._wake = select.epoll(), os.eventfd(0)
        for descriptor in (listener.fileno(), self._wake):
            self._epoll.register(descriptor, select.EPOLLIN)
        threading.Thread(target=self._work, args=(self._epoll, listener), name="watch", daemon=True).start()

    def _work(self, epoll: select.epoll, listener: socket.socket) -> None:
        over = False
        while not over:
            found = [descriptor for descriptor, _ in epoll.poll()]
            with self._happened:
                over = self._wake in found
                if listener.fileno() in found:
                    _empty(listener)
                for descriptor in self._ends.intersection(found):
                    self._ends.remove(descriptor)
                    os.close(descriptor)
                self._count += 1
                self._happened.notify_all()
        with self._happened:
            self._epoll = None
            for descriptor in (self._wake, *self._ends):
                os.close(descriptor)
            self._ends.clear()
            listener.close()
            epoll.close()


def _empty(listener: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            listener.recv(1)
