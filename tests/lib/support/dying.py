"""A real server that ends itself by SIGKILL where it is told to: `python -m support.dying PLACE --state DIR …`.

PLACE is `module:name.name:before` or `…:after`, with `:3` behind it for the third time that it comes there.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from model_platform_server.__main__ import main


def program(place: str) -> tuple[str, ...]:
    """What to start as a server."""
    return ("support.dying", place)


def die_at(place: str) -> None:
    """Arrange for the end of this process."""
    module, path, when, *times = place.split(":")
    owner: Any = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    setattr(owner, name, _deadly(getattr(owner, name), when, int(times[0]) if times else 1))


def _deadly(function: Callable[..., Any], when: str, times: int) -> Callable[..., Any]:
    left = times

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        if when == "before":
            count()
        result = function(*arguments, **named)
        if when == "after":
            count()
        return result

    return call


if __name__ == "__main__":
    die_at(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
