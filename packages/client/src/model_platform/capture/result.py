"""What publish answers: the version, and the card that tells it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from model_platform.capture.origin import Origin
from model_platform.capture.subject import Subject
from model_platform.capture.trial import Trial
from model_platform.display import words
from model_platform.display.card import Card, Inline, code, quiet
from model_platform.display.shown import Shown
from model_platform_core.cards import Tier, mandatory_fields
from model_platform_core.models import ModelVersion

_TIERS = {Tier.LOW: "low", Tier.MATERIAL: "material", Tier.HIGH: "high"}
_FEW_CLASSES = 3


@dataclass(frozen=True)
class Found:
    """What publish found out beside the version itself; each is None where there was nothing to find."""

    subject: Subject | None = None
    trial: Trial | None = None
    origin: Origin = field(default_factory=Origin)
    sample_of: str = ""
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
    ) -> None:
        self._version = version
        self._found = found
        self._carried = carried
        self._last = last
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

    def __repr__(self) -> str:
        return f"<Published {self.ref}>"

    def card(self) -> Card:
        """The card after publish."""
        version, found = self._version, self._found
        rows: list[tuple[str, Inline]] = [
            ("for", self._for()),
            ("model", _model(version, found)),
            ("answers", _answers(found)),
            ("data", _data(version)),
            ("code", _code(found.origin)),
            ("parity", _parity(found)),
            ("tier", _tier(version, found)),
        ]
        return Card(
            kind="published",
            title=version.name,
            subtitle=f"version {version.version}",
            aside=f"published in {words.seconds(self.seconds)}",
            rows=tuple((label, value) for label, value in rows if value),
            next=(code(f"%mp_deploy {version.name}"),),
            data=version.model_dump(mode="json", exclude={"files"}) | {"seconds": round(self.seconds, 3)},
        )

    def _for(self) -> Inline:
        card = self._version.card
        said = ": ".join(text for text in (card.for_whom, card.purpose) if text)
        if said and self._last and {"purpose", "for_whom"} & self._carried:
            return [f"{said} ", quiet(f"(as in version {self._last.version})")]
        return said


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


def _outputs(version: ModelVersion, found: Found) -> str:
    answers = found.trial.answers if found.trial else None
    if answers is None or found.subject is None:
        return words.plural(len(version.signature.outputs or ()), "output")
    if len(answers.names) > 1:
        if found.subject.classes():
            return f"probability of {len(answers.names)} classes"
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
    if found.trial is None or found.subject is None:
        return ""
    shown = json.dumps(found.trial.answers.records[0], ensure_ascii=False)
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
        parts += ["\n"] if parts else []
        parts += [code(one.name), f"  {size}  ", quiet(words.digest(one.sha256))]
    return parts


def _code(origin: Origin) -> Inline:
    cells = f"{words.plural(origin.executed_cells, 'cell')} as run" if origin.executed_cells else ""
    where = ", ".join(part for part in (origin.path, cells) if part)
    if not origin.commit:
        return where
    changed = quiet(", with changes not committed") if origin.dirty else ""
    return [f"{where} · git ", code(origin.commit[:7]), changed]


def _parity(found: Found) -> Inline:
    if found.trial is None:
        return [quiet("nothing to compare later: add --example X_test[:20]")]
    rows = words.plural(len(found.trial.sample), f"{found.sample_of} row".strip())
    if not found.trial.deterministic:
        return f"{rows} kept; the model is not deterministic, so types and shapes are compared"
    return f"{rows} and their answers kept"


def _tier(version: ModelVersion, found: Found) -> Inline:
    tier = version.card.tier
    if tier is Tier.SANDBOX and len(found.demanded) <= len(mandatory_fields(tier)):
        return "0 (this zone asks for nothing more)"
    count = len(found.demanded or mandatory_fields(tier))
    word = f" ({_TIERS[tier]})" if tier in _TIERS else ""
    return f"{int(tier)}{word} · card complete, {count} of {count} fields"
