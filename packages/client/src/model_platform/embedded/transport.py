"""HTTP to the embedded server, on connections that have proven themselves and no others."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

from model_platform.embedded.discovery import Discovery, connection_to, proves


class ProvenTransport(httpx.HTTPTransport):
    """A transport for which a connection is open only once the server of the discovery file has proven itself on it.

    The server may die and its port become somebody else's between any two requests, and a pool opens connections as it
    sees fit. So each connection is challenged when it is opened, itself, before a request is written to it; a request
    on a connection that is open already costs nothing more. Without the proof the connection counts as refused.
    """

    def __init__(self, found: Discovery) -> None:
        super().__init__(trust_env=False, verify=False)  # of its own pool, which is never used
        self._pool.close()
        self._pool = httpcore.ConnectionPool(  # the limits are those of httpx
            network_backend=_Challenging(found),
            max_connections=100,
            max_keepalive_connections=20,
            keepalive_expiry=5.0,
        )


class _Challenging(httpcore.SyncBackend):
    def __init__(self, found: Discovery) -> None:
        self._found = found

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        stream = super().connect_tcp(host, port, timeout, local_address, socket_options)
        try:
            trusted = self._trusts(stream.get_extra_info("socket"))
        except BaseException:
            stream.close()
            raise
        if not trusted:
            stream.close()
            raise httpcore.ConnectError("what answers there is not the platform server")
        return stream

    def _trusts(self, opened: socket.socket) -> bool:
        connection = connection_to(self._found)
        opened.settimeout(connection.timeout)
        connection.sock = opened
        # None afterwards: the server has closed the connection with its answer, and there is nothing left to trust.
        return proves(connection, self._found) and connection.sock is not None
