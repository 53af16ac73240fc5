"""Which package indexes this environment is configured with, by name: addresses may hold what is needed to log in."""

from __future__ import annotations

import configparser
import os
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from packaging.utils import canonicalize_name

from model_platform.capture.origin import without_credentials

_PUBLIC = "pypi.org"
_VARIABLES = (
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "UV_INDEX",
    "UV_DEFAULT_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
)


def configured_indexes(project: Path) -> tuple[str, ...]:
    """Names of the indexes besides the public one: as uv's configuration calls them, else their hosts."""
    told = [*_of_uv(project), *_of_variables(), *_of_pip()]
    names = _names(told)
    found = {names.get(without_credentials(url)) or _host(url) for _, url in told if _host(url) != _PUBLIC}
    return tuple(sorted(found - {""}))


def indexes_by_package(project: Path) -> dict[str, str]:
    """The index of each package for which the project's `uv.lock` names another than the public one."""
    names = _names(_of_uv(project))
    found: dict[str, str] = {}
    for package in _toml(project / "uv.lock").get("package") or ():
        url = str((package.get("source") or {}).get("registry", ""))
        if _host(url) not in {"", _PUBLIC}:
            found[canonicalize_name(str(package.get("name")))] = names.get(without_credentials(url)) or _host(url)
    return found


def _names(told: Iterable[tuple[str | None, str]]) -> dict[str, str]:
    return {without_credentials(url): name for name, url in told if name}


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _of_uv(project: Path) -> Iterator[tuple[str | None, str]]:
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    tables = [(_toml(project / "pyproject.toml").get("tool") or {}).get("uv") or {}]
    tables += [_toml(project / "uv.toml"), _toml(home / "uv" / "uv.toml")]
    for table in tables:
        for index in table.get("index") or ():
            yield index.get("name"), str(index.get("url", ""))
        for option in ("index-url", "extra-index-url"):
            told = table.get(option) or ()
            yield from ((None, url) for url in ([told] if isinstance(told, str) else told))


def _of_variables() -> Iterator[tuple[str | None, str]]:
    for variable in _VARIABLES:
        for each in os.environ.get(variable, "").split():
            name, equals, url = each.partition("=")
            yield (name, url) if equals and "/" not in name else (None, each)


def _of_pip() -> Iterator[tuple[str | None, str]]:
    folders = [Path("/etc"), Path.home() / ".config" / "pip", Path.home() / ".pip", Path(sys.prefix)]
    files = [folder / "pip.conf" for folder in folders]
    if named := os.environ.get("PIP_CONFIG_FILE"):
        files.append(Path(named))
    for path in files:
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read(path, encoding="utf-8")
        except (OSError, configparser.Error, UnicodeDecodeError):
            continue
        for section in parser.sections():
            for option in ("index-url", "extra-index-url"):
                yield from ((None, url) for url in parser.get(section, option, fallback="").split())


def _toml(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
