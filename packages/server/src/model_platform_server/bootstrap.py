"""The embedded server's first start: its owner, the owner's zone, the owner's token in a file of mode 0600."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from model_platform_core.access import EVERY_ZONE, SYSTEM
from model_platform_core.events import EventType, NewEvent
from model_platform_core.wire import ActorRequest, TokenInfo
from model_platform_core.zones import Zone, ZoneSpec
from model_platform_server.services.platform import Platform

TOKEN_FILE = "token"  # noqa: S105


def home_zone_of(login: str) -> str:
    """The development zone of a person: `dev-` and the login as a DNS label.

    >>> home_zone_of("Alice.B")
    'dev-alice-b'
    """
    label = re.sub(r"[^a-z0-9]+", "-", login.lower()).strip("-")[:26].strip("-")
    return f"dev-{label or 'me'}"


def ensure_owner(platform: Platform, login: str, state: Path) -> None:
    """Owner, home zone and token are there after this; what is there already is left as it is."""
    zone = home_zone_of(login)
    if platform.zones.get(zone) is None:
        spec = ZoneSpec(owner=login, limits=platform.target.capacity())
        data = spec.model_dump(mode="json")
        event = NewEvent(type=EventType.ZONE_CREATED, actor=SYSTEM.name, zone=zone, subject=zone, data=data)
        platform.zones.put(Zone(name=zone, spec=spec), event)
    if platform.actors.get(login) is None:
        platform.actors.put(ActorRequest(name=login, home_zone=zone, roles={EVERY_ZONE: "platform-admin"}))
    _ensure_token(platform, login, state / TOKEN_FILE)


def _ensure_token(platform: Platform, login: str, path: Path) -> None:
    if path.exists() and platform.actors.by_token(path.read_text().strip()) is not None:
        return
    secret = "mp_" + secrets.token_urlsafe(32)
    info = TokenInfo(id=secrets.token_hex(8), name="this computer", actor=login, created_at=platform.clock.now())
    platform.actors.create_token(info, secret)
    write_private(path, secret + "\n")


def write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone can read, whole or not at all."""
    beside = path.with_name(path.name + ".new")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)
