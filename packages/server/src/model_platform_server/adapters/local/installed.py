"""Whether an installed package is the one that is meant: not only its name and version, but where it came from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.metadata import Distribution, DistributionFinder, MetadataPathFinder
from typing import Any

from model_platform_core.environments import PackageOrigin, Source, contents_of


def find(name: str, folders: Iterable[str]) -> Distribution | None:
    """The first of this name that lies in the folders, as an import finds it.

    By Python's own finder alone: another one that some library has added may raise for a package without its files.
    """
    context = DistributionFinder.Context(name=name, path=list(folders))
    return next(iter(MetadataPathFinder.find_distributions(context)), None)


def is_of(distribution: Distribution, origin: PackageOrigin) -> bool:
    """Whether it is what was recorded, as far as its installer wrote that down.

    A repository is compared by its commit, an archive by its digest, what an index gave by its Python files. What
    travels with the version is compared where it is laid out.
    """
    told = _direct_url(distribution)
    match origin.source:
        case Source.WHEEL:
            return True
        case Source.GIT:
            return (told.get("vcs_info") or {}).get("commit_id") == origin.commit and _is_inside(told, origin)
        case Source.ARCHIVE:
            return _archive_sha256(told) == origin.sha256 and _is_inside(told, origin)
        case Source.CONDA:
            installer = (distribution.read_text("INSTALLER") or "").strip().lower()
            return installer == "conda" and _has_contents(distribution, origin)
        case Source.INDEX:
            return not told and _has_contents(distribution, origin)
        case Source.HERE:
            return _has_contents(distribution, origin)


def _has_contents(distribution: Distribution, origin: PackageOrigin) -> bool:
    return origin.contents in {None, contents_of(distribution.read_text("RECORD") or "")}


def _is_inside(told: dict[str, Any], origin: PackageOrigin) -> bool:
    return (told.get("subdirectory") or None) == origin.subdirectory


def _archive_sha256(told: dict[str, Any]) -> str | None:
    """In the newer or the older form of `direct_url.json`."""
    archive = told.get("archive_info") or {}
    digest = (archive.get("hashes") or {}).get("sha256") or str(archive.get("hash", "")).removeprefix("sha256=")
    return f"sha256:{digest}" if digest else None


def _direct_url(distribution: Distribution) -> dict[str, Any]:
    """What the installer wrote down of an install that did not come from an index; empty if it did."""
    try:
        found = json.loads(distribution.read_text("direct_url.json") or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
