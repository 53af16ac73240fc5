"""Where a version's files lie, and what they show."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlparse

import sqlalchemy as sa
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.tracking.dbmodels.models import SqlExperiment

from model_platform_core.access import Actor, Scope
from model_platform_core.cards import ModelCard
from model_platform_core.errors import InvalidModelError, NotFoundError
from model_platform_core.lineage import Lineage
from model_platform_core.models import ArtifactFormat, FileEntry
from model_platform_core.signatures import Signature
from model_platform_server.adapters.database import tables
from model_platform_server.adapters.mlflow import evidence
from model_platform_server.adapters.mlflow.entry_points import SCHEME
from model_platform_server.adapters.mlflow.environment import ARTIFACT_DESTINATION
from model_platform_server.adapters.mlflow.evidence import Evidence
from model_platform_server.adapters.mlflow.gate import written_card
from model_platform_server.adapters.mlflow.naming import prefix_of, split, zone_of


@lru_cache(maxsize=1)
def real_artifacts(destination: str) -> ArtifactRepository:
    """The artifact store itself, past the governed one: for the platform's own reading."""
    return get_artifact_repository(destination.removeprefix(SCHEME))


def artifact_root() -> Path | None:
    """The folder of all artifacts; None if they lie elsewhere than on a disk."""
    parsed = urlparse(os.environ[ARTIFACT_DESTINATION].removeprefix(SCHEME))
    return Path(unquote(parsed.path)) if parsed.scheme == "file" else None


@contextmanager
def files_at(location: str) -> Iterator[Path]:
    """A local folder with the files of a location: the real one, or a copy for the time being."""
    root = artifact_root()
    if root is not None:
        yield root / prefix_of(location)
        return
    with tempfile.TemporaryDirectory(prefix="mp-examine-") as temporary:
        artifacts = real_artifacts(os.environ[ARTIFACT_DESTINATION])
        yield Path(artifacts.download_artifacts(prefix_of(location), temporary))


def check_location(connection: sa.Connection, actor: Actor, location: str) -> None:
    """Nothing, if the files lie in the platform's artifact store and the actor may read them.

    Raises
    ------
    InvalidModelError
        If they lie elsewhere: then nobody could keep them as they are.
    NotFoundError
        If there are none, or none that the actor may know of.
    """
    parsed = urlparse(location)
    if parsed.scheme != "mlflow-artifacts" or parsed.netloc:
        raise InvalidModelError(
            f"The files of a version lie in the platform's artifact store, not at {location!r}. Log the model with "
            "log_model first."
        )
    prefix = prefix_of(location)
    if not readable(connection, actor, prefix):
        raise NotFoundError(f"There is no model at {location!r}.")


def zone_of_path(connection: sa.Connection, path: str) -> str | None:
    """The zone of an artifact path: its first part is an experiment's id."""
    first = path.partition("/")[0]
    if not first.isascii() or not first.isdigit() or len(first) > 18:
        return None
    experiments = SqlExperiment.__table__.c
    name = connection.scalar(sa.select(experiments.name).where(experiments.experiment_id == int(first)))
    return zone_of(name) or None if name else None


def readable(connection: sa.Connection, actor: Actor, path: str) -> bool:
    """Whether the actor may read an artifact path: by its experiment's zone, or because a version of these files is."""
    zones = actor.zones(Scope.MODELS_READ)
    zone = zone_of_path(connection, path)
    if zones is None or zone in zones:
        return True
    versions, seals = tables.versions.c, tables.seals.c
    sealed = connection.execute(sa.select(seals.prefix, seals.artifact_sha256).where(seals.prefix.in_(ancestors(path))))
    for seal in sealed.all():
        same = sa.select(versions.zone, versions.location).where(versions.artifact_sha256 == seal.artifact_sha256)
        if any(row.zone in zones and prefix_of(row.location) == seal.prefix for row in connection.execute(same)):
            return True
    return False


def ancestors(path: str) -> list[str]:
    """A path and every folder above it."""
    parts = path.split("/")
    return ["/".join(parts[: end + 1]) for end in range(len(parts))]


def examine(
    location: str, tags: Mapping[str, str], lineage: Lineage, model_id: str | None
) -> tuple[Evidence, dict[str, object]]:
    """What the files at a location show, and the card as the client wrote it (`Evidence.card` is still empty)."""
    with files_at(location) as root:
        files = evidence.digest_files(root)
        model = evidence.read_yaml(root / "MLmodel")
        environment = evidence.environment_of(model, root)
        found = Evidence(
            location=location,
            files=files,
            card=ModelCard(),
            signature=evidence.signature_of(model),
            behaviour=evidence.behaviour_of(model),
            lineage=lineage.model_copy(update={"environment": environment}),
            model_id=model_id,
        )
        return found.scanned(root, "The model", model), written_card(model, root, tags)


def of_version(connection: sa.Connection, full_name: str, version: int) -> Evidence | None:
    """What is known of a registered version: its files are sealed and need no second look."""
    key = [tables.versions.c[column] == value for column, value in split(full_name).items()]
    row = connection.execute(sa.select(tables.versions).where(*key, tables.versions.c.version == version)).first()
    if row is None:
        return None
    files, cards = tables.files, tables.cards
    of_files = [files.c[column] == value for column, value in {**split(full_name), "version": version}.items()]
    of_cards = [cards.c[column] == value for column, value in {**split(full_name), "version": version}.items()]
    entries = connection.execute(sa.select(files.c.path, files.c.size, files.c.sha256).where(*of_files))
    content = connection.scalar(sa.select(cards.c.content).where(*of_cards).order_by(cards.c.revision.desc()).limit(1))
    return Evidence(
        location=row.location,
        files=tuple(FileEntry.model_validate(entry._mapping) for entry in entries),  # noqa: SLF001  # SQLAlchemy's own
        card=ModelCard.model_validate(content or {}),
        signature=Signature.model_validate(row.signature),
        behaviour=row.behaviour,
        lineage=Lineage.model_validate(row.lineage),
        model_id=row.model_id,
        format=ArtifactFormat(row.format),
    )
