"""Whether an installed package is the one that is meant: not only its name and version, but where it came from."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import DistributionFinder, MetadataPathFinder, PathDistribution
from pathlib import Path
from typing import Any

from model_platform_core.environments import PackageOrigin, Source, contents_of

_TOLD_IN = (".", "METADATA", "PKG-INFO", "RECORD", "direct_url.json", "INSTALLER")


def find(name: str, folders: Iterable[str]) -> PathDistribution | None:
    """The first of this name that lies in the folders, as an import finds it.

    By Python's own finder alone: another one that some library has added may raise for a package without its files.
    """
    context = DistributionFinder.Context(name=name, path=list(folders))
    return next(iter(MetadataPathFinder.find_distributions(context)), None)


def version_of(distribution: PathDistribution) -> str | None:
    """Its version; None where what says so is gone."""
    found: str | None = _read(distribution, _version)
    return found


def is_of(distribution: PathDistribution, origin: PackageOrigin) -> bool:
    """Whether it is what was recorded, as far as its installer wrote that down.

    A repository is compared by its commit, an archive by its digest, what an index gave by its Python files. What
    travels with the version is compared where it is laid out.
    """
    told: Mapping[str, Any] = _read(distribution, _direct_url)
    match origin.source:
        case Source.WHEEL:
            return True
        case Source.GIT:
            return (told.get("vcs_info") or {}).get("commit_id") == origin.commit and _is_inside(told, origin)
        case Source.ARCHIVE:
            return _archive_sha256(told) == origin.sha256 and _is_inside(told, origin)
        case Source.CONDA:
            return _read(distribution, _installer) == "conda" and _has_contents(distribution, origin)
        case Source.INDEX:
            return not told and _has_contents(distribution, origin)
        case Source.HERE:
            return _has_contents(distribution, origin)


def _has_contents(distribution: PathDistribution, origin: PackageOrigin) -> bool:
    return origin.contents in {None, _read(distribution, _contents)}


def _is_inside(told: Mapping[str, Any], origin: PackageOrigin) -> bool:
    return (told.get("subdirectory") or None) == origin.subdirectory


def _archive_sha256(told: Mapping[str, Any]) -> str | None:
    """In the newer or the older form of `direct_url.json`."""
    archive = told.get("archive_info") or {}
    digest = (archive.get("hashes") or {}).get("sha256") or str(archive.get("hash", "")).removeprefix("sha256=")
    return f"sha256:{digest}" if digest else None


# ---------------------------------------------------------------- what an installer wrote down


def _read(distribution: PathDistribution, what: Callable[[PathDistribution], Any]) -> Any:
    """Something of a package, read again if its files have changed: each deployment asks for all that a model needs."""
    folder = Path(str(distribution._path))  # noqa: SLF001 - nothing public tells where it lies
    return _kept(what, folder, tuple(_changed(folder / name) for name in _TOLD_IN))


@functools.lru_cache(maxsize=8192)
def _kept(what: Callable[[PathDistribution], Any], folder: Path, _changed: tuple[tuple[int, int], ...]) -> Any:
    return what(PathDistribution(folder))


def _changed(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)


def _version(distribution: PathDistribution) -> str | None:
    return distribution.version


def _contents(distribution: PathDistribution) -> str | None:
    return contents_of(distribution.read_text("RECORD") or "")


def _installer(distribution: PathDistribution) -> str:
    return (distribution.read_text("INSTALLER") or "").strip().lower()


def _direct_url(distribution: PathDistribution) -> Mapping[str, Any]:
    """What the installer wrote down of an install that did not come from an index; empty if it did."""
    try:
        found = json.loads(distribution.read_text("direct_url.json") or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
