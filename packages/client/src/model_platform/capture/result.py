"""What publish answers: the version, and the card that tells it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from model_platform.capture.kept import Kept, RowsFrom
from model_platform.capture.origin import Origin
from model_platform.capture.subject import Subject
from model_platform.capture.trial import Trial
from model_platform.display import words
from model_platform.display.card import Card, Inline, code, quiet
from model_platform.display.shown import Shown
from model_platform_core.cards import Tier, mandatory_fields
from model_platform_core.environments import NOT_ELSEWHERE, Source
from model_platform_core.lineage import DataFingerprint
from model_platform_core.models import ModelVersion

_TIERS = {Tier.LOW: "low", Tier.MATERIAL: "material", Tier.HIGH: "high"}
_FEW_CLASSES = 3
TRAINED_ELSEWHERE = "Trained elsewhere"
_MANY = 8
_SAID_ABOVE = frozenset({"purpose", "for_whom"})
_NOTHING_NEW = "Object, environment and card are the same: nothing was registered. --new makes a version all the same."


@dataclass(frozen=True)
class Found:
    """What publish found out beside the version itself; each is None where there was nothing to find."""

    subject: Subject | None = None
    trial: Trial | None = None
    kept: Kept | None = None
    origin: Origin = field(default_factory=Origin)
    demanded: tuple[str, ...] = ()


class Published(Shown):
    """A version that was published just now."""

    def __init__(
        self,
        version: ModelVersion,
        found: Found,
        carried: frozenset[str],
        last: ModelVersion | None,
        seconds: float,
        said: str = "",
    ) -> None:
        self._version = version
        self._found = found
        self._carried = carried
        self._last = last
        self._said = said
        self.seconds = seconds

    @property
    def name(self) -> str:
        """The model's name."""
        return self._version.name

    @property
    def zone(self) -> str:
        """The zone it lives in."""
        return self._version.zone

    @property
    def version(self) -> int:
        """The version's number."""
        return self._version.version

    @property
    def ref(self) -> str:
        """The version's full name: `dev-alice.churn:3`."""
        return f"{self._version.full_name}:{self._version.version}"

    @property
    def details(self) -> ModelVersion:
        """Everything the platform knows of the version."""
        return self._version

    @property
    def unchanged(self) -> bool:
        """Whether nothing was registered, because this is the last version once more."""
        return self._last is not None and self._last.version == self.version

    def __repr__(self) -> str:
        return f"<Published {self.ref}>"

    def card(self) -> Card:
        """The card after publish."""
        version, found = self._version, self._found
        rows: list[tuple[str, Inline]] = [
            ("for", self._for()),
            ("card", self._carried_over()),
            ("model", _model(version, found)),
            ("format", _stored(version)),
            ("from", _from(version)),
            ("answers", _answers(found)),
            ("data", _data(version)),
            ("code", _code(found.origin)),
            ("travels", _travels(version)),
            ("needs", _needs(version)),
            ("parity", _parity(found)),
            ("tier", _tier(version, found)),
        ]
        return Card(
            kind="published",
            title=version.name,
            subtitle=f"unchanged: still version {version.version}" if self.unchanged else f"version {version.version}",
            aside=f"{'looked at' if self.unchanged else 'published'} in {words.seconds(self.seconds)}",
            message=tuple(text for text in (self._said, _NOTHING_NEW if self.unchanged else "") if text),
            rows=tuple((label, value) for label, value in rows if value),
            next=(code(f"%mp_deploy {version.name}"),),
            data=version.model_dump(mode="json", exclude={"files"})
            | {"seconds": round(self.seconds, 3), "unchanged": self.unchanged},
        )

    def _for(self) -> Inline:
        card = self._version.card
        said = ": ".join(text for text in (card.for_whom, card.purpose) if text)
        if said and self._last and not self.unchanged and {"purpose", "for_whom"} & self._carried:
            return [f"{said} ", quiet(f"(as in version {self._last.version})")]
        return said

    def _carried_over(self) -> Inline:
        """The other fields that stand on the card because the last version had them."""
        names = [name for name in type(self._version.card).model_fields if name in self._carried - _SAID_ABOVE]
        if not names or self._last is None or self.unchanged:
            return ""
        listed = ", ".join(name.replace("_", " ") for name in names)
        return [f"{listed} ", quiet(f"(as in version {self._last.version})")]


def _model(version: ModelVersion, found: Found) -> Inline:
    kind = found.subject.kind if found.subject else "MLflow model"
    stored = f"{kind} ({words.size(version.size)}, {version.format})"
    inputs = version.signature.inputs
    if inputs is None:
        return stored
    shape = inputs[0].get("tensor-spec", {}).get("shape") if len(inputs) == 1 else None
    count = shape[-1] if shape else len(inputs)
    goes_in = words.plural(count, "input") if count > 0 else "an array"
    return f"{stored} · {goes_in} → {_outputs(version, found)}"


def _stored(version: ModelVersion) -> Inline:
    """Why it has its format, and what tier 2 would need; nothing where nobody knows."""
    storage = version.behaviour.get("storage") or {}
    if not storage.get("because"):
        return ""
    parts: list[Any] = [str(storage.get("format") or version.format), quiet(f" {storage['because']}")]
    if storage.get("tier_2"):
        parts += ["\n", quiet(f"tier 2 would need {storage['tier_2']}")]
    return parts


def _from(version: ModelVersion) -> Inline:
    """Where it was trained, if not here; and the MLflow run that belongs to it."""
    training, run = version.card.training, version.lineage.run
    parts: list[Any] = [training.how] if training and training.how.startswith(TRAINED_ELSEWHERE) else []
    if run is not None:
        parts += ["\n"] if parts else []
        parts += ["MLflow run ", code(run.name or run.run_id), quiet(f" {run.experiment or ''} at {run.tracking_uri}")]
    return parts


