"""Publish: look at everything, try the model out, save it, check the card, upload, register. All or nothing."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import math
import os
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model_platform.capture.answers import PREDICTION
from model_platform.capture.blocks import arrow_table, is_arrow
from model_platform.capture.card_fields import ComposedCard, carried_fields, compose_card, parameters_of, written_fields
from model_platform.capture.cells import seeds_in
from model_platform.capture.completing import complete_later
from model_platform.capture.completing_lock import complete_lock_later, is_worth_completing
from model_platform.capture.domain import describe_columns
from model_platform.capture.dtypes import describe_rows
from model_platform.capture.earlier import Earlier, asks_for_review, differs_from_last, is_unchanged, look_back
from model_platform.capture.environment import record_environment
from model_platform.capture.fingerprint import PATIENCE_SECONDS, Fingerprinting, fingerprinting
from model_platform.capture.kept import Kept, RowsFrom, what_to_keep
from model_platform.capture.origin import Origin, find_origin
from model_platform.capture.result import Found, Published
from model_platform.capture.saving import needed_distributions, save
from model_platform.capture.signature import infer_signature
from model_platform.capture.subject import Subject, examine
from model_platform.capture.table import Form, Table, as_called, as_table
from model_platform.capture.travelling import TravellingCode, travelling_code
from model_platform.capture.trial import Trial, try_out
from model_platform.capture.upload import list_files, upload
from model_platform.capture.watching import watching_imports
from model_platform.client import Client
from model_platform.display.progress import Progress
from model_platform.display.surface import Surface
from model_platform_core.cards import Tier, mandatory_fields, parse_card
from model_platform_core.errors import (
    InvalidInputError,
    RefusedError,
)
from model_platform_core.gate import check_registration
from model_platform_core.lineage import DataFingerprint, Lineage, MlflowRun
from model_platform_core.models import ModelVersion
from model_platform_core.refs import ModelRef, VersionRef
from model_platform_core.values import canonical_json
from model_platform_core.wire import RegisterVersion
from model_platform_core.zones import Zone

PARITY_FILE = "model_platform/parity.json"
METADATA_SCHEMA = 1


@dataclass(frozen=True)
class Order:
    """What a person asks for. `data_name` is what the variable is called, `files` are those that the code reads.

    `run` is the MLflow run that belongs to it.
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


