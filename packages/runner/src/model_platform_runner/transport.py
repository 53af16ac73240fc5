"""An answer leaves in one piece: whoever reads gets all of it, or, should this process be killed, nothing of it.

A gateway that has seen the head of an answer cannot ask another runner any more.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class _Joined:
    """A transport that keeps the first write back for the second: uvicorn writes head and body one after the other."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._kept = b""

    def write(self, data: bytes) -> None:
        if self._kept:
            self._kept += data
            self._send()
        else:
            self._kept = data
            self._loop.call_soon(self._send)  # should there be no second: an answer to HEAD has no body

    def close(self) -> None:
        self._send()
        self._transport.close()

    def _send(self) -> None:
        kept, self._kept = self._kept, b""
        if kept:
            self._transport.write(kept)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class WholeAnswers(HttpToolsProtocol):
    """Uvicorn's protocol, with answers in one piece."""

    def connection_made(self, transport: Any) -> None:
        """Begin with a connection."""
        super().connection_made(_Joined(transport, self.loop))  # type: ignore[arg-type]
