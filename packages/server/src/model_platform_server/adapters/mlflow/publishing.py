"""Run, logged model, files, version, card and event of one publish: one transaction, or nothing."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric, Param, RunStatus, RunTag
from mlflow.entities.model_registry import ModelVersionTag
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.dbmodels.models import SqlLoggedModel

from model_platform_core.access import Actor, Scope
from model_platform_core.cards import ModelCard
from model_platform_core.errors import InvalidUploadError, ModelPlatformError, StorageUnavailableError
from model_platform_core.identity import content_digest, same_card
from model_platform_core.models import FileEntry
from model_platform_core.refs import VersionRef
from model_platform_server.adapters.database import tables
from model_platform_server.adapters.database.answers import remember
from model_platform_server.adapters.mlflow import catalogue, evidence, examination, gate, naming
from model_platform_server.adapters.mlflow.environment import ARTIFACT_DESTINATION
from model_platform_server.adapters.mlflow.evidence import Evidence
from model_platform_server.adapters.mlflow.sessions import Access, accessing, one_transaction
from model_platform_server.adapters.mlflow.stores import Stores
from model_platform_server.ports import Registration

_KEY = ("zone", "name", "version")
_PUBLISHES = Access(Scope.MODELS_PUBLISH, writes=True)
_ATTEMPTS = 3
_PARAMETERS_AT_ONCE = 100
_METRICS_AT_ONCE = 1000
_LONGEST_PARAMETER = 6000
_INCOMING = ".incoming-"
_REMAINS_FOR = dt.timedelta(days=1)


def publish(stores: Stores, actor: Actor, registration: Registration) -> VersionRef:
    """Register files that lie in a folder; they stay there, so that whoever is killed here can begin again.

    Called with the actor acting. Raises the gate's refusals, which are events then.
    """
    name, zone = str(registration.model), registration.model.zone or ""
    actor.require(Scope.MODELS_PUBLISH, zone)
    engine = stores.registry.engine
    try:
        with engine.connect() as connection:
            demands = gate.find_zone(connection, zone)
        found = _look_at(registration, name)
        written = registration.card.model_dump(exclude_defaults=True)
        card = gate.check(demands, name, written, found, actor)
    except ModelPlatformError as error:
        stores.registry.record_refusal(name, "an upload", error)
        raise
    experiment = _experiment(stores, name)
    with _on_our_disk(registration.directory, registration.files) as staged:
        return _write(stores, actor, replace(registration, directory=staged), replace(found, card=card), experiment)


def remove_remains(engine: sa.Engine) -> None:
    """Remove files that a publish had put in place when it was killed: no logged model knows of them.

    Remains are at least a day old: another server may just be publishing.
    """
    root = examination.artifact_root()
    if root is None:
        return
    before = time.time() - _REMAINS_FOR.total_seconds()
    with engine.connect() as connection:
        known = set(connection.execute(sa.select(SqlLoggedModel.__table__.c.model_id)).scalars())
    for folder in [*root.glob("*/models/m-*"), *root.glob(f"{_INCOMING}*")]:
        if folder.name not in known and folder.stat().st_mtime < before:
            shutil.rmtree(folder, ignore_errors=True)


def _look_at(registration: Registration, name: str) -> Evidence:
    """What the files show. Their digests were checked as they came; here they are compared with what lies there."""
    announced = {file.path: file.size for file in registration.files}
    if evidence.list_files(registration.directory) != announced:
        raise InvalidUploadError("The files of the upload are not those that were announced; publish again.")
    model = evidence.read_yaml(registration.directory / "MLmodel")
    lineage = registration.lineage
    if lineage.environment is None:
        lineage = lineage.model_copy(update={"environment": evidence.environment_of(model, registration.directory)})
    found = Evidence(
        location="",
        files=registration.files,
        card=registration.card,
        signature=evidence.signature_of(model),
        behaviour=evidence.behaviour_of(model),
        lineage=lineage,
        content_sha256=content_digest(
            registration.files, lambda path: (registration.directory / path).open("rb"), model, lineage.environment
        ),
    )
    return found.scanned(registration.directory, name, model)


def _experiment(stores: Stores, name: str) -> str:
    """The model's experiment, made or restored: in a transaction of its own, so that its id is never given again."""
    for _ in range(_ATTEMPTS):
        try:
            found = stores.tracking.experiment_id(name) or str(stores.tracking.create_experiment(name))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            continue
        if stores.tracking.get_experiment(found).lifecycle_stage != "active":
            stores.tracking.restore_experiment(found)
        return found
    raise StorageUnavailableError(f"The experiment of {name} could not be made; publish again.")


