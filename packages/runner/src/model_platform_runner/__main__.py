"""``python [-P] OVERLAY/model_platform_runner/__main__.py CONFIG.json``, or ``python -m model_platform_runner CONFIG.json``."""

import json
import os
import sys
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent


def main() -> int:
    """Start the runner from an overlay (as a file), or as an installed module."""
    if len(sys.argv) != 2 and sys.argv[1:2] != ["--fork-server"]:
        sys.stderr.write("usage: model_platform_runner CONFIG.json\n")
        return 2
    as_file = not __package__
    if as_file:
        # Without -P (Python 3.10 has none) the folder of this file is on the path, where our names would hide others.
        sys.path[:] = [each for each in sys.path if Path(each or ".").resolve() != _FOLDER]
        sys.path.insert(0, str(_FOLDER.parent))
    try:
        from model_platform_runner import fork_server, overlay, start  # noqa: PLC0415 - from the path as it is now
    except ImportError as error:
        message = f"The runner's environment has no usable module named {error.name}."
        sys.stderr.write(json.dumps({"event": "failed", "code": "failed_import", "message": message}) + "\n")
        return 3
    if as_file:
        overlay.step_aside(_FOLDER.parent)
    if sys.argv[1] == fork_server.OPTION:
        return fork_server.run(sys.argv[2:])
    return start.run(Path(sys.argv[1]))


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # whatever threads a model has left running
