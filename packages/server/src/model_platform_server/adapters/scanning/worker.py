"""The scan itself, in a process of its own with limits: `python -P -m … ROOT`, paths on standard input, JSON out."""

from __future__ import annotations

import json
import resource
import sys
import warnings
from pathlib import Path
from typing import Any

from model_platform_server.adapters.scanning import rules, scanners, streams
from model_platform_server.adapters.scanning.machine import NotReadableError


def main() -> None:
    """Scan the files named on standard input below the folder in the arguments."""
    root, memory, seconds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    warnings.simplefilter("ignore")
    question = json.load(sys.stdin)
    unpickled, modules = frozenset(question["unpickled"]), frozenset(question["modules"])
    answer = [_look_at(root, path, modules, certain=path in unpickled) for path in question["paths"]]
    sys.stdout.write(json.dumps(answer))


def _look_at(root: Path, path: str, modules: frozenset[str], *, certain: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"path": path, "pickles": 0, "by_value": False, "objections": []}
    try:
        with (root / path).open("rb") as file:
            for reading in streams.readings(path, file, certain=certain):
                found["pickles"] += 1
                found["by_value"] |= rules.carries_code(reading)
                small = bytes(reading.small)
                found["objections"] += rules.objections(reading, modules)
                found["objections"] += scanners.fickling(small)
                found["objections"] += scanners.picklescan(small)
    except NotReadableError as error:
        found["objections"].append(f"cannot be looked into: {error}")
    except Exception as error:  # noqa: BLE001 - whatever a scanner raises means that nobody has looked
        found["objections"].append(f"cannot be looked into ({type(error).__name__})")
    return found


if __name__ == "__main__":
    main()
