"""Ports on loopback: which one is free, and who has one that is not."""

from __future__ import annotations

import contextlib
import socket

import psutil

from model_platform_core.errors import TargetUnavailableError

PREFERRED_PORT = 8800


def free_port() -> int:
    """8800 if nobody has it, else one near it: outside of those that the system gives away by itself."""
    for port in (*range(PREFERRED_PORT, PREFERRED_PORT + 100), 0):
        with contextlib.suppress(OSError), _bound(port) as probe:
            return int(probe.getsockname()[1])
    raise TargetUnavailableError("This machine has no free port on 127.0.0.1 for the gateway.")


def _bound(port: int) -> socket.socket:
    probe = socket.socket()
    try:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # else a port that was ours a moment ago seems taken
        probe.bind(("127.0.0.1", port))
        probe.listen(1)
    except OSError:
        probe.close()
        raise
    return probe


def is_free(port: int) -> bool:
    """Whether somebody could listen there now."""
    with contextlib.suppress(OSError), _bound(port):
        return True
    return False


def who_listens(port: int) -> str:
    """The program that has a port, in words."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
                if connection.pid:
                    return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
                break
    return "another program"
