"""A real server with other figures: `python -m support.altered '{"serving:LOG_BYTES": 2000}' --state DIR …`."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

from model_platform_server.__main__ import main


def program(figures: dict[str, Any]) -> tuple[str, ...]:
    """What to start as a server; figures by module of the server and name."""
    return ("support.altered", json.dumps(figures))


if __name__ == "__main__":
    for place, value in json.loads(sys.argv[1]).items():
        module, name = place.split(":")
        setattr(importlib.import_module(f"model_platform_server.{module}"), name, value)
    sys.exit(main(sys.argv[2:]))
