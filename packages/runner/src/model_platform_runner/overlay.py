"""Living in another's environment: the runner's packages lie in a folder of their own, behind the model's.

A runner is usually laid over a model's environment (``uv pip install --target OVERLAY``) and started with that
environment's interpreter. It imports its own packages first, and then steps aside: its folder moves to the end of
``sys.path``, so that whatever the model imports is the model's own.
"""

import importlib.util
import sys
from pathlib import Path

# Modules that both may have and that models use themselves, in the version they were written with. The runner keeps
# working with the copies it holds. (Of _cffi_backend two versions cannot even meet: cffi refuses another's.)
_SHARED = ("_cffi_backend", "_yaml", "click", "orjson", "typing_extensions", "yaml")


def step_aside(root: Path) -> None:
    """Move the overlay to the end of ``sys.path``, and forget those of its modules that the model brings itself."""
    overlay = str(root)
    sys.path[:] = [each for each in sys.path if each != overlay]
    importlib.invalidate_caches()
    for name in _SHARED:
        loaded = sys.modules.get(name)
        origin = getattr(loaded, "__file__", None)
        if origin and Path(origin).is_relative_to(root) and _elsewhere(name):
            for each in [each for each in sys.modules if each == name or each.startswith(f"{name}.")]:
                del sys.modules[each]
    sys.path.append(overlay)


def _elsewhere(name: str) -> bool:
    loaded = sys.modules.pop(name)
    try:
        return importlib.util.find_spec(name) is not None
    finally:
        sys.modules[name] = loaded