def _write(stores: Stores, actor: Actor, registration: Registration, found: Evidence, experiment: str) -> VersionRef:
    name, engine = str(registration.model), stores.registry.engine
    with accessing(_PUBLISHES), _Placement() as files, one_transaction(engine) as connection:
        # Publishes of one zone follow one another from here to the commit, so that none meets a half-made model.
        zones = tables.zones.c
        connection.execute(sa.select(zones.name).where(zones.name == registration.model.zone).with_for_update())
        if (number := _same_again(connection, registration, found)) is not None:
            for alias in registration.aliases:
                stores.registry.set_registered_model_alias(name, alias, str(number))
            return _remembered(connection, actor, registration, number)
        run_id = _run(stores, actor.name, experiment, registration)
        logged = stores.tracking.create_logged_model(experiment, registration.model.name, run_id)
        stores.tracking.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
        stores.tracking.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
        known = [tables.models.c[column] == value for column, value in naming.split(name).items()]
        if connection.execute(sa.select(tables.models.c.name).where(*known)).first() is None:
            stores.registry.create_registered_model(name)
        found = replace(found, location=logged.artifact_location, model_id=logged.model_id)
        files.put(registration.directory, registration.files, found.location)
        with catalogue.registering(found):
            tags = [ModelVersionTag(key, value) for key, value in registration.tags.items()]
            source = f"models:/{logged.model_id}"
            made = stores.registry.create_model_version(
                name, source, run_id, tags, None, registration.description, None, logged.model_id
            )
            stores.tracking.set_model_versions_tags(made.name, str(made.version), logged.model_id)
            for alias in registration.aliases:
                stores.registry.set_registered_model_alias(name, alias, str(made.version))
        return _remembered(connection, actor, registration, int(made.version))


def _same_again(connection: sa.Connection, registration: Registration, found: Evidence) -> int | None:
    """The number of the last version, if this is that once more."""
    versions, cards = tables.versions.c, tables.cards.c
    last = connection.execute(
        sa.select(versions.version, versions.content_sha256, cards.content)
        .join_from(tables.versions, tables.cards, sa.and_(*(versions[key] == cards[key] for key in _KEY)))
        .where(versions.zone == registration.model.zone, versions.name == registration.model.name)
        .order_by(versions.version.desc(), cards.revision.desc())
        .limit(1)
    ).first()
    if registration.new or last is None or last.content_sha256 != found.content_sha256:
        return None
    return int(last.version) if same_card(found.card, ModelCard.model_validate(last.content)) else None


def _remembered(connection: sa.Connection, actor: Actor, registration: Registration, number: int) -> VersionRef:
    """What the request has made, so that it makes nothing more when it is sent again."""
    if (key := registration.key) is not None:
        subject = f"{registration.model}:{number}"
        remember(connection, actor.name, key.key, key.sha256, subject, dt.datetime.now(dt.UTC))
    return VersionRef(registration.model, number)


def _run(stores: Stores, actor: str, experiment: str, registration: Registration) -> str:
    """A finished run with metrics, parameters and where it came from."""
    lineage, now = registration.lineage, int(time.time() * 1000)
    known = {
        "mlflow.source.name": lineage.notebook,
        "mlflow.source.type": "NOTEBOOK" if lineage.notebook else None,
        "mlflow.source.git.commit": lineage.git_commit,
        "mlflow.source.git.repoURL": lineage.git_repository,
    }
    tags = [RunTag(key, value) for key, value in known.items() if value]
    run = stores.tracking.create_run(experiment, actor, now, tags, registration.model.name)
    run_id = str(run.info.run_id)
    metrics = [Metric(key, value, now, 0) for key, value in registration.metrics.items()]
    parameters = [Param(key, value[:_LONGEST_PARAMETER]) for key, value in lineage.parameters.items()]
    for some in _batches(metrics, _METRICS_AT_ONCE):
        stores.tracking.log_batch(run_id, some, [], [])
    for some in _batches(parameters, _PARAMETERS_AT_ONCE):
        stores.tracking.log_batch(run_id, [], some, [])
    stores.tracking.update_run_info(run_id, RunStatus.FINISHED, now, None)
    return run_id


def _batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


# ---------------------------------------------------------------- files


@contextmanager
def _on_our_disk(directory: Path, files: tuple[FileEntry, ...]) -> Iterator[Path]:
    """The folder itself if it can be renamed into the artifact store, else a copy whose digests were checked."""
    root = examination.artifact_root()
    if root is None:
        yield directory
        return
    root.mkdir(parents=True, exist_ok=True)
    if directory.stat().st_dev == root.stat().st_dev:
        yield directory
        return
    copy = root / f"{_INCOMING}{uuid.uuid4().hex}"
    try:
        shutil.copytree(directory, copy)
        if sorted(evidence.digest_files(copy), key=_path) != sorted(files, key=_path):
            raise InvalidUploadError("The files of the upload changed while they were copied; publish again.")
        yield copy
    except OSError as error:
        raise StorageUnavailableError("The disk of the artifact store has no room, or cannot be written.") from error
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def _path(file: FileEntry) -> str:
    return file.path


class _Placement:
    """The files of a version at their place in the artifact store; gone from there if anything inside is refused."""

    def __init__(self) -> None:
        self._undo = ExitStack()

    def __enter__(self) -> _Placement:
        return self

    def put(self, directory: Path, files: tuple[FileEntry, ...], location: str) -> None:
        """Put the files of a folder at a location of the artifact store; raises StorageUnavailableError."""
        root, prefix = examination.artifact_root(), naming.prefix_of(location)
        try:
            if root is None:
                artifacts = examination.real_artifacts(os.environ[ARTIFACT_DESTINATION])
                self._undo.callback(artifacts.delete_artifacts, prefix)
                artifacts.log_artifacts(str(directory), prefix)
                return
            target = root / prefix
            self._undo.callback(shutil.rmtree, target.parent, ignore_errors=True)
            for file in files:
                place = target / file.path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.hardlink_to(directory / file.path)  # both names mean the same bytes until the upload is dropped
        except OSError as error:
            raise StorageUnavailableError(
                "The disk of the artifact store has no room, or cannot be written."
            ) from error

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is not None:
            self._undo.close()
