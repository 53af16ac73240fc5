"""Which modules a model imports while it answers: what no look at its code finds, `import_module(name)` and the like."""

from __future__ import annotations

import builtins
import importlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

_OURS = "model_platform"


@contextmanager
def watching_imports() -> Iterator[set[str]]:
    """Fills the set with the modules that this thread imports meanwhile, loaded before or not, ours left out."""
    found: set[str] = set()
    watcher = threading.get_ident()
    plain_import, plain_import_module = builtins.__import__, importlib.import_module

    def noted_import(
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002 - as Python calls it
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        fromlist: Any = (),
        level: int = 0,
    ) -> Any:
        module = plain_import(name, globals, locals, fromlist, level)
        if level == 0 and threading.get_ident() == watcher and not _is_ours((globals or {}).get("__name__")):
            found.add(name)
        return module

    def noted_import_module(name: str, package: str | None = None) -> Any:
        module = plain_import_module(name, package)
        if threading.get_ident() == watcher:
            found.add(module.__name__)
        return module

    builtins.__import__, importlib.import_module = noted_import, noted_import_module
    try:
        yield found
    finally:
        builtins.__import__, importlib.import_module = plain_import, plain_import_module
        found -= {name for name in found if _is_ours(name) or name.partition(".")[0] == "__main__"}


def _is_ours(name: object) -> bool:
    return str(name).partition(".")[0].startswith(_OURS)
