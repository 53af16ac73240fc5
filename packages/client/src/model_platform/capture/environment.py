"""The environment in which a model was made: Python, platform, and the lock of all that the model needs."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import site
import socket
import sys
import sysconfig
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from model_platform.capture import wheels
from model_platform.capture.distributions import Stamp, stamp_of_installed
from model_platform.capture.indexes import configured_indexes, indexes_by_package
from model_platform.capture.packages import origin_of
from model_platform_core.environments import LOCK_FILE, WHEELS_FOLDER, EnvironmentRecord, PackageOrigin, Source


def pinned(names: Iterable[str]) -> list[str]:
    """`name==version` of installed distributions, sorted; those that are not installed are left out."""
    found = {}
    for name in names:
        version = _version(name)
        if version is not None:
            found[canonicalize_name(name)] = f"{canonicalize_name(name)}=={version}"
    return sorted(found.values())


def closure(names: Iterable[str]) -> list[str]:
    """These distributions and whatever they require that is installed, as `name==version`, sorted."""
    return list(_closure(frozenset(names), stamp_of_installed()))


@lru_cache(maxsize=32)
def _closure(names: frozenset[str], _stamp: Stamp) -> tuple[str, ...]:
    seen: set[tuple[str, str]] = set()
    waiting = [Requirement(name) for name in names]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        new = {(name, extra) for extra in {"", *wanted.extras}} - seen
        if not new or _version(name) is None:
            continue
        seen |= new
        waiting += _requirements(name, {extra for _, extra in new})
    return tuple(pinned({name for name, _ in seen}))


def not_required_by(names: Iterable[str], more: Iterable[str]) -> set[str]:
    """Those of `more` that the others do not bring along anyway."""
    brought = {package.partition("==")[0] for package in closure(names)}
    return {name for name in more if canonicalize_name(name) not in brought}


def record_environment(names: Iterable[str], folder: Path | None = None) -> EnvironmentRecord:
    """The environment of this kernel, as far as these distributions need it.

    Parameters
    ----------
    folder
        The folder of the version: the lock is written there, and wheels of packages that no index has. Without one
        such packages are recorded as works here, not elsewhere.
    """
    packages = closure(names)
    by_package, stamp = indexes_by_package(Path.cwd()), stamp_of_installed()
    origins = {}
    for name in (package.partition("==")[0] for package in packages):
        origins[name] = _origin(name, by_package.get(name), stamp) or _travelling(name, folder)
    record = EnvironmentRecord(
        python=platform.python_version(),
        platform=sysconfig.get_platform(),
        packages=tuple(packages),
        origins=origins,
        indexes=configured_indexes(Path.cwd()),
        locked=True,
        interpreter=sys.executable or None,
        paths=tuple(_site_paths()),
        host=socket.gethostname(),
    )
    if folder is not None:
        (folder / LOCK_FILE).parent.mkdir(parents=True, exist_ok=True)
        (folder / LOCK_FILE).write_text(record.lock, encoding="utf-8")
        _mend_requirements(folder / "requirements.txt", record)
    return record


@lru_cache(maxsize=2048)
def _origin(name: str, index: str | None, _stamp: Stamp) -> PackageOrigin | None:
    return origin_of(importlib.metadata.distribution(name), index)


def _travelling(name: str, folder: Path | None) -> PackageOrigin:
    """A package that is on no index: as a wheel in the version's folder."""
    if folder is None:
        return _only_here("it was installed from a folder")
    try:
        path = wheels.pack(importlib.metadata.distribution(name), folder / WHEELS_FOLDER)
    except wheels.CannotPackError as reason:
        return _only_here(str(reason))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    location = f"{WHEELS_FOLDER}/{path.name}"
    return PackageOrigin(source=Source.WHEEL, location=location, sha256=f"sha256:{digest}", local=True)


def _only_here(reason: str) -> PackageOrigin:
    return PackageOrigin(source=Source.HERE, location=reason, local=True)


def _mend_requirements(path: Path, record: EnvironmentRecord) -> None:
    """What the flavour wrote for MLflow's own tools: a local name there would be looked for on an index."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return
    from_lock = {
        package: line.replace("./wheels/", f"./{WHEELS_FOLDER}/")
        for package, line in zip(record.packages, record.lock.splitlines()[-len(record.packages) :], strict=True)
        if record.origin_of(package).source is not Source.INDEX
    }
    path.write_text("".join(f"{from_lock.get(line, line)}\n" for line in lines), encoding="utf-8")


def _requirements(name: str, extras: set[str]) -> list[Requirement]:
    found = []
    for text in importlib.metadata.distribution(name).requires or []:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
            found.append(requirement)
    return found


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _site_paths() -> list[str]:
    """Where this interpreter's packages lie, in the order in which it looks."""
    known = {*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])}
    return [path for path in sys.path if path in known and Path(path).is_dir()]
