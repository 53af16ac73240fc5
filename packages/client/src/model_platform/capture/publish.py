"""Publish: look at everything, try the model out, save it, check the card, upload, register. All or nothing."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import math
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from model_platform.capture.card_fields import ComposedCard, carried_fields, compose_card, parameters_of, written_fields
from model_platform.capture.cells import seeds_in
from model_platform.capture.completing import complete_later
from model_platform.capture.completing_lock import complete_lock_later
from model_platform.capture.earlier import Earlier, asks_for_review, differs_from_last, is_unchanged, look_back
from model_platform.capture.fingerprint import PATIENCE_SECONDS, Fingerprinting
from model_platform.capture.kept import Kept
from model_platform.capture.mlmodel import read_mlmodel
from model_platform.capture.origin import FindingOrigin, Origin
from model_platform.capture.remembered import remember
from model_platform.capture.result import TRAINED_ELSEWHERE, Found, Published
from model_platform.capture.subject import Subject
from model_platform.capture.trial import Trial
from model_platform.capture.upload import list_files, upload
from model_platform.client import Client
from model_platform.display.progress import Progress
from model_platform.display.surface import Surface
from model_platform_core.cards import Tier, mandatory_fields, parse_card
from model_platform_core.environments import EnvironmentRecord
from model_platform_core.errors import InvalidInputError, RefusedError
from model_platform_core.flavours import loaded
from model_platform_core.gate import Contents, check_registration
from model_platform_core.lineage import Lineage, MlflowRun
from model_platform_core.models import ModelVersion
from model_platform_core.parity import ParitySample
from model_platform_core.refs import ModelRef, VersionRef
from model_platform_core.values import canonical_json
from model_platform_core.wire import RegisterVersion

PARITY_FILE = "model_platform/parity.json"


@dataclass(frozen=True)
class Order:
    """What a person asks for. `data_name` is what the variable is called, `files` are those that the code reads.

    `run` is the MLflow run that belongs to it; `notes` say what of it could not be found out.
    `new` makes a version though nothing has changed; `new_name` says that the name is meant, close as it is to another.
    """

    model: Any
    name: str
    data: Any = None
    example: Any = None
    metrics: Mapping[str, float] | None = None
    card: Mapping[str, Any] | str | Path | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    answers: str | None = None
    message: str = ""
    aliases: Sequence[str] = ()
    data_name: str = "data"
    new: bool = False
    new_name: bool = False
    files: Sequence[str | Path] = ()
    run: MlflowRun | None = None
    run_parameters: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()


class Capture(Protocol):
    """What was found out about a model, before anything is written; each is None where there was nothing to find."""

    @property
    def subject(self) -> Subject | None:
        """The object that answers."""

    @property
    def trial(self) -> Trial | None:
        """What it answered here."""

    @property
    def kept(self) -> Kept | None:
        """Which rows may be stored."""

    @property
    def fingerprinting(self) -> Fingerprinting | None:
        """The digest of its data."""

    @property
    def said(self) -> str:
        """What the publisher should know, in sentences; or empty."""

    def how(self, origin: Origin) -> str:
        """How it was trained, as far as that can be seen."""

    def check_tier(self, name: str, tier: Tier) -> None:
        """Refuse what the tier does not take."""

    def write(self, folder: Path) -> EnvironmentRecord:
        """Write below `folder`, which does not exist yet, what is to be registered; returns what that needs."""


def publish(
    client: Client, order: Order, capturing: Callable[[bool], Capture], surface: Surface | None = None
) -> Published:
    """Publish a model, or raise with everything that is missing; then nothing is registered.

    Parameters
    ----------
    capturing
        Looks at the model; it is told whether its data may be personal.
    surface
        Where progress is shown; by default where this code runs.

    Raises
    ------
    InvalidModelError, InvalidInputError, InvalidCardError, InvalidNameError
        What was given cannot be published as it is.
    CardIncompleteError, FormatRefusedError
        The gate: every missing field at once.
    """
    began = time.monotonic()
    ref = ModelRef.parse(order.name)
    written = written_fields(order.card, order.fields)
    metrics = check_metrics(order.metrics)
    ref = ref if ref.zone else ref.within(client.zone)
    earlier = look_back(client, ref, new_name=order.new_name)
    zone, last = earlier.zone, earlier.last
    with Progress(f"{ref.name}: publishing", surface) as progress:
        with progress.step("model"):
            finding = FindingOrigin()
            captured = capturing(_may_be_personal(written, last))
            origin = finding.wait()
        how = captured.how(origin)
        elsewhere = how if "training" in written and how.startswith(TRAINED_ELSEWHERE) else ""  # else the card says it
        said = (differs_from_last(last, client.me.actor, origin), captured.said, elsewhere)
        progress.say(" ".join(sentence for sentence in said if sentence))
        if captured.fingerprinting is not None:
            with progress.step("data"):
                captured.fingerprinting.wait(_patience(written, last), progress.detail)
        data = (captured.fingerprinting.result,) if captured.fingerprinting else ()
        model = captured.subject.model if captured.subject else None
        parameters = {**order.run_parameters, **parameters_of(model)}
        composed = compose_card(
            written,
            how=how,
            owner=client.me.actor,
            origin=origin,
            data=data,
            metrics=metrics,
            parameters=parameters,
            last=last,
            today=dt.datetime.now(dt.UTC).date(),
        )
        captured.check_tier(ref.name, composed.card.tier)
        with tempfile.TemporaryDirectory(prefix="model-platform-") as temporary:
            folder = Path(temporary) / "model"
            with progress.step("save"):
                environment = captured.write(folder)
                origin.write(folder)
            lineage = Lineage(
                notebook=origin.path,
                notebook_sha256=origin.sha256,
                executed_cells=origin.executed_cells,
                git_commit=origin.commit,
                git_dirty=origin.dirty,
                git_repository=origin.repository,
                notes=(*origin.notes, *order.notes),
                seeds=_seeds(model, origin),
                data=data,
                environment=environment,
                parameters={name: json.dumps(value) for name, value in parameters.items()},
                run=order.run,
            )
            request = RegisterVersion(
                upload="-",
                card=composed.card.model_dump(mode="json", exclude_defaults=True),
                lineage=lineage,
                metrics=dict(metrics),
                description=order.message,
                aliases=list(order.aliases),
                new=order.new or asks_for_review(written, last),
            )
            version = _register(client, ref, earlier, composed, folder, request, progress)
            remember(version, model)
            if last is None or version.version != last.version:
                _complete_later(client, version, captured, folder)
        demanded = mandatory_fields(composed.card.tier, zone.spec.mandatory_fields if zone else ())
        found = Found(captured.subject, captured.trial, captured.kept, origin, demanded)
        published = Published(version, found, composed.carried, last, time.monotonic() - began, progress.said)
        progress.end_with(published)
    return published


def _complete_later(client: Client, version: ModelVersion, captured: Capture, folder: Path) -> None:
    ref, lineage = VersionRef(ModelRef(version.zone, version.name), version.version), version.lineage
    if captured.fingerprinting is not None and any(one.pending for one in lineage.data):
        complete_later(client, ref, captured.fingerprinting)
    if lineage.environment is not None and lineage.environment.pending:
        with contextlib.suppress(OSError):  # no room for a copy: it stays pending
            complete_lock_later(client, ref, folder, lineage.environment)


def _register(
    client: Client,
    ref: ModelRef,
    earlier: Earlier,
    composed: ComposedCard,
    folder: Path,
    request: RegisterVersion,
    progress: Progress,
) -> ModelVersion:
    """Gate, upload, register. Gives the last version, and uploads nothing, where it is that once more."""
    files = list_files(folder)
    described = read_mlmodel(folder)
    try:
        if earlier.zone is not None:  # the server asks again; asking here first saves an upload in vain
            paths = [file.path for file in files]
            contents = Contents(loaded(described, paths).format)
            check_registration(earlier.zone, ref.name, composed.card, paths, contents=contents)
        if earlier.last is not None and is_unchanged(folder, described, files, request, composed, earlier.last):
            for alias in request.aliases:
                client.set_alias(str(ref), alias, earlier.last.version)
            return client.version(VersionRef(ref, earlier.last.version))
        with progress.step("upload"):
            # A model with code of its own is loaded once more from this folder, and could write into its files.
            ours = request.lineage.environment is not None and not request.lineage.environment.pending
            upload_id = upload(client, str(ref), folder, files, progress, ours=ours)
        with progress.step("register"):
            return client.register(str(ref), request.model_copy(update={"upload": upload_id}), uuid.uuid4().hex)
    except RefusedError as refusal:
        refusal.hint = refusal.hint or "Nothing was registered. The model is still in memory; run the cell again."
        raise


def _may_be_personal(written: Mapping[str, Any], last: ModelVersion | None) -> bool:
    """Whether nothing observed may be kept: unless the card says that there is no personal data."""
    pii = written.get("pii", carried_fields(last).get("pii"))
    return parse_card({"pii": pii}).may_be_personal


def _patience(written: Mapping[str, Any], last: ModelVersion | None) -> float | None:
    """How long to wait for a fingerprint, in seconds: from tier 2 on nothing is published without, so to its end."""
    tier = written.get("tier", carried_fields(last).get("tier", Tier.SANDBOX))
    return None if int(tier) >= Tier.MATERIAL else PATIENCE_SECONDS


def write_parity_sample(folder: Path, sample: ParitySample) -> None:
    """Lay the rows that prove parity into a version's folder."""
    path = folder / PARITY_FILE
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(canonical_json(sample.model_dump(mode="json")), encoding="utf-8")


def check_metrics(metrics: Mapping[str, Any] | None) -> dict[str, float]:
    """Names and figures.

    Raises
    ------
    InvalidInputError
        Names what is no figure.
    """
    if metrics is None:
        return {}
    if hasattr(metrics, "to_dict"):
        metrics = metrics.to_dict()
    if not isinstance(metrics, Mapping):
        raise InvalidInputError(
            f"--metrics is a {type(metrics).__name__}; give names and figures.",
            hint='--metrics scores, with scores = {"auc": 0.91}',
        )
    found = {}
    for name, value in metrics.items():
        try:
            found[str(name)] = float(value)
        except (TypeError, ValueError):
            raise InvalidInputError(f"The metric {name!r} is a {type(value).__name__}, not a figure.") from None
        if not math.isfinite(found[str(name)]):
            raise InvalidInputError(f"The metric {name!r} is {value}; leave it out, or find out why.")
    return found


def _seeds(model: Any, origin: Origin) -> dict[str, int]:
    """What was drawn from what: the estimator's own seeds, and those that the code gave to generators."""
    own = {name: value for name, value in parameters_of(model).items() if name.endswith(("random_state", "seed"))}
    return {name: value for name, value in own.items() if type(value) is int} | seeds_in(origin.code)
