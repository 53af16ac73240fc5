"""The connection of a command, and what is known there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model_platform.client import Client, connect, current
from model_platform.config import find_address, state_directory
from model_platform.embedded.launcher import find
from model_platform.known_names import KnownNames
from model_platform_core.errors import ModelPlatformError


def known_names() -> KnownNames:
    """Names for completion."""
    return KnownNames(_running)


def _running() -> Client | None:
    """The configured server; the embedded one only if it runs already: a Tab starts nothing."""
    try:
        address = find_address()
        if address.server is None and find(state_directory()) is None:
            return None
        return connect()
    except ModelPlatformError:
        return None


def client() -> Client:
    """The connection of this command."""
    return current()


def card_fields(given: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The card's fields among the options."""
    found = {name: given.get(name) for name in ("tier", *names)}
    return {name: value for name, value in found.items() if value is not None}
