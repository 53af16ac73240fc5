"""The governed artifact store: rights by the experiment's zone, and what is sealed stays as it is.

The first part of a path is an experiment's id. Below the prefix of a registered version nothing is written or deleted;
the seal is asked again when the last byte of an upload has come.
"""

from __future__ import annotations

import asyncio
import os
import posixpath
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

import sqlalchemy as sa
from mlflow.store.artifact.artifact_repo import (
    ArtifactRepository,
    MultipartDownloadMixin,
    MultipartUploadMixin,
    StreamUploadMixin,
)
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.tracking.dbmodels.models import SqlExperiment

from model_platform_core.access import Scope
from model_platform_core.errors import ForbiddenError, NotFoundError
from model_platform_server.adapters.database import tables
from model_platform_server.adapters.mlflow import examination
from model_platform_server.adapters.mlflow.entry_points import SCHEME
from model_platform_server.adapters.mlflow.environment import TRACKING_STORE
from model_platform_server.adapters.mlflow.naming import DEFAULT_EXPERIMENT
from model_platform_server.adapters.mlflow.refusals import Refusal
from model_platform_server.adapters.mlflow.sessions import acting, governed_engine

_MIXINS = (MultipartUploadMixin, MultipartDownloadMixin, StreamUploadMixin)


def governed_artifacts(
    artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
) -> ArtifactRepository:
    """The governed store over the real one that `artifact_uri` names behind its scheme.

    It can what the real one can: MLflow's handlers look at the class.
    """
    inner = get_artifact_repository(artifact_uri.removeprefix(SCHEME), tracking_uri, registry_uri)
    mixins = tuple(mixin for mixin in _MIXINS if isinstance(inner, mixin))
    kind: Any = type("GovernedArtifacts", (GovernedArtifactStore, *mixins), {})
    return kind(artifact_uri, inner)


