"""`python -m model_platform_server --state DIR` serves; `… stop [--all] --state DIR` ends the server, or everything."""

from __future__ import annotations

import argparse
import gc
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from model_platform_core.errors import ModelPlatformError
from model_platform_server import __version__

STOP_SECONDS = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 1 for an error that was told."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "stop":
            return _stop(options.state, everything=options.all)
        return _serve(options)
    except ModelPlatformError as error:
        print(error.message, *([f"  {error.hint}"] if error.hint else []), sep="\n", file=sys.stderr)  # noqa: T201
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="model-platform-server", description=__doc__)
    parser.add_argument("command", nargs="?", choices=["serve", "stop"], default="serve")
    parser.add_argument("--state", type=Path, required=True, help="the folder of everything the server keeps")
    parser.add_argument("--host", help="the address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, help="the port to listen on (the one of last time, else a free one)")
    parser.add_argument("--database-url", help="SQLAlchemy URL (SQLite in the state folder)")
    parser.add_argument("--all", action="store_true", help="with stop: also the gateway and every runner")
    parser.add_argument("--version", action="version", version=__version__)
    return parser


def _serve(options: argparse.Namespace) -> int:
    gc.disable()  # until it serves: a start makes what stays, and to look through all of that again and again takes long
    # Imported here, so that `stop` and `--version` answer at once.
    from model_platform_server.serving import serve  # noqa: PLC0415
    from model_platform_server.settings import Settings  # noqa: PLC0415

    given = {name: getattr(options, name) for name in ("host", "port", "database_url") if getattr(options, name)}
    serve(Settings(state=options.state, **given))
    return 0


def _stop(state: Path, *, everything: bool) -> int:
    from model_platform_server.adapters.local import processes  # noqa: PLC0415
    from model_platform_server.discovery import running_server  # noqa: PLC0415

    server = running_server(state)
    if server is not None:
        for number in (signal.SIGTERM, signal.SIGKILL):  # to it alone: what it has started goes on answering
            processes.send(server, number)
            if processes.wait_until(lambda: not processes.alive(server), STOP_SECONDS):
                break
    if everything:
        from model_platform_server.adapters.local.remains import stop_everything  # noqa: PLC0415

        stop_everything(state / "local")
    return 0


if __name__ == "__main__":
    sys.exit(main())
