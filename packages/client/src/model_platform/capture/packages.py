"""Where an installed package came from, by what its installer wrote down: `direct_url.json`, INSTALLER, conda's records."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from model_platform.capture.editable import direct_url, is_editable, local_path
from model_platform.capture.origin import without_credentials
from model_platform_core.environments import PackageOrigin, Source, contents_of

_PUBLIC_CHANNELS = frozenset({"anaconda", "bioconda", "conda-forge", "defaults", "main", "nvidia", "pytorch", "r"})
_CHANNEL_HOSTS = frozenset({"", "conda.anaconda.org", "repo.anaconda.com"})
_OF_THE_SYSTEM = Path("/usr/lib/python3/dist-packages")


def origin_of(distribution: Distribution, index: str | None = None) -> PackageOrigin | None:
    """Where a package came from; None where only this machine has it, so that it has to travel itself.

    Parameters
    ----------
    index
        The index that the project's lock file names for it.
    """
    installer = (distribution.read_text("INSTALLER") or "").strip().lower()
    told = direct_url(distribution)
    if is_editable(distribution):
        return None
    if installer == "conda":  # its packages may still hold where they were built
        return _of_conda(distribution)
    if told:
        return _of_address(told)
    if not installer:
        # Nobody says that an index knows this name. What Debian and its kin install is published by its makers.
        return PackageOrigin() if Path(str(distribution.locate_file(""))) == _OF_THE_SYSTEM else None
    return PackageOrigin(location=index, contents=contents_of(distribution.read_text("RECORD") or ""))


def _address(url: str) -> str:
    """An address without credentials; who logs in by a key is no secret, and `git` is whom hosts expect."""
    parts = urlsplit(url)
    by_key = parts.scheme.endswith("ssh") and parts.username and not parts.password
    return without_credentials(url).replace("://", f"://{parts.username}@", 1) if by_key else without_credentials(url)


def _of_address(told: Mapping[str, Any]) -> PackageOrigin | None:
    """An install from a repository or archive; None if it lies on this machine, or cannot be fetched again for sure."""
    url, inside = str(told.get("url", "")), told.get("subdirectory")
    address = _address(url)
    if local_path(url) is not None or "://" not in url:
        return None
    repository = told.get("vcs_info")
    if isinstance(repository, dict) and repository.get("vcs") == "git" and repository.get("commit_id"):
        commit = str(repository["commit_id"])
        return PackageOrigin(source=Source.GIT, location=address, commit=commit, subdirectory=inside)
    archive = told.get("archive_info")
    digest = _sha256(archive) if isinstance(archive, dict) else None
    if digest and address == url.partition("#")[0]:
        return PackageOrigin(source=Source.ARCHIVE, location=address, sha256=f"sha256:{digest}", subdirectory=inside)
    return None


def _sha256(archive: Mapping[str, Any]) -> str | None:
    """Of an archive, in the newer or the older form of `direct_url.json`."""
    digest = (archive.get("hashes") or {}).get("sha256") or str(archive.get("hash", "")).removeprefix("sha256=")
    return digest if re.fullmatch("[0-9a-f]{64}", digest) else None


def _of_conda(distribution: Distribution) -> PackageOrigin:
    """A package of conda: an index may have it too if its channel is one that everybody knows."""
    record = _conda_record(distribution)
    channel = without_credentials(str(record.get("channel") or "")).rstrip("/")
    host = (urlsplit(channel).hostname or "") if "://" in channel else ""
    parts = [part for part in channel.split("/") if part and part not in {"noarch", record.get("subdir")}]
    name = parts[-1] if parts else "unknown"
    local = host not in _CHANNEL_HOSTS or name not in _PUBLIC_CHANNELS
    contents = contents_of(distribution.read_text("RECORD") or "")
    return PackageOrigin(source=Source.CONDA, location=name, contents=contents, local=local)


def _conda_record(distribution: Distribution) -> Mapping[str, Any]:
    """What conda wrote down of the package that put this distribution in place; empty if it is not to be found."""
    name = re.sub(r"[-_.]+", "[-_.]", distribution.metadata["Name"])
    for path in sorted((Path(sys.prefix) / "conda-meta").glob(f"{name}-{distribution.version}-*.json")):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(found, dict):
            return found
    return {}
