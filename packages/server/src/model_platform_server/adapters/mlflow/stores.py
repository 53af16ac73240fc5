"""The governed stores as they run in this process, and what the platform does with them."""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import dataclass

import sqlalchemy as sa
from mlflow.entities.model_registry import RegisteredModelTag

from model_platform_core.errors import ModelNotFoundError, VersionNotFoundError
from model_platform_core.wire import ModelPatch
from model_platform_server.adapters.database import tables
from model_platform_server.adapters.mlflow import catalogue, examination
from model_platform_server.adapters.mlflow.registry_store import GovernedRegistryStore
from model_platform_server.adapters.mlflow.sessions import one_transaction
from model_platform_server.adapters.mlflow.tracking_store import GovernedTrackingStore

_EMPTY_FOR = dt.timedelta(days=1)


@dataclass(frozen=True)
class Stores:
    """Registry and tracking; names are full, and the actor is acting around every call."""

    registry: GovernedRegistryStore
    tracking: GovernedTrackingStore

    def patch_model(self, name: str, patch: ModelPatch) -> None:
        """Change description and tags in one transaction; tags that are not named any more are removed."""
        with one_transaction(self.registry.engine) as connection:
            where = [tables.models.c[column] == value for column, value in catalogue.split(name).items()]
            before = connection.execute(sa.select(tables.models.c.tags).where(*where)).scalar()
            if before is None:
                raise ModelNotFoundError(f"There is no model {name}.")
            if patch.description is not None:
                self.registry.update_registered_model(name, patch.description)
            if patch.tags is None:
                return
            for key in sorted(set(before) - set(patch.tags)):
                self.registry.delete_registered_model_tag(name, key)
            for key, value in patch.tags.items():
                if before.get(key) != value:
                    self.registry.set_registered_model_tag(name, RegisteredModelTag(key, value))

    def delete_version(self, name: str, version: int) -> None:
        """Delete a version, and its files unless another version is of the same ones."""
        rows = tables.versions.c
        where = [rows[column] == value for column, value in {**catalogue.split(name), "version": version}.items()]
        with self.registry.engine.connect() as connection:
            found = connection.execute(sa.select(rows.location, rows.model_id).where(*where)).first()
        if found is None:
            raise VersionNotFoundError(f"{name} has no version {version}.")
        self.registry.delete_model_version(name, str(version))
        with self.registry.engine.connect() as connection:
            still = sa.select(tables.seals.c.prefix).where(tables.seals.c.prefix == catalogue.prefix_of(found.location))
            if connection.execute(still).first() is not None:
                return
        if found.model_id is not None:
            self.tracking.delete_logged_model(found.model_id)
        if (root := examination.artifact_root()) is not None:
            shutil.rmtree(root / catalogue.prefix_of(found.location), ignore_errors=True)

    def sweep(self) -> int:
        """Remove models that never held anything: their client died between two calls. How many."""
        return self.registry.sweep_empty_models(_EMPTY_FOR)
