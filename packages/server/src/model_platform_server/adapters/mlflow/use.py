"""What is in use cannot go, whichever door the wish to delete it comes through."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from model_platform_core.errors import InUseError, NameTakenError
from model_platform_server.adapters.database import tables


def check_unused(connection: sa.Connection, full_name: str, version: int | None = None) -> None:
    """Nothing, if no endpoint runs the version (or any version of the model) or could go back to it, and no alias names it.

    Raises
    ------
    InUseError
        Names the endpoints, or the aliases.
    """
    zone, _, name = full_name.partition(".")
    endpoints = tables.endpoints.c
    rows = connection.execute(
        sa.select(endpoints.name, endpoints.spec, endpoints.status).where(endpoints.zone == zone)
    ).all()
    what = full_name if version is None else f"{full_name} version {version}"
    users = [row.name for row in rows if _names(row.spec, full_name, version) or _names(row.status, full_name, version)]
    if users:
        raise InUseError(
            f"{what} is used by {', '.join(users)}, which runs it or could go back to it; deploy another version there, or delete the endpoint, first.",
            hint=f"%mp_status {users[0]} says what it runs",
        )
    aliases = tables.aliases.c
    named = sa.select(aliases.alias).where(aliases.zone == zone, aliases.name == name, aliases.version == version)
    if version is not None and (found := sorted(connection.scalars(named))):
        raise InUseError(
            f"{what} is what the alias {found[0]} means; let it mean another version, or remove it, first.",
            hint=f"%mp_publish … --alias {found[0]} moves it to a new version",
        )


def check_never_used(connection: sa.Connection, full_name: str | None) -> None:
    """Nothing, if a name that a model shall be given never had versions: their numbers are not given again.

    Raises
    ------
    NameTakenError
        If it had.
    """
    zone, _, name = (full_name or "").partition(".")
    kept = tables.deleted_versions.c
    if connection.execute(sa.select(kept.version).where(kept.zone == zone, kept.name == name)).first() is not None:
        raise NameTakenError(f"{full_name} had versions that were deleted, and their numbers are not given again.")


def _names(value: Any, full_name: str, version: int | None) -> bool:
    """Whether a deployment of the version stands anywhere in an endpoint's spec or status."""
    if isinstance(value, dict):
        if value.get("model") == full_name and (version is None or value.get("version") == version):
            return True
        return any(_names(inner, full_name, version) for inner in value.values())
    return isinstance(value, list) and any(_names(inner, full_name, version) for inner in value)
