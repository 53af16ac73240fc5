"""The registry port: MLflow, governed, in this process. Nothing of MLflow is imported before `start`."""

from __future__ import annotations

import datetime as dt
import gc
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from model_platform_core.access import SYSTEM, Actor
from model_platform_core.errors import RegistryUnavailableError
from model_platform_core.refs import ModelRef, VersionRef
from model_platform_core.wire import ModelPatch
from model_platform_server.adapters.mlflow import environment
from model_platform_server.adapters.mlflow.context import acting_as
from model_platform_server.adapters.mlflow.mount import Application, MlflowMount
from model_platform_server.ports import Registration

if TYPE_CHECKING:
    from model_platform_server.adapters.mlflow.stores import Stores

_log = logging.getLogger(__name__)

_WAIT_SECONDS = 60.0
_STOP_SECONDS = 10.0


class MlflowRegistry:
    """The write side of the registry, and MLflow's application for `/mlflow`.

    Parameters
    ----------
    database_url
        The platform's database; its own tables are migrated before `start`.
    artifacts
        The folder of all artifacts.

    `application` is the ASGI program to be mounted at `/mlflow`, with `acting_as(actor)` around every request.
    """

    def __init__(self, database_url: str, artifacts: Path) -> None:
        url = sa.make_url(database_url)
        if url.drivername in {"postgres", "postgresql"}:
            url = url.set(drivername="postgresql+psycopg")  # MLflow would take another driver
        self._database_url = url.render_as_string(hide_password=False)
        self._artifacts = artifacts
        self._up = threading.Event()
        self._stores: Stores | None = None
        self._inner: Application | None = None
        self._thread: threading.Thread | None = None
        self.application = MlflowMount(self._wait_for_mlflow, wait_seconds=_WAIT_SECONDS)

    # ------------------------------------------------------------ coming up

    def start(self) -> None:
        """Begin to bring MLflow up in a thread; returns at once."""
        environment.configure(self._database_url, self._artifacts)
        self._thread = threading.Thread(target=self._come_up, name="mlflow-start", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the database connections that nobody uses."""
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)
        self._up.set()  # who still waits for what was never begun
        if self._stores is not None:
            self._stores.registry.engine.dispose()

    def _come_up(self) -> None:
        gc.disable()  # importing MLflow makes a million objects that stay
        try:
            from model_platform_server.adapters.mlflow import publishing, startup  # noqa: PLC0415

            self._stores = startup.start(self._database_url)
            self._inner = startup.application
            publishing.remove_remains(self._stores.registry.engine)
        except Exception:  # noqa: BLE001  # whatever it is: it is told, and the rest of the server goes on
            _log.exception("The registry did not come up; everything else goes on.")
        finally:
            gc.freeze()
            gc.enable()
            self._up.set()

    def ready(self) -> bool:
        """Whether MLflow is up and governed."""
        return self._inner is not None

    def _wait_for_mlflow(self, seconds: float) -> Application | None:
        """MLflow's own application, waited for that long; None if it is not there then."""
        self._up.wait(seconds)
        return self._inner

    def _mlflow(self) -> Stores:
        self._up.wait(_WAIT_SECONDS)
        if self._stores is None:
            raise RegistryUnavailableError(
                "The registry is not up. Endpoints that are live go on answering; the server's log says what is wrong."
            )
        return self._stores

    @contextmanager
    def _as(self, actor: Actor) -> Iterator[Stores]:
        """The stores with the actor acting; MLflow's errors come out as the platform's."""
        mlflow = self._mlflow()
        from mlflow.exceptions import MlflowException  # noqa: PLC0415

        from model_platform_server.adapters.mlflow.refusals import platform_error  # noqa: PLC0415

        try:
            with acting_as(actor):
                yield mlflow
        except MlflowException as error:
            raise platform_error(error) from error

    # ------------------------------------------------------------ changes

    def register(self, actor: Actor, registration: Registration) -> VersionRef:
        """Write run, logged model, version, card and event; the gate stands in the store. Raises its refusals.

        Gives the last version where it is that once more.
        """
        with self._as(actor) as mlflow:
            from model_platform_server.adapters.mlflow.publishing import publish  # noqa: PLC0415

            return publish(mlflow, actor, registration)

    def set_alias(self, actor: Actor, ref: ModelRef, alias: str, version: int) -> None:
        """Point an alias at a version."""
        with self._as(actor) as mlflow:
            mlflow.registry.set_registered_model_alias(str(ref), alias, str(version))

    def delete_alias(self, actor: Actor, ref: ModelRef, alias: str) -> None:
        """Remove an alias."""
        with self._as(actor) as mlflow:
            mlflow.registry.delete_registered_model_alias(str(ref), alias)

    def patch_model(self, actor: Actor, ref: ModelRef, patch: ModelPatch) -> None:
        """Change description and tags."""
        with self._as(actor) as mlflow:
            mlflow.patch_model(str(ref), patch)

    def delete_version(self, actor: Actor, ref: VersionRef) -> None:
        """Delete a version; until it is purged it can come back."""
        with self._as(actor) as mlflow:
            mlflow.delete_version(str(ref.model), ref.version or 0)

    def restore_version(self, actor: Actor, ref: VersionRef) -> None:
        """Bring a deleted version back; raises VersionNotFoundError if it was not deleted, or is purged."""
        with self._as(actor) as mlflow:
            mlflow.restore_version(str(ref.model), ref.version or 0)

    def purge(self, before: dt.datetime) -> int:
        """Give up the versions that were deleted before, and their files unless another version is of them; how many."""
        with self._as(SYSTEM) as mlflow:
            return mlflow.purge(before)

    def sweep(self) -> int:
        """Remove models that never held anything: their client died between two calls. How many."""
        with self._as(SYSTEM) as mlflow:
            return mlflow.sweep()
