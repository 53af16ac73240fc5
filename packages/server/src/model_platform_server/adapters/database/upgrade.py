"""Migrations of our tables. Importing what runs them takes a moment, so it is left to those who have one to run."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from model_platform_core.errors import DatabaseUnavailableError
from model_platform_server.adapters.database.engine import Database

MIGRATIONS = Path(__file__).with_name("migrations")

_LOCK = 0x4D50_4D49  # any fixed number; PostgreSQL's advisory locks are numbers


def upgrade(database: Database) -> None:
    """Run every migration that has not been run; raises as `migrate` does."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    try:
        with database.write() as connection:  # on SQLite this alone keeps others out
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise DatabaseUnavailableError(
            f"The platform's database cannot be used by this version: {error}. "
            "If a newer version wrote it, start that version again or restore the backup made before it."
        ) from error
