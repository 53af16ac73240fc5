"""What is in use cannot go, whichever door the wish to delete it comes through."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from model_platform_core.errors import InUseError
from model_platform_server.adapters.database import tables


def check_unused(connection: sa.Connection, full_name: str, version: int | None = None) -> None:
    """Nothing, if no endpoint runs the version (or any version of the model) or could go back to it.

    Raises
    ------
    InUseError
        Names the endpoints.
    """
    zone = full_name.partition(".")[0]
    endpoints = tables.endpoints.c
    rows = connection.execute(
        sa.select(endpoints.name, endpoints.spec, endpoints.status).where(endpoints.zone == zone)
    ).all()
    users = [row.name for row in rows if _names(row.spec, full_name, version) or _names(row.status, full_name, version)]
    if users:
        what = full_name if version is None else f"{full_name} version {version}"
        raise InUseError(
            f"{what} is used by {', '.join(users)}; delete or redeploy that first.", hint=f"mp delete {users[0]}"
        )


def _names(value: Any, full_name: str, version: int | None) -> bool:
    """Whether a deployment of the version stands anywhere in an endpoint's spec or status."""
    if isinstance(value, dict):
        if value.get("model") == full_name and (version is None or value.get("version") == version):
            return True
        return any(_names(inner, full_name, version) for inner in value.values())
    return isinstance(value, list) and any(_names(inner, full_name, version) for inner in value)