def _outputs(version: ModelVersion, found: Found) -> str:
    answers = found.trial.answers if found.trial else None
    if answers is None or found.subject is None:
        return words.plural(len(version.signature.outputs or ()), "output")
    if len(answers.names) > 1:
        if found.subject.classes() and answers.kind == "array":
            what = "probability" if found.subject.method == "predict_proba" else "score"
            return f"{what} of {len(answers.names)} classes"
        return f"{len(answers.names)} outputs: {words.listed(answers.names)}"
    classes = getattr(found.subject.model, "classes_", None)
    if found.subject.method == "predict" and classes is not None and not isinstance(classes, list):
        names = [str(one) for one in classes]
        return f"label {' or '.join(names)}" if len(names) <= _FEW_CLASSES else f"one of {len(names)} labels"
    value = next(iter(answers.records[0].values()), None)
    if isinstance(value, bool):
        return "yes or no"
    return {int: "number", float: "number", str: "text", list: "list"}.get(type(value), "an object")


def _answers(found: Found) -> Inline:
    kept = found.kept.trial if found.kept else None
    if kept is None or found.subject is None:
        return ""
    shown = json.dumps(kept.answers.records[0], ensure_ascii=False)
    shown = shown if len(shown) <= 60 else shown[:59] + "…"
    parts: list[Any] = [code(shown)]
    if found.subject.method == "predict" and hasattr(found.subject.model, "predict_proba"):
        parts += [" " * max(3, 22 - len(shown)), quiet("probabilities: --answers predict_proba")]
    return parts


def _data(version: ModelVersion) -> Inline:
    if not version.lineage.data:
        return [quiet("not named: add --data X_train for its fingerprint")]
    parts: list[Any] = []
    for one in version.lineage.data:
        size = f"{words.number(one.rows)} × {words.number(one.columns)}" if one.rows and one.columns else ""
        size = size or (words.size(one.size) if one.size is not None else "")
        parts += ["\n"] if parts else []
        parts += [code(one.name), f"  {size}  ", quiet(_digest(one))]
    return parts


def _digest(one: DataFingerprint) -> str:
    if one.sha256 is not None:
        return words.digest(one.sha256)
    return "its fingerprint follows" if one.pending else f"not fingerprinted: {one.note or 'nobody knows why'}"


def _code(origin: Origin) -> Inline:
    cells = f"{words.plural(origin.executed_cells, 'cell')} as run" if origin.executed_cells else ""
    where = ", ".join(part for part in (origin.path, cells) if part)
    if not origin.commit:
        return where
    changed = quiet(", with changes not committed") if origin.dirty else ""
    return [f"{where} · git ", code(origin.commit[:7]), changed]


def _travels(version: ModelVersion) -> Inline:
    """Modules and files by their paths in the project, then what comes from the notebook itself."""
    behaviour = version.behaviour
    placed = (behaviour.get("project") or {}).get("files", {})
    sizes = {file.path: file.size for file in version.files}
    modules = [place for stored, place in placed.items() if stored.startswith("code/")]
    files = [
        f"{place} ({words.size(sizes.get(stored, 0))})" for stored, place in placed.items() if place not in modules
    ]
    told = behaviour.get("code") or {}
    parts: list[Any] = [words.listed(names, _MANY) for names in (modules, files) if names]
    if names := told.get("notebook"):
        written = next((file.path for file in version.files if file.path.startswith("code/notebook_")), "")
        parts.append(f"{words.listed(names, _MANY)} of this notebook as {written}")
    shown: list[Any] = [" · ".join(parts)] if parts else []
    if names := told.get("by_value"):
        shown += [" · " if parts else "", f"{words.listed(names, _MANY)} ", quiet("by value: no known source gives it")]
    return shown


def _needs(version: ModelVersion) -> Inline:
    """Python and packages, and of them those that come from no index: where they are, or that nobody else has them."""
    environment = version.lineage.environment
    if environment is None or not environment.packages:
        return ""
    wheels = [name for name, origin in environment.origins.items() if origin.source is Source.WHEEL]
    parts = [f"Python {environment.minor}, {words.plural(len(environment.packages), 'package')}"]
    parts += [f"{words.listed(wheels, _MANY)} as {'wheels' if wheels[1:] else 'a wheel'}"] if wheels else []
    bound = list(environment.only_here)
    parts += [f"{words.listed(bound, _MANY)} {NOT_ELSEWHERE}"] if bound else []
    return " · ".join(parts)


def _parity(found: Found) -> Inline:
    if found.kept is None:
        return [quiet("nothing to compare later: add --example X_test[:20]")]
    trial, rows_from = found.kept.trial, found.kept.rows_from
    if trial is None:
        return [f"not proven: {found.kept.not_proven}   ", quiet("rows that may be kept: --example X_test[:20]")]
    rows = words.plural(len(trial.sample), "row" if rows_from is RowsFrom.DATA else f"{rows_from} row")
    if not trial.deterministic:
        return f"{rows} kept; the model is not deterministic, so types and shapes are compared"
    return f"{rows} and {'their answers' if len(trial.sample) > 1 else 'its answer'} kept"


def _tier(version: ModelVersion, found: Found) -> Inline:
    tier = version.card.tier
    if tier is Tier.SANDBOX and len(found.demanded) <= len(mandatory_fields(tier)):
        return "0 (this zone asks for nothing more)"
    count = len(found.demanded or mandatory_fields(tier))
    word = f" ({_TIERS[tier]})" if tier in _TIERS else ""
    return f"{int(tier)}{word} · card complete, {count} of {count} fields"
