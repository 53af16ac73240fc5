"""Serving: two sockets on one event loop, until a signal ends it without losing a request."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import uvicorn

from model_platform_runner import http
from model_platform_runner.application import Application
from model_platform_runner.config import Address, Config
from model_platform_runner.errors import StartError
from model_platform_runner.service import Service
from model_platform_runner.transport import WholeAnswers, connections

_BACKLOG = 2048
_KEEP_ALIVE_SECONDS = 3900  # longer than a gateway keeps idle connections, so that it is never we who end one
_QUIET_SECONDS = 0.5  # a kept connection on which nothing comes for so long is taken for idle when draining
_STEP_SECONDS = 0.02


class _Server(uvicorn.Server):
    """Uvicorn, with the signals left to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(place: Path | Address) -> socket.socket:
    """Listen on a Unix socket that only this user may open, or on an address.

    A file left there by a dead runner is replaced.

    Raises
    ------
    StartError
        ``failed_start``: the path is too long, its folder is not there or not writable; the address cannot be had.
    """
    return _bind_address(place) if isinstance(place, Address) else _bind_path(place)


def _bind_address(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        where = f"The address {address.host}:{address.port}"
        raise StartError("failed_start", f"{where} cannot be listened on: {error.strerror or error}.") from error
    return listener


def _bind_path(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        if path.is_socket():
            path.unlink()
        listener.bind(str(path))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise StartError("failed_start", f"The socket {path} cannot be opened: {error.strerror or error}.") from error
    finally:
        os.umask(mask)
    return listener


async def serve(service: Service, application: Application, control: http.Application) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is held."""
    config, journal = service.config, service.journal
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    listeners = {place: bind(place) for place in (config.socket, config.control_socket)}
    inodes = {place: place.stat().st_ino for place in listeners if isinstance(place, Path)}
    calls = _server(application, connections(service, application))
    controls = _server(control, WholeAnswers)
    tasks = [
        asyncio.create_task(calls.serve([listeners[config.socket]])),
        asyncio.create_task(controls.serve([listeners[config.control_socket]])),
    ]
    while not (calls.started and controls.started):
        await asyncio.sleep(0)
    journal.attach(loop)
    journal.event("ready", pid=os.getpid(), **service.info())
    _tell_supervisor(config)
    await stop.wait()
    journal.event("draining", in_flight=service.metrics.in_flight)
    service.draining = True
    _unlink(config.socket, inodes)
    await _drain(service, calls)
    calls.should_exit = controls.should_exit = True
    await asyncio.gather(*tasks)
    _unlink(config.control_socket, inodes)
    journal.event("stopped")


def _tell_supervisor(config: Config) -> None:
    """Say that it is ready, if anybody listens; who does not looks from time to time."""
    if config.supervisor is not None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as teller:
            teller.setblocking(False)
            teller.sendto(config.runner_id.encode(), str(config.supervisor))


async def _drain(service: Service, server: uvicorn.Server) -> None:
    """Wait until nothing is held and nothing comes.

    Nobody can open new connections any more: the socket's file is gone. (At an address they can: whoever sends calls
    there stops.) Those that wait to be accepted still are. On connections that callers keep open, each further request
    is answered with ``Connection: close``; a connection on which none comes for a while is idle, and closed.
    """
    deadline = perf_counter() + service.config.limits.seconds + 2 * _QUIET_SECONDS
    seen, quiet_since = -1, perf_counter()
    while perf_counter() < deadline:
        state = server.server_state
        if state.tasks or service.metrics.in_flight or state.total_requests != seen:
            seen, quiet_since = state.total_requests, perf_counter()
        wanted = _QUIET_SECONDS if state.connections else 2 * _STEP_SECONDS
        if perf_counter() - quiet_since >= wanted:
            return
        await asyncio.sleep(_STEP_SECONDS)


def _server(application: http.Application, protocol: Any) -> _Server:
    return _Server(
        uvicorn.Config(
            application,
            http=protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=1,
        )
    )


def _unlink(place: Path | Address, inodes: dict[Path, int]) -> None:
    """Remove a socket's file, unless another runner has put its own there."""
    if isinstance(place, Path):
        with contextlib.suppress(OSError):
            if place.stat().st_ino == inodes[place]:
                place.unlink()
