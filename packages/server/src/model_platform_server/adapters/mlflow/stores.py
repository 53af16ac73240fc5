"""The governed stores as they run in this process, and what the platform does with them."""

from __future__ import annotations

import datetime as dt
import logging
import os
import shutil
from dataclasses import dataclass

import sqlalchemy as sa
from mlflow.entities.model_registry import RegisteredModelTag
from mlflow.store.model_registry.dbmodels.models import SqlRegisteredModel

from model_platform_core.access import Scope
from model_platform_core.errors import ModelNotFoundError, VersionNotFoundError
from model_platform_core.wire import ModelPatch
from model_platform_server.adapters.database import tables
from model_platform_server.adapters.mlflow import catalogue, deleted, examination, naming
from model_platform_server.adapters.mlflow.environment import ARTIFACT_DESTINATION
from model_platform_server.adapters.mlflow.registry_store import GovernedRegistryStore
from model_platform_server.adapters.mlflow.sessions import Access, accessing, acting, one_transaction
from model_platform_server.adapters.mlflow.tracking_store import GovernedTrackingStore

_log = logging.getLogger(__name__)

_MANAGES = Access(Scope.MODELS_MANAGE, writes=True)
_EMPTY_FOR = dt.timedelta(days=1)


@dataclass(frozen=True)
class Stores:
    """Registry and tracking; names are full, and the actor is acting around every call."""

    registry: GovernedRegistryStore
    tracking: GovernedTrackingStore

    def patch_model(self, name: str, patch: ModelPatch) -> None:
        """Change description and tags in one transaction; tags that are not named any more are removed."""
        with one_transaction(self.registry.engine) as connection:
            where = [tables.models.c[column] == value for column, value in naming.split(name).items()]
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
        """Delete a version, and its logged model unless another version is of the same files. Both can come back."""
        rows = tables.versions.c
        where = [rows[column] == value for column, value in {**naming.split(name), "version": version}.items()]
        with one_transaction(self.registry.engine) as connection:
            found = connection.execute(sa.select(rows.location, rows.model_id).where(*where)).first()
            if found is None:
                raise VersionNotFoundError(f"{name} has no version {version}.")
            self.registry.delete_model_version(name, str(version))
            others = connection.execute(sa.select(rows.version).where(rows.location == found.location)).first()
            if found.model_id is not None and others is None:
                self.tracking.delete_logged_model(found.model_id)

    def restore_version(self, name: str, version: int) -> None:
        """Bring a deleted version back, and its model if that was deleted too."""
        acting().require(Scope.MODELS_MANAGE, naming.zone_of(name))
        rows = SqlRegisteredModel.__table__
        of_model = sa.select(rows.c.name).where(rows.c.name == name)
        with accessing(_MANAGES), one_transaction(self.registry.engine) as connection:
            if not deleted.is_kept(connection, name, version):
                raise VersionNotFoundError(f"{name} has no deleted version {version} that could come back.")
            if connection.execute(of_model).first() is None:
                self.registry.create_registered_model(name)
            connection.execute(of_model.with_for_update())
            catalogue.Writer(connection, acting().name).restore(name, version)

    def purge(self, before: dt.datetime) -> int:
        """Give up the versions that were deleted before, and remove their files; how many versions."""
        with accessing(_MANAGES), one_transaction(self.registry.engine) as connection:
            count = catalogue.Writer(connection, acting().name).purge(before)
        deleted.remove_files(self.registry.engine, _removed)
        return count

    def sweep(self) -> int:
        """Remove models that never held anything: their client died between two calls. How many."""
        return self.registry.sweep_empty_models(_EMPTY_FOR)


def _removed(prefix: str) -> bool:
    """Whether the files at a place of the artifact store are gone."""
    root = examination.artifact_root()
    try:
        if root is None:
            examination.real_artifacts(os.environ[ARTIFACT_DESTINATION]).delete_artifacts(prefix)
        elif (folder := root / prefix).exists():
            shutil.rmtree(folder)
            if not any(folder.parent.iterdir()):
                folder.parent.rmdir()
    except OSError:
        _log.warning("the files at %s cannot be removed; it is tried again", prefix)
        return False
    return True
