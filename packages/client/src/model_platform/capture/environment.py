"""The environment in which a model was made: Python, platform, and `name==version` of all that it needs."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import site
import socket
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from model_platform_core.environments import EnvironmentRecord


def pinned(names: Iterable[str]) -> list[str]:
    """`name==version` of installed distributions, sorted; those that are not installed are left out."""
    found = {}
    for name in names:
        version = _version(name)
        if version is not None:
            found[_normal(name)] = f"{_normal(name)}=={version}"
    return sorted(found.values())


def closure(names: Iterable[str]) -> list[str]:
    """These distributions and whatever they require that is installed, as `name==version`, sorted."""
    seen: set[str] = set()
    waiting = [_normal(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in seen or _version(name) is None:
            continue
        seen.add(name)
        waiting += [required for required in _requirements(name) if required not in seen]
    return pinned(seen)


def record_environment(names: Iterable[str]) -> EnvironmentRecord:
    """The environment of this kernel, as far as these distributions need it."""
    return EnvironmentRecord(
        python=platform.python_version(),
        platform=sysconfig.get_platform(),
        packages=tuple(closure(names)),
        interpreter=sys.executable or None,
        paths=tuple(_site_paths()),
        host=socket.gethostname(),
    )


def _requirements(name: str) -> list[str]:
    found = []
    for text in importlib.metadata.distribution(name).requires or []:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            found.append(_normal(requirement.name))
    return found


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _site_paths() -> list[str]:
    """Where this interpreter's packages lie, in the order in which it looks."""
    known = {*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])}
    return [path for path in sys.path if path in known and Path(path).is_dir()]
