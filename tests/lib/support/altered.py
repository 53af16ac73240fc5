"""A real server with other figures: `python -m support.altered '{"module:NAME": value}' --state DIR …`."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

from model_platform_server.__main__ import main


def program(**figures: Any) -> tuple[str, ...]:
    """What to start as a server; modules are written with `__` for the dot, the name last: `a__b__NAME=3`."""
    return ("support.altered", json.dumps(figures))


if __name__ == "__main__":
    for place, value in json.loads(sys.argv[1]).items():
        *module, name = f"model_platform_server__{place}".split("__")
        setattr(importlib.import_module(".".join(module)), name, value)
    sys.exit(main(sys.argv[2:]))
