"""Which package indexes the server's uv asks, by name and by host."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PUBLIC = "pypi.org"

_FIRST = ("UV_INDEX", "UV_EXTRA_INDEX_URL")
_DEFAULT = ("UV_DEFAULT_INDEX", "UV_INDEX_URL")


@dataclass(frozen=True)
class Indexes:
    """The package indexes that are asked.

    Attributes
    ----------
    names
        As they are called in uv's settings, and the hosts of all.
    single
        What the only one is called, where it is only one that is asked; else empty.
    """

    names: frozenset[str]
    single: frozenset[str]


def configured(variables: Mapping[str, str]) -> Indexes:
    """What uv is configured with, by its variables and its settings files."""
    first = [each for variable in _FIRST for each in _told(variables.get(variable, ""))]
    default = [each for variable in _DEFAULT for each in _told(variables.get(variable, ""))]
    for table in _tables(variables):
        for index in table.get("index") or ():
            (default if index.get("default") else first).append((index.get("name"), str(index.get("url", ""))))
        default += [(None, str(table["index-url"]))] if table.get("index-url") else []
        first += [(None, str(url)) for url in table.get("extra-index-url") or ()]
    default = default[:1] or [(None, f"https://{PUBLIC}/simple")]
    every = [*first, *default]
    names = frozenset({*(name for name, _ in every if name), *(_host(url) for _, url in every)} - {""})
    return Indexes(names, names if len({url for _, url in every}) == 1 else frozenset())


def _told(value: str) -> Iterator[tuple[str | None, str]]:
    for each in value.split():
        name, equals, url = each.partition("=")
        yield (name, url) if equals and "/" not in name else (None, each)


def _tables(variables: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
    """The settings files that uv reads, the most specific first."""
    if variables.get("UV_NO_CONFIG"):
        return
    home = Path(variables.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    named = variables.get("UV_CONFIG_FILE")
    for path in [Path(named)] if named else [home / "uv" / "uv.toml", Path("/etc/uv/uv.toml")]:
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        yield {**(table.get("pip") or {}), **table}


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
