"""Bringing MLflow up inside this process, and insisting that it is governed. Importing it costs seconds."""

from __future__ import annotations

import os
from typing import Any

import mlflow.store.db.utils as mlflow_database
import sqlalchemy as sa
from mlflow.entities.lifecycle_stage import LifecycleStage
from mlflow.server import handlers
from mlflow.server.fastapi_app import app as application
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as MlflowRegistryStore
from mlflow.store.tracking.dbmodels.models import SqlExperiment
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as MlflowTrackingStore

from model_platform_core.access import SYSTEM
from model_platform_core.errors import RegistryUnavailableError
from model_platform_server.adapters.database.engine import Database
from model_platform_server.adapters.mlflow import methods, registry_store, tracking_store
from model_platform_server.adapters.mlflow.artifact_store import GovernedArtifactStore
from model_platform_server.adapters.mlflow.context import acting_as
from model_platform_server.adapters.mlflow.environment import LOCATION, REGISTRY_STORE, TRACKING_STORE
from model_platform_server.adapters.mlflow.registry_store import GovernedRegistryStore
from model_platform_server.adapters.mlflow.sessions import Access, accessing
from model_platform_server.adapters.mlflow.stores import Stores
from model_platform_server.adapters.mlflow.tracking_store import GovernedTrackingStore

__all__ = ["application", "migrate", "start", "unclassified"]

_MIGRATION_LOCK = 0x4D50_4D4C  # any fixed number; PostgreSQL's advisory locks are numbers


def start(database_url: str) -> Stores:
    """Bring the stores up; raises RegistryUnavailableError if one of them is not ours.

    `environment.configure` was called before this module was imported.
    """
    migrate(database_url)
    with acting_as(SYSTEM):
        handlers.initialize_backend_stores(os.environ[TRACKING_STORE], os.environ[REGISTRY_STORE], LOCATION)
        registry, tracking = handlers._get_model_registry_store(), handlers._get_tracking_store()  # noqa: SLF001
        artifacts = handlers._get_artifact_repo_mlflow_artifacts()  # noqa: SLF001
        _hide_experiment_0(tracking)
    # MLflow has written the database's address into the environment, where every child would find it; it remembers it.
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        os.environ.pop(name, None)
    # An entry point that does not load is only a warning to MLflow. To us it is a reason not to serve.
    for store, kind in (
        (registry, GovernedRegistryStore),
        (tracking, GovernedTrackingStore),
        (artifacts, GovernedArtifactStore),
    ):
        if not isinstance(store, kind):
            raise RegistryUnavailableError(f"MLflow came up with {type(store).__name__} instead of {kind.__name__}.")
    if unknown := unclassified():
        raise RegistryUnavailableError(f"MLflow has methods that nobody has looked at: {', '.join(sorted(unknown))}.")
    return Stores(registry, tracking)


def _hide_experiment_0(tracking: Any) -> None:
    """MLflow's own default experiment lies in no zone: shown as deleted, so that nobody meets it beside the zone's own."""
    with accessing(Access(writes=True)), tracking.ManagedSessionMaker(read_only=False) as session:
        session.get(SqlExperiment, 0).lifecycle_stage = LifecycleStage.DELETED


def unclassified() -> set[str]:
    """Public methods of MLflow's stores that are in no table; must be empty."""
    return methods.unclassified(
        MlflowRegistryStore, registry_store.METHODS, registry_store.DERIVED
    ) | methods.unclassified(MlflowTrackingStore, tracking_store.METHODS, tracking_store.DERIVED)


def migrate(database_url: str) -> None:
    """Bring MLflow's own tables to what this version of MLflow needs.

    On connections as MLflow makes them: its migrations recreate tables, which our connections' foreign keys forbid.
    """
    database = Database(database_url)
    plain = mlflow_database.create_sqlalchemy_engine_with_retry(database_url)
    try:
        with database.read() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_lock(_MIGRATION_LOCK)))  # until the connection closes
            if mlflow_database._get_schema_version(plain) != mlflow_database._get_latest_schema_revision():  # noqa: SLF001
                mlflow_database._initialize_tables(plain)  # noqa: SLF001
    finally:
        plain.dispose()
        database.close()
