"""The first tables: actors, tokens, zones, events, the registry's read side, endpoints, answers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_NAME, _DIGEST = sa.String(200), sa.String(71)


def upgrade() -> None:
    """Create them, and the one row that counts events."""
    _people()
    _zones_and_events()
    _registry()
    _endpoints()


def _people() -> None:
    op.create_table(
        "mp_actors",
        sa.Column("name", _NAME, primary_key=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("home_zone", sa.String(30)),
        sa.Column("roles", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "mp_tokens",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("actor", _NAME, sa.ForeignKey("mp_actors.name"), nullable=False, index=True),
        sa.Column("endpoint", sa.String(61), index=True),
        sa.Column("sha256", sa.String(64), nullable=False, unique=True),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("expires_at", sa.DateTime),
        sa.Column("revoked_at", sa.DateTime),
    )


def _zones_and_events() -> None:
    op.create_table(
        "mp_zones",
        sa.Column("name", sa.String(30), primary_key=True),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
    )
    counter = op.create_table(
        "mp_event_counter",
        sa.Column("name", sa.String(10), primary_key=True),
        sa.Column("last_id", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(counter, [{"name": "events", "last_id": 0}])
    op.create_table(
        "mp_events",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("type", sa.String(40), nullable=False),
        sa.Column("schema_version", sa.Integer, nullable=False),
        sa.Column("actor", _NAME, nullable=False),
        sa.Column("zone", sa.String(30)),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sa.Index("ix_mp_events_zone_id", "zone", "id"),
    )


def _registry() -> None:
    op.create_table(
        "mp_models",
        sa.Column("zone", sa.String(30), sa.ForeignKey("mp_zones.name"), primary_key=True),
        sa.Column("name", sa.String(60), primary_key=True),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.Column("newest_version", sa.Integer),
        sa.Column("tier", sa.Integer),
        sa.Column("owner", _NAME),
        sa.Column("created_by", _NAME, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("updated_at", sa.DateTime, nullable=False),
        sa.Index("ix_mp_models_owner", "owner"),
    )
    op.create_table(
        "mp_aliases",
        *_version_key(version_in_key=False),
        sa.Column("alias", sa.String(60), primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
    )
    op.create_table(
        "mp_versions",
        *_version_key(),
        sa.Column("artifact_sha256", _DIGEST, nullable=False, index=True),
        sa.Column("content_sha256", _DIGEST),
        sa.Column("location", sa.String(700), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("format", sa.String(20), nullable=False),
        sa.Column("signature", sa.JSON, nullable=False),
        sa.Column("behaviour", sa.JSON, nullable=False),
        sa.Column("lineage", sa.JSON, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.Column("model_id", sa.String(60)),
        sa.Column("run_id", sa.String(60)),
        sa.Column("published_by", _NAME, nullable=False),
        sa.Column("published_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "mp_files",
        *_version_key(),
        sa.Column("path", sa.String(500), primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("sha256", _DIGEST, nullable=False),
        sa.Index("ix_mp_files_sha256_zone", "sha256", "zone"),
    )
    op.create_table(
        "mp_cards",
        *_version_key(),
        sa.Column("revision", sa.Integer, primary_key=True),
        sa.Column("content", sa.JSON, nullable=False),
        sa.Column("sha256", _DIGEST, nullable=False),
        sa.Column("by", _NAME, nullable=False),
        sa.Column("at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "mp_deleted_versions",
        *_version_key(),
        sa.Column("location", sa.String(700), nullable=False),
        sa.Column("model_id", sa.String(60)),
        sa.Column("content", sa.JSON),
        sa.Column("by", _NAME, nullable=False),
        sa.Column("at", sa.DateTime, nullable=False, index=True),
    )
    op.create_table(
        "mp_seals",
        sa.Column("prefix", sa.String(700), primary_key=True),
        sa.Column("zone", sa.String(30), nullable=False),
        sa.Column("name", sa.String(60), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("artifact_sha256", _DIGEST, nullable=False),
        sa.Column("at", sa.DateTime, nullable=False),
    )


def _version_key(*, version_in_key: bool = True) -> list[sa.Column[str] | sa.Column[int]]:
    model: list[sa.Column[str] | sa.Column[int]] = [
        sa.Column("zone", sa.String(30), primary_key=True),
        sa.Column("name", sa.String(60), primary_key=True),
    ]
    return [*model, sa.Column("version", sa.Integer, primary_key=True)] if version_in_key else model


def _endpoints() -> None:
    op.create_table(
        "mp_endpoints",
        sa.Column("zone", sa.String(30), sa.ForeignKey("mp_zones.name"), primary_key=True),
        sa.Column("name", sa.String(30), primary_key=True),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("status", sa.JSON, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("updated_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "mp_answers",
        sa.Column("actor", _NAME, primary_key=True),
        sa.Column("key", sa.String(200), primary_key=True),
        sa.Column("request_sha256", _DIGEST, nullable=False),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("at", sa.DateTime, nullable=False, index=True),
    )
