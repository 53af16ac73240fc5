"""Which installed distributions hold a module; editable ones too, whose files lie elsewhere."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from model_platform.capture.editable import editable_modules, is_editable

Stamp = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class _Installed:
    """By top module, the distributions that hold it; and where editable ones have their modules."""

    by_module: Mapping[str, list[str]]
    in_place: Mapping[Path, str]


def distributions_of(modules: Iterable[str]) -> set[str]:
    """The names of the installed distributions that hold these modules."""
    installed = _installed()
    found = {name for module in modules for name in _holders(module, installed)}
    # The whole MLflow holds the files of the small one, which is all that loading needs.
    return found - {"mlflow", "mlflow-tracing"} if "mlflow-skinny" in found else found


def in_place(file: Path) -> str | None:
    """The editable distribution to which a file belongs; None for any other file."""
    return _in_place(file, _installed())


def _in_place(file: Path, installed: _Installed) -> str | None:
    known = installed.in_place
    if not known:
        return None
    resolved = file.resolve()
    return next((known[path] for path in (resolved, *resolved.parents) if path in known), None)


def is_installed(module: str) -> bool:
    """Whether a top module is of some distribution."""
    return module in _installed().by_module


def _holders(module: str, installed: _Installed) -> list[str]:
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names:
        return []
    file = getattr(sys.modules.get(module), "__file__", None) or _file_of(top)
    if file is not None and (name := _in_place(Path(file), installed)):
        return [name]
    found = installed.by_module.get(top, [])
    if len(found) > 1 and module in sys.modules:  # a name that several share, as `google`: who brought this very file?
        return [name for name in found if file is not None and _holds(name, Path(file))]
    return found


def _file_of(top: str) -> str | None:
    """Where a top module lies that is not loaded here; editable packages are known by that alone."""
    if top in sys.modules:
        return None
    with contextlib.suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(top)
        return spec.origin if spec is not None and spec.has_location else None
    return None


def _holds(name: str, file: Path) -> bool:
    distribution = importlib.metadata.distribution(name)
    record = distribution.read_text("RECORD") or ""
    root = Path(str(distribution.locate_file("")))
    return file.is_relative_to(root) and f"\n{file.relative_to(root).as_posix()}," in f"\n{record}"


def stamp_of_installed() -> Stamp:
    """Another one when a folder of `sys.path` has changed, as by `%pip install`."""
    return tuple((path, _changed(path)) for path in sys.path)


def _installed() -> _Installed:
    return _read(stamp_of_installed())


def _changed(path: str) -> int:
    try:
        return Path(path or ".").stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=1)
def _read(_stamp: Stamp) -> _Installed:
    places = {
        path.resolve(): distribution.metadata["Name"]
        for distribution in importlib.metadata.distributions()
        if is_editable(distribution)
        for path in editable_modules(distribution).values()
    }
    return _Installed(importlib.metadata.packages_distributions(), places)
