"""The environment in which a model was made: Python, platform, and the lock of all that the model needs."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import platform
import re
import site
import socket
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath

import yaml
from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, Specifier
from packaging.utils import canonicalize_name, parse_wheel_filename

from model_platform.capture import wheels
from model_platform.capture.distributions import Stamp, stamp_of_installed
from model_platform.capture.indexes import configured_indexes, indexes_by_package
from model_platform.capture.packages import origin_of
from model_platform_core.environments import LOCK_FILE, WHEELS_FOLDER, EnvironmentRecord, PackageOrigin, Source
from model_platform_core.requirements import RequirementLine


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
        _mend_requirements(folder, record)
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
    return _of_wheel(path, f"{WHEELS_FOLDER}/{path.name}")


def _of_wheel(path: Path, location: str) -> PackageOrigin:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return PackageOrigin(source=Source.WHEEL, location=location, sha256=f"sha256:{digest}", local=True)


def _only_here(reason: str) -> PackageOrigin:
    return PackageOrigin(source=Source.HERE, location=reason, local=True)


def written_environment(folder: Path, python: str) -> EnvironmentRecord:
    """What the `requirements.txt` of a saved model demands: this kernel's lock where it holds all of that.

    Else it stays as it is written. A name that means something on this machine only is marked so: no index is asked.

    Parameters
    ----------
    python
        The Python that saved the model, as `3.11.7`.
    """
    demanded = dict(_demanded(folder))
    names = [line.partition("==")[0] for line in demanded]
    same_python = python.split(".")[:2] == platform.python_version().split(".")[:2]
    if same_python and not any(demanded.values()) and set(demanded) <= set(pinned(names)):
        return record_environment(names)
    origins = {
        name: origin for line in demanded if (name := _name(line)) and (origin := demanded[line] or _known(line))
    }
    return EnvironmentRecord(python=python, platform="unknown", packages=tuple(demanded), origins=origins)


def _demanded(folder: Path) -> Iterator[tuple[str, PackageOrigin | None]]:
    """Line by line, with the origin where the line itself tells one: a wheel of the folder, a commit of a repository."""
    try:
        text = (folder / "requirements.txt").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return
    for line in (each.partition(" #")[0].strip() for each in text.splitlines()):
        if line.endswith(".whl") and (wheel := folder / line).is_file():
            packed = parse_wheel_filename(wheel.name)
            yield f"{packed[0]}=={packed[1]}", _of_wheel(wheel, PurePosixPath(line).as_posix())
        elif name := _name(line):
            wanted = Requirement(RequirementLine.split(line).wanted)
            if repository := re.fullmatch(r"git\+([^#]+)@([0-9a-f]{40})(?:#subdirectory=(.+))?", wanted.url or ""):
                location, commit, inside = repository.groups()
                yield line, PackageOrigin(source=Source.GIT, location=location, commit=commit, subdirectory=inside)
            elif wanted.url is None and not wanted.specifier and (version := _version(name)) and _is_local(name):
                yield f"{name}=={version}", None
            else:
                yield line.replace(wanted.name, name, 1), None


def _known(line: str) -> PackageOrigin | None:
    """What this machine knows of a package that a line names, where that is more than that an index has it."""
    name, _, version = line.partition("==")
    if _version(name) is None or not _is_local(name):
        return None
    origin = _origin(name, None, stamp_of_installed())
    if origin is not None and version == _version(name):
        return origin
    return _only_here(f"the {name} of this machine, {_version(name)}, is from no index")


def _is_local(name: str) -> bool:
    """Whether an installed package is one for which no index is to be asked."""
    origin = _origin(name, None, stamp_of_installed())
    return origin is None or origin.source not in {Source.INDEX, Source.CONDA} or origin.local


def _name(line: str) -> str | None:
    """The package that a line names; None for an option, a path, and what else is no requirement."""
    try:
        return canonicalize_name(Requirement(RequirementLine.split(line).wanted).name)
    except InvalidRequirement:
        return None


def _mend_requirements(folder: Path, record: EnvironmentRecord) -> None:
    """What the flavour wrote for MLflow's own tools: a local name there would be looked for on an index."""
    from_lock = {
        package: line.replace("./wheels/", f"./{WHEELS_FOLDER}/")
        for package, line in zip(record.packages, record.lock.splitlines()[-len(record.packages) :], strict=True)
        if record.origin_of(package).source is not Source.INDEX
    }
    with contextlib.suppress(FileNotFoundError):
        path = folder / "requirements.txt"
        lines = path.read_text(encoding="utf-8").splitlines()
        path.write_text("".join(f"{from_lock.get(line, line)}\n" for line in lines), encoding="utf-8")
    with contextlib.suppress(FileNotFoundError):
        path = folder / "conda.yaml"
        described = yaml.safe_load(path.read_text(encoding="utf-8"))
        for part in described["dependencies"]:
            if isinstance(part, dict) and "pip" in part:
                mended = [from_lock.get(line, line).partition("  #")[0] for line in part["pip"]]
                part["pip"] = [line for line in mended if not line.startswith("#")]
        path.write_text(yaml.safe_dump(described, sort_keys=False), encoding="utf-8")


def _requirements(name: str, extras: set[str]) -> list[Requirement]:
    found, here = [], {key: str(value) for key, value in default_environment().items()}
    for line in map(RequirementLine.split, importlib.metadata.distribution(name).requires or []):
        try:
            if any(line.applies(here, _fulfils, extra) for extra in extras):
                found.append(Requirement(line.wanted))
        except ValueError:  # no requirement that anybody can read
            continue
    return found


def _fulfils(version: str, asked: str) -> bool | None:
    try:
        return Specifier(asked).contains(version, prereleases=True)
    except InvalidSpecifier:
        return None


def _version(name: str) -> str | None:
    return _version_of(name, stamp_of_installed())


@lru_cache(maxsize=4096)
def _version_of(name: str, _stamp: Stamp) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _site_paths() -> list[str]:
    """Where this interpreter's packages lie, in the order in which it looks."""
    known = {*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])}
    return [path for path in sys.path if path in known and Path(path).is_dir()]
