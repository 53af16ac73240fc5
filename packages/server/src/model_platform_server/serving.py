"""Running the server: the port first, then everything else; MLflow, which takes seconds to import, last."""

from __future__ import annotations

import asyncio
import gc
import getpass
import logging
import logging.handlers
import os
import secrets
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import uvicorn

from model_platform_core.errors import ServerUnavailableError
from model_platform_server.adapters.mlflow.context import acting_as
from model_platform_server.app import create_app
from model_platform_server.bootstrap import ensure_owner, write_private
from model_platform_server.compose import compose
from model_platform_server.discovery import StateDirectory
from model_platform_server.settings import Settings

PORT_FILE = "server.port"
REGISTRY_AFTER_SECONDS = 0.3
LOG_BYTES, LOG_FILES = 5 << 20, 3

log = logging.getLogger(__name__)


def serve(settings: Settings) -> None:
    """Run until told to stop (SIGTERM, SIGINT). Endpoints go on answering afterwards.

    Raises
    ------
    StorageUnavailableError
        If the state directory cannot be written.
    ServerUnavailableError
        If another server holds it, or the port is taken.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    directory = StateDirectory(settings.state)
    directory.hold()
    _log_to(directory.path / "logs")
    listener = _listen(settings, directory.path)
    try:
        _serve(settings, directory, listener)
    finally:
        listener.close()
        directory.release()


def _serve(settings: Settings, directory: StateDirectory, listener: socket.socket) -> None:
    url = f"http://{settings.host}:{listener.getsockname()[1]}"
    composition = compose(settings)
    ensure_owner(composition.platform, settings.owner or getpass.getuser(), directory.path)
    proof_key = secrets.token_hex(32)
    app = create_app(
        composition.platform,
        proof_key=proof_key,
        url=url,
        mlflow=composition.registry.application,
        acting_as=acting_as,
        allowed_hosts=settings.allowed_hosts,
        allowed_origins=settings.allowed_origins,
    )
    composition.reconciler.start()
    server = _Server(
        uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=5, server_header=False),
        afterwards=composition.registry.start,
    )
    directory.announce(url, proof_key)
    gc.freeze()  # what a start has made stays
    gc.enable()
    try:
        server.run(sockets=[listener])
    finally:
        if not composition.reconciler.stop():
            log.warning("a step is still under way; the next server takes it up")
            directory.release()
            logging.shutdown()
            os._exit(0)  # Python itself would wait for the step: for an environment that is being built, minutes
        composition.registry.stop()


class _Server(uvicorn.Server):
    """Does something more once it answers, and whoever started it has had the first answer."""

    def __init__(self, config: uvicorn.Config, *, afterwards: Callable[[], None]) -> None:
        super().__init__(config)
        self._afterwards = afterwards

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        asyncio.get_running_loop().call_later(REGISTRY_AFTER_SECONDS, self._afterwards)


def _end(_number: int, _frame: object) -> NoReturn:
    """Leave by the way of all `finally`; uvicorn ends by itself and then sends the signal once more."""
    raise SystemExit(0)


def _listen(settings: Settings, state: Path) -> socket.socket:
    """The listening socket: on the port that is asked for, else on the one of last time, else on a free one."""
    kept = state / PORT_FILE
    last = int(kept.read_text()) if kept.exists() and kept.read_text().isdigit() else 0
    for port in [settings.port] if settings.port else [last, 0]:
        listener = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, port))
            listener.listen(512)
        except OSError as error:
            listener.close()
            if settings.port:
                why = f"Port {port} of {settings.host} cannot be had ({error.strerror})"
                raise ServerUnavailableError(f"{why}; choose another with --port.") from None
            continue
        write_private(kept, str(listener.getsockname()[1]))
        return listener
    raise ServerUnavailableError(f"No port of {settings.host} can be had.")


def _log_to(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    handler = logging.handlers.RotatingFileHandler(folder / "server.log", maxBytes=LOG_BYTES, backupCount=LOG_FILES)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for chatty in ("alembic", "httpx", "mlflow", "uvicorn.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