def publish(client: Client, order: Order, surface: Surface | None = None) -> Published:
    """Publish a model, or raise with everything that is missing; then nothing is registered.

    Parameters
    ----------
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
    subject = examine(order.model, order.answers)
    written = written_fields(order.card, order.fields)
    metrics = check_metrics(order.metrics)
    ref = ref if ref.zone else ref.within(client.zone)
    earlier = look_back(client, ref, new_name=order.new_name)
    zone, last = earlier.zone, earlier.last
    with Progress(f"{ref.name}: publishing", surface) as progress:
        with progress.step("model"):
            captured = _Capture.of(order, subject, personal=_may_be_personal(written, last))
            origin = find_origin()
        progress.say(differs_from_last(last, client.me.actor, origin))
        if captured.fingerprinting is not None:
            with progress.step("data"):
                captured.fingerprinting.wait(_patience(written, last), progress.detail)
        fingerprints = captured.fingerprints
        composed = compose_card(
            written,
            subject=subject,
            owner=client.me.actor,
            origin=origin,
            data=fingerprints,
            metrics=metrics,
            run_parameters=order.run_parameters,
            last=last,
            today=dt.datetime.now(dt.UTC).date(),
        )
        captured.code.check_tier(ref.name, composed.card.tier)
        with tempfile.TemporaryDirectory(prefix="model-platform-") as temporary:
            folder = Path(temporary) / "model"
            with progress.step("save"):
                needs = captured.save(folder)
                origin.write(folder)
            lineage = _lineage(captured, fingerprints, origin, needs, folder, order)
            request = RegisterVersion(
                upload="-",
                card=composed.card.model_dump(mode="json", exclude_defaults=True),
                lineage=lineage,
                metrics=dict(metrics),
                description=order.message,
                aliases=list(order.aliases),
                new=order.new or asks_for_review(written, last),
            )
            version = register_folder(client, ref, earlier, composed, folder, request, progress)
            if version is not last:
                _complete_later(client, version, captured, folder)
        found = Found(subject, captured.trial, captured.kept, origin, demanded_fields(zone, composed))
        published = Published(version, found, composed.carried, last, time.monotonic() - began, progress.said)
        progress.end_with(published)
    return published


def _complete_later(client: Client, version: ModelVersion, captured: _Capture, folder: Path) -> None:
    ref, lineage = VersionRef(ModelRef(version.zone, version.name), version.version), version.lineage
    if captured.fingerprinting is not None and any(one.pending for one in lineage.data):
        complete_later(client, ref, captured.fingerprinting)
    if lineage.environment is not None and lineage.environment.pending:
        with contextlib.suppress(OSError):  # no room for a copy: it stays pending
            complete_lock_later(client, ref, folder, lineage.environment)


def register_folder(
    client: Client,
    ref: ModelRef,
    earlier: Earlier,
    composed: ComposedCard,
    folder: Path,
    request: RegisterVersion,
    progress: Progress,
) -> ModelVersion:
    """Gate, upload, register: the part that is the same for an object and for a folder saved before.

    Gives the last version, and uploads nothing, where it is that once more.
    """
    files = list_files(folder)
    try:
        if earlier.zone is not None:  # the server asks again; asking here first saves an upload in vain
            check_registration(earlier.zone, ref.name, composed.card, [file.path for file in files])
        if earlier.last is not None and is_unchanged(folder, files, request, composed, earlier.last):
            for alias in request.aliases:
                client.set_alias(str(ref), alias, earlier.last.version)
            return earlier.last
        with progress.step("upload"):
            upload_id = upload(client, str(ref), folder, files, progress)
        with progress.step("register"):
            return client.register(str(ref), request.model_copy(update={"upload": upload_id}), uuid.uuid4().hex)
    except RefusedError as refusal:
        refusal.hint = refusal.hint or "Nothing was registered. The model is still in memory; run the cell again."
        raise


@dataclass(frozen=True)
class _Capture:
    """What was found out about the model and its data, before anything is written."""

    subject: Subject
    data: Table | None
    trial: Trial | None
    kept: Kept | None
    personal: bool
    fingerprinting: Fingerprinting | None
    code: TravellingCode
    imported: frozenset[str]

    @classmethod
    def of(cls, order: Order, subject: Subject, *, personal: bool) -> _Capture:
        data = None if _is_path(order.data) else _rows(order.data, "--data", subject)
        running = fingerprinting(order.data_name, order.data, data)
        example = _rows(order.example, "--example", subject)
        if data is not None and example is not None:
            _check_same_columns(data, example)
        sample = example if example is not None else data
        with watching_imports() as imported:
            trial = try_out(subject, sample) if sample is not None else None
        origin = RowsFrom.EXAMPLE if example is not None else RowsFrom.NOBODY if personal else RowsFrom.DATA
        return cls(
            subject=subject,
            data=data,
            trial=trial,
            kept=what_to_keep(subject, trial, data, origin) if trial else None,
            personal=personal and data is not None,
            fingerprinting=running,
            code=travelling_code(order.model, order.files),
            imported=frozenset(imported),
        )

    @property
    def fingerprints(self) -> tuple[DataFingerprint, ...]:
        """The data's fingerprint as far as it is known by now."""
        return (self.fingerprinting.result,) if self.fingerprinting else ()

    @property
    def described(self) -> Table | None:
        """The rows that say what a call may hold: all the data, as the model is called, else the example."""
        return as_called(self.data, self.trial.sample) if self.trial else self.data

    def save(self, folder: Path) -> set[str]:
        """Write the model and its parity sample below `folder`; returns the distributions it needs."""
        form = self.trial.sample.form if self.trial else None
        needs = save(
            self.subject,
            folder,
            form=form,
            signature=self._signature(),
            metadata={"model_platform": self._behaviour()},
            distributions=needed_distributions(self.subject, form, self.code.imported | self.imported),
            code=self.code,
        )
        self.code.write_files(folder)
        if self.kept is not None:
            path = folder / PARITY_FILE
            path.parent.mkdir(exist_ok=True)
            path.write_text(canonical_json(self.kept.parity_sample().model_dump(mode="json")), encoding="utf-8")
        return needs

    def _signature(self) -> Any:
        described, trial = self.described, self.trial
        return infer_signature(described, trial.answers, trial.sample) if described is not None and trial else None

    def _behaviour(self) -> dict[str, Any]:
        """What the runner and callers need to know beyond MLflow's own description."""
        trial, described = self.trial, self.described
        known = trial.answers.names if trial else []
        return {
            "schema": METADATA_SCHEMA,
            "answers": self.subject.method,
            "rows_independent": bool(trial and trial.rows_independent),
            "deterministic": trial.deterministic if trial else True,
            "inputs": describe_columns(described, personal=self.personal) if described is not None else {},
            "rows": describe_rows(described, trial.sample) if described is not None and trial else None,
            "output_names": known if known not in ([], [PREDICTION]) else None,
            "classes": self.subject.classes(),
            "example": self.kept.example() if self.kept else None,
            "answer_kind": trial.answers.kind if trial else None,
            "answer_dtypes": trial.answers.dtypes if trial else {},
            "project": self.code.layout(),
            "code": self.code.told(),
        }


