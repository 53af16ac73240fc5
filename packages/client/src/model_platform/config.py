"""Which server: the argument, the environment, the project's file, the user's file, else the embedded one.

Both files are TOML: `server`, `zone`, and in the user's file a table `[tokens]` with a token for each server's address.
A token never comes from a project's file, and one is never sent to a server that only a project's file names unless the
user's own file holds it for just that address: a checkout from elsewhere must not be able to collect tokens.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from model_platform_core.errors import InvalidError, InvalidSpecError

PROJECT_FILE = "model-platform.toml"
USER_FILE = "config.toml"


@dataclass(frozen=True)
class Address:
    """Where to connect: `server` is None for the embedded one; `why` says in words what decided it."""

    server: str | None
    why: str
    token: str | None = field(default=None, repr=False)
    zone: str | None = None


def user_file(environment: Mapping[str, str] | None = None) -> Path:
    """The user's own configuration file."""
    environment = os.environ if environment is None else environment
    if home := environment.get("MP_HOME"):
        return Path(home).expanduser() / USER_FILE
    return platformdirs.user_config_path("model-platform") / USER_FILE


def state_directory(environment: Mapping[str, str] | None = None) -> Path:
    """Where the embedded server keeps its state: `MP_HOME`, else the platform's place for a user's data."""
    environment = os.environ if environment is None else environment
    if home := environment.get("MP_HOME"):
        return Path(home).expanduser().resolve()
    return platformdirs.user_data_path("model-platform")


def find_address(
    server: str | None = None,
    token: str | None = None,
    zone: str | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Address:
    """Find the server to talk to, and remember why it was chosen.

    Raises
    ------
    InvalidSpecError
        If a file cannot be read, or holds a word that means nothing here.
    """
    environment = os.environ if environment is None else environment
    own_path = user_file(environment)
    own = _read(own_path, {"server", "zone", "tokens"})
    project_path = _project_file(directory or Path.cwd())
    project = _read(project_path, {"server", "zone"}) if project_path else {}
    zone = zone or environment.get("MP_ZONE") or project.get("zone") or own.get("zone")
    tokens: Mapping[str, str] = own.get("tokens", {})
    named = environment.get("MP_SERVER")

    def address(url: str, why: str, given: str | None) -> Address:
        url = _checked(url, why)
        return Address(url, why, given or tokens.get(url), zone)

    if server:
        same = named is None or named.rstrip("/") == server.rstrip("/")
        return address(server, "given in the call", token or (environment.get("MP_TOKEN") if same else None))
    if named:
        return address(named, "MP_SERVER in the environment", token or environment.get("MP_TOKEN"))
    if url := project.get("server"):
        return address(url, f"{project_path}", token)
    if url := own.get("server"):
        return address(url, f"{own_path}", token)
    return Address(None, "no server is configured, so a private one runs on this machine", token, zone)


def remember_zone(zone: str) -> Path:
    """Write the zone into the user's file, where it holds from now on; returns the file."""
    path = user_file()
    content = path.read_text(encoding="utf-8") if path.exists() else ""
    top, table, rest = content.partition("\n[") if not content.startswith("[") else ("", "", content)
    kept = [line for line in top.splitlines() if line.partition("=")[0].strip() != "zone"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text("\n".join([f'zone = "{zone}"', *kept]) + (table or "\n") + rest, encoding="utf-8")
    return path


def _project_file(directory: Path) -> Path | None:
    for folder in (directory, *directory.parents):
        path = folder / PROJECT_FILE
        if path.is_file():
            return path
    return None


def _read(path: Path, known: set[str]) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidSpecError(f"{path} cannot be read: {error}.") from None
    for word in content:
        if word not in known:
            near = difflib.get_close_matches(word, known, 1)
            meant = f" Did you mean {near[0]!r}?" if near else f" Known words: {', '.join(sorted(known))}."
            raise InvalidSpecError(f"{path} holds {word!r}, which means nothing here.{meant}")
    return content


def _checked(url: str, why: str) -> str:
    url = url.rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise InvalidError(f"{url!r} is no server's address ({why}): it begins with http:// or https://.")
    return url