class GovernedArtifactStore(ArtifactRepository):  # type: ignore[misc]  # MLflow has no types
    """An artifact repository in front of another one."""

    def __init__(self, artifact_uri: str, inner: Any) -> None:
        super().__init__(artifact_uri)
        self._inner = inner
        self._engine = governed_engine(os.environ[TRACKING_STORE].removeprefix(SCHEME))

    # ------------------------------------------------------------ what may be done

    def _path(self, *parts: str | None) -> str:
        """A path below the root; experiment 0 is the default of the actor's home zone."""
        path = posixpath.normpath(posixpath.join("", *(part for part in parts if part)) or ".").strip("/")
        if path == ".":
            return ""
        first, slash, rest = path.partition("/")
        if first == "0" and acting().home_zone is not None:
            experiments = SqlExperiment.__table__.c
            name = f"{acting().home_zone}.{DEFAULT_EXPERIMENT}"
            with self._engine.connect() as connection:
                found = connection.scalar(sa.select(experiments.experiment_id).where(experiments.name == name))
            first = first if found is None else str(found)
        return f"{first}{slash}{rest}"

    def _check_read(self, path: str) -> None:
        with self._engine.connect() as connection:
            if not all(examination.readable(connection, acting(), spelling) for spelling in _spellings(path)):
                raise Refusal(NotFoundError(f"No such artifact: '{path}'"))

    def _check_write(self, path: str, *, deleting: bool = False) -> None:
        for spelling in _spellings(path):
            self._check_write_spelt(spelling, deleting=deleting)

    def _check_write_spelt(self, path: str, *, deleting: bool) -> None:
        actor, seals = acting(), tables.seals.c
        with self._engine.connect() as connection:
            zone = examination.zone_of_path(connection, path)
            if zone is None or not actor.may(Scope.MODELS_PUBLISH, zone):
                if zone is not None and actor.may(Scope.MODELS_READ, zone):
                    raise Refusal(ForbiddenError(f"{actor.name} may not write '{path}': it lies in zone {zone}."))
                raise Refusal(NotFoundError(f"There is no place for artifacts at '{path}'."))
            within = seals.prefix.in_(examination.ancestors(path))
            below = seals.prefix.startswith(f"{path}/", autoescape=True)
            sealed = connection.execute(
                sa.select(seals.zone, seals.name, seals.version).where(sa.or_(within, below) if deleting else within)
            ).first()
        if sealed is not None:
            raise Refusal(
                ForbiddenError(
                    f"'{path}' belongs to {sealed.zone}.{sealed.name} version {sealed.version} and cannot change. "
                    "Register a new version."
                )
            )

    # ------------------------------------------------------------ writing

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        """Store a file."""
        folder = self._path(artifact_path)
        self._check_write(posixpath.join(folder, os.path.basename(local_file)))  # noqa: PTH119
        self._inner.log_artifact(local_file, folder or None)

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        """Store what is in a folder."""
        folder = self._path(artifact_path)
        self._check_write(folder, deleting=True)  # it may write anywhere below
        self._inner.log_artifacts(local_dir, folder or None)

    def log_artifact_from_stream(self, stream: Any, artifact_file_name: str, artifact_path: str | None = None) -> None:
        """Store what comes."""
        folder = self._path(artifact_path)
        path = posixpath.join(folder, artifact_file_name)
        self._check_write(path)
        self._inner.log_artifact_from_stream(_CheckedAgain(stream, self, path), artifact_file_name, folder or None)

    async def log_artifact_from_async_stream(
        self, chunks: AsyncIterator[bytes], artifact_file_name: str, artifact_path: str | None = None
    ) -> None:
        """Store what comes."""
        folder = await asyncio.to_thread(self._path, artifact_path)
        path = posixpath.join(folder, artifact_file_name)
        await asyncio.to_thread(self._check_write, path)

        async def checked_again() -> AsyncIterator[bytes]:
            async for chunk in chunks:
                yield chunk
            await asyncio.to_thread(self._check_write, path)

        await self._inner.log_artifact_from_async_stream(checked_again(), artifact_file_name, folder or None)

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        """Delete a file or folder."""
        path = self._path(artifact_path)
        self._check_write(path, deleting=True)
        self._inner.delete_artifacts(path)

    def create_multipart_upload(self, local_file: str, num_parts: int = 1, artifact_path: str | None = None) -> Any:
        """Begin an upload in parts."""
        folder = self._path(artifact_path)
        self._check_write(posixpath.join(folder, os.path.basename(local_file)))  # noqa: PTH119
        return self._inner.create_multipart_upload(local_file, num_parts, folder or None)

    def complete_multipart_upload(
        self, local_file: str, upload_id: str, parts: Any, artifact_path: str | None = None
    ) -> Any:
        """End an upload in parts."""
        folder = self._path(artifact_path)
        self._check_write(posixpath.join(folder, os.path.basename(local_file)))  # noqa: PTH119
        return self._inner.complete_multipart_upload(local_file, upload_id, parts, folder or None)

    def abort_multipart_upload(self, local_file: str, upload_id: str, artifact_path: str | None = None) -> Any:
        """Give up an upload in parts."""
        folder = self._path(artifact_path)
        self._check_write(posixpath.join(folder, os.path.basename(local_file)))  # noqa: PTH119
        return self._inner.abort_multipart_upload(local_file, upload_id, folder or None)

    # ------------------------------------------------------------ reading

    def list_artifacts(self, path: str | None = None) -> Any:
        """What lies in a folder; at the root, the experiments that may be seen."""
        place = self._path(path)
        if place:
            self._check_read(place)
            return self._inner.list_artifacts(place)
        listed = self._inner.list_artifacts(None)
        with self._engine.connect() as connection:
            actor = acting()
            zones = {one.path: examination.zone_of_path(connection, one.path.strip("/")) for one in listed}
        return [one for one in listed if (zone := zones[one.path]) and actor.may(Scope.MODELS_READ, zone)]

    def get_download_presigned_url(self, artifact_path: str, expiration: int = 300) -> Any:
        """An address at the real store, for a while."""
        path = self._path(artifact_path)
        self._check_read(path)
        return self._inner.get_download_presigned_url(path, expiration)

    def get_local_path(self, artifact_path: str) -> Any:
        """Where a file lies on the server's disk, if it does."""
        path = self._path(artifact_path)
        self._check_read(path)
        return self._inner.get_local_path(path)

    def download_artifacts(self, artifact_path: str, dst_path: str | None = None) -> Any:
        """A local copy of a file or folder."""
        path = self._path(artifact_path)
        self._check_read(path)
        return self._inner.download_artifacts(path, dst_path)

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        path = self._path(remote_file_path)
        self._check_read(path)
        self._inner._download_file(path, local_path)  # noqa: SLF001  # MLflow's own protocol between repositories


def _spellings(path: str) -> set[str]:
    """A path as it is, and as a store that decodes it would understand it."""
    decoded = path
    while (further := unquote(decoded)) != decoded:
        decoded = further
    return {path, posixpath.normpath(decoded).strip("/")}


class _CheckedAgain:
    """A stream that asks once more whether it may be written, when its last byte has come."""

    def __init__(self, stream: Any, store: GovernedArtifactStore, path: str) -> None:
        self._stream = stream
        self._store = store
        self._path = path

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        chunk: bytes = self._stream.read(size)
        if not chunk:
            self._store._check_write(self._path)  # noqa: SLF001  # one class in two
        return chunk