def _is_path(value: Any) -> bool:
    """Whether data is named by where it lies: a file or a folder has a fingerprint, and no rows to try."""
    try:
        return isinstance(value, str | os.PathLike) and Path(value).expanduser().exists()
    except (OSError, ValueError):
        return False


def _may_be_personal(written: Mapping[str, Any], last: ModelVersion | None) -> bool:
    """Whether nothing observed may be kept: unless the card says that there is no personal data."""
    pii = written.get("pii", carried_fields(last).get("pii"))
    return parse_card({"pii": pii}).may_be_personal


def _patience(written: Mapping[str, Any], last: ModelVersion | None) -> float | None:
    """How long to wait for a fingerprint, in seconds: from tier 2 on nothing is published without, so to its end."""
    tier = written.get("tier", carried_fields(last).get("tier", Tier.SANDBOX))
    return None if int(tier) >= Tier.MATERIAL else PATIENCE_SECONDS


def _rows(value: Any, what: str, subject: Subject) -> Table | None:
    if value is None:
        return None
    table = as_table(arrow_table(value).to_pandas() if is_arrow(value) else value, what)
    # Only a function can mean to be called with plain records; every library's model means a table by them.
    return Table(Form.FRAME, table.frame()) if table.form is Form.RECORDS and not subject.is_function else table


def _check_same_columns(data: Table, example: Table) -> None:
    if data.form is not Form.FRAME or example.form is not Form.FRAME:
        return
    known, given = [str(name) for name in data.value.columns], [str(name) for name in example.value.columns]
    if set(known) == set(given):
        return
    more, less = sorted(set(given) - set(known)), sorted(set(known) - set(given))
    parts = [f"{', '.join(more)} only in --example"] if more else []
    parts += [f"{', '.join(less)} only in --data"] if less else []
    raise InvalidInputError(
        f"--data and --example have different columns: {'; '.join(parts)}.",
        hint="give both as the model is called: the same columns, without the target",
    )


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


def demanded_fields(zone: Zone | None, composed: ComposedCard) -> tuple[str, ...]:
    """The mandatory fields of the card, by its tier and the zone."""
    return mandatory_fields(composed.card.tier, zone.spec.mandatory_fields if zone else ())


def _seeds(model: Any, origin: Origin) -> dict[str, int]:
    """What was drawn from what: the estimator's own seeds, and those that the code gave to generators."""
    own = {name: value for name, value in parameters_of(model).items() if name.endswith(("random_state", "seed"))}
    return {name: value for name, value in own.items() if type(value) is int} | seeds_in(origin.code)


def _lineage(
    captured: _Capture, data: tuple[DataFingerprint, ...], origin: Origin, needs: set[str], folder: Path, order: Order
) -> Lineage:
    record = record_environment(needs, folder)
    return Lineage(
        notebook=origin.path,
        notebook_sha256=origin.sha256,
        executed_cells=origin.executed_cells,
        git_commit=origin.commit,
        git_dirty=origin.dirty,
        git_repository=origin.repository,
        notes=origin.notes,
        seeds=_seeds(captured.subject.model, origin),
        data=data,
        environment=record.model_copy(update={"pending": is_worth_completing(captured.subject, folder)}),
        parameters={
            name: json.dumps(value)
            for name, value in {**order.run_parameters, **parameters_of(captured.subject.model)}.items()
        },
        run=order.run,
    )
