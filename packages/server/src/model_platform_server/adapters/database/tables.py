"""Our tables, beside MLflow's in one database, with a prefix and an Alembic version table of our own.

The MLflow adapter writes versions, cards, seals and events through these in MLflow's own session, so that a registry
write and its event are one transaction; everything else goes through the stores of this folder.
"""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa

metadata = sa.MetaData()

VERSION_TABLE = "mp_alembic_version"


def is_ours(name: str | None, kind: str, parents: object) -> bool:  # noqa: ARG001
    """Whether a table found in the database is one of ours; Alembic leaves the others (MLflow's) alone."""
    return kind != "table" or (name or "").startswith("mp_")


class UtcDateTime(sa.types.TypeDecorator[dt.datetime]):
    """Time-zone aware UTC on every database; SQLite keeps none of its own."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: sa.Dialect) -> dt.datetime | None:  # noqa: ARG002
        """To naive UTC; a time without a zone is refused, for it would be read as the machine's local time."""
        if value is not None and value.tzinfo is None:
            raise ValueError("a time for the database names its zone")
        return None if value is None else value.astimezone(dt.UTC).replace(tzinfo=None)

    def process_result_value(self, value: dt.datetime | None, dialect: sa.Dialect) -> dt.datetime | None:  # noqa: ARG002
        """From naive UTC."""
        return None if value is None else value.replace(tzinfo=dt.UTC)


_Name, _Digest, _Time = sa.String(200), sa.String(71), UtcDateTime

actors = sa.Table(
    "mp_actors",
    metadata,
    sa.Column("name", _Name, primary_key=True),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("home_zone", sa.String(30)),
    sa.Column("roles", sa.JSON, nullable=False),  # zone or * -> role
    sa.Column("created_at", _Time, nullable=False),
)

tokens = sa.Table(
    "mp_tokens",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("name", _Name, nullable=False),
    sa.Column("actor", _Name, sa.ForeignKey("mp_actors.name"), nullable=False, index=True),
    sa.Column("endpoint", sa.String(61), index=True),  # set for tokens that call one endpoint
    sa.Column("sha256", sa.String(64), nullable=False, unique=True),
    sa.Column("created_at", _Time, nullable=False),
    sa.Column("expires_at", _Time),
    sa.Column("revoked_at", _Time),
)

zones = sa.Table(
    "mp_zones",
    metadata,
    sa.Column("name", sa.String(30), primary_key=True),
    sa.Column("spec", sa.JSON, nullable=False),
    sa.Column("created_at", _Time, nullable=False),
)

event_counter = sa.Table(
    # One row, updated by whoever writes an event: its lock makes ids follow the order of commits, also on PostgreSQL.
    "mp_event_counter",
    metadata,
    sa.Column("name", sa.String(10), primary_key=True),
    sa.Column("last_id", sa.BigInteger, nullable=False),
)

events = sa.Table(
    "mp_events",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", _Time, nullable=False),
    sa.Column("type", sa.String(40), nullable=False),
    sa.Column("schema_version", sa.Integer, nullable=False),
    sa.Column("actor", _Name, nullable=False),
    sa.Column("zone", sa.String(30)),
    sa.Column("subject", sa.String(200), nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
    sa.Index("ix_mp_events_zone_id", "zone", "id"),
)

models = sa.Table(
    "mp_models",
    metadata,
    # The key keeps a zone from being deleted while a model is being registered in it.
    sa.Column("zone", sa.String(30), sa.ForeignKey("mp_zones.name"), primary_key=True),
    sa.Column("name", sa.String(60), primary_key=True),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("tags", sa.JSON, nullable=False),
    sa.Column("newest_version", sa.Integer),
    sa.Column("tier", sa.Integer),  # of the newest version
    sa.Column("owner", _Name),  # of the newest version
    sa.Column("created_by", _Name, nullable=False),
    sa.Column("created_at", _Time, nullable=False),
    sa.Column("updated_at", _Time, nullable=False),
    sa.Index("ix_mp_models_owner", "owner"),
)

aliases = sa.Table(
    "mp_aliases",
    metadata,
    sa.Column("zone", sa.String(30), primary_key=True),
    sa.Column("name", sa.String(60), primary_key=True),
    sa.Column("alias", sa.String(60), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
)

versions = sa.Table(
    "mp_versions",
    metadata,
    sa.Column("zone", sa.String(30), primary_key=True),
    sa.Column("name", sa.String(60), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("artifact_sha256", _Digest, nullable=False, index=True),
    sa.Column("content_sha256", _Digest),  # the identity of the object, where publish has asked for it
    sa.Column("location", sa.String(700), nullable=False),  # mlflow-artifacts:/… without host
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("format", sa.String(20), nullable=False),
    sa.Column("signature", sa.JSON, nullable=False),
    sa.Column("behaviour", sa.JSON, nullable=False),
    sa.Column("lineage", sa.JSON, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("tags", sa.JSON, nullable=False),
    sa.Column("model_id", sa.String(60)),
    sa.Column("run_id", sa.String(60)),
    sa.Column("published_by", _Name, nullable=False),
    sa.Column("published_at", _Time, nullable=False),
)

files = sa.Table(
    "mp_files",
    metadata,
    sa.Column("zone", sa.String(30), primary_key=True),
    sa.Column("name", sa.String(60), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("path", sa.String(500), primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("sha256", _Digest, nullable=False),
    sa.Index("ix_mp_files_sha256_zone", "sha256", "zone"),
)

cards = sa.Table(
    "mp_cards",
    metadata,
    sa.Column("zone", sa.String(30), primary_key=True),
    sa.Column("name", sa.String(60), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("content", sa.JSON, nullable=False),
    sa.Column("sha256", _Digest, nullable=False),
    sa.Column("by", _Name, nullable=False),
    sa.Column("at", _Time, nullable=False),
)

seals = sa.Table(
    # Below a sealed prefix of the artifact store nothing is written or deleted any more.
    "mp_seals",
    metadata,
    sa.Column("prefix", sa.String(700), primary_key=True),
    sa.Column("zone", sa.String(30), nullable=False),
    sa.Column("name", sa.String(60), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("artifact_sha256", _Digest, nullable=False),
    sa.Column("at", _Time, nullable=False),
)

deleted_versions = sa.Table(
    # A number is given once: the row stays when the version is purged, without what could bring it back.
    "mp_deleted_versions",
    metadata,
    sa.Column("zone", sa.String(30), primary_key=True),
    sa.Column("name", sa.String(60), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("location", sa.String(700), nullable=False),
    sa.Column("model_id", sa.String(60)),
    sa.Column("content", sa.JSON(none_as_null=True)),  # its rows as they were; null when it is purged
    sa.Column("by", _Name, nullable=False),
    sa.Column("at", _Time, nullable=False, index=True),
)

endpoints = sa.Table(
    "mp_endpoints",
    metadata,
    sa.Column("zone", sa.String(30), sa.ForeignKey("mp_zones.name"), primary_key=True),
    sa.Column("name", sa.String(30), primary_key=True),
    sa.Column("spec", sa.JSON, nullable=False),
    sa.Column("status", sa.JSON, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("created_at", _Time, nullable=False),
    sa.Column("updated_at", _Time, nullable=False),
)

answers = sa.Table(
    "mp_answers",
    metadata,
    sa.Column("actor", _Name, primary_key=True),
    sa.Column("key", sa.String(200), primary_key=True),
    sa.Column("request_sha256", _Digest, nullable=False),
    sa.Column("subject", sa.String(200), nullable=False),
    sa.Column("at", _Time, nullable=False, index=True),
)
