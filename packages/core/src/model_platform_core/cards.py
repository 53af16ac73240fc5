"""The model card: for whom, how, what, which data, limits, risk tier.

The content names no zone, registry, name or version, so that its digest, and approvals bound to it, survive a release
to another zone. Which fields are mandatory follows from the tier and from the zone.

Sources: Mitchell et al. 2018, arXiv 1810.03993 (the idea); the tiers follow the practice of model risk management
(materiality) and the EU AI Act (tier 3).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from enum import IntEnum, StrEnum
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from model_platform_core.errors import FieldProblem, InvalidCardError
from model_platform_core.meanings import MEANINGS
from model_platform_core.values import Identifier, Sha256, Value, digest_of

Text = Annotated[str, Field(min_length=10, max_length=4000)]


class Tier(IntEnum):
    """How much depends on the model; decides what is mandatory."""

    SANDBOX = 0
    LOW = 1
    MATERIAL = 2
    HIGH = 3


class PersonalData(StrEnum):
    """Whether the model learnt from data about people."""

    NONE = "none"
    PSEUDONYMISED = "pseudonymised"
    PERSONAL = "personal"
    SPECIAL = "special-category"


class DataReference(Value):
    """One data set by its full content digest; `rows` and `columns` are counts. Never the data itself.

    Without `sha256` nobody computed it, or it was still computed when the card was written: then the lineage has it.
    """

    name: Identifier
    sha256: Sha256 | None = None
    rows: int | None = Field(None, ge=0)
    columns: int | None = Field(None, ge=0)
    role: str = "train"
    uri: str | None = None
    legal_basis: Text | None = None


class CodeReference(Value):
    """The code as it ran: a notebook or file with its digest, and the commit where there is one."""

    path: Identifier
    sha256: Sha256 | None = None
    repository: str | None = None
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")] | None = None
    dirty: bool = False


class Training(Value):
    """How the model was made, in words, and what is needed to make it again."""

    how: Text
    parameters: dict[str, str | int | float | bool | None] = {}
    seed: int | None = None
    executed_notebook_sha256: Sha256 | None = None
    environment_lock_sha256: Sha256 | None = None


class Metric(Value):
    """One figure of quality, and on which data it was found."""

    name: Identifier
    value: float
    dataset: str | None = None
    slice: str | None = None
    threshold: float | None = None
    higher_is_better: bool = True


class Resources(Value):
    """What one replica needs: CPU in cores, memory in bytes, whole GPUs."""

    cpu: float = Field(0.25, gt=0)
    memory: int = Field(512 << 20, gt=0)
    gpu: int = Field(0, ge=0)


class ModelCard(Value):
    """The metadata of a version. Every field is optional here; `missing_fields` says what a tier demands."""

    tier: Tier = Tier.SANDBOX
    owner: Identifier | None = None
    team: Identifier | None = None
    purpose: Text | None = None
    for_whom: Identifier | None = None
    pii: PersonalData | None = None
    limitations: Text | None = None
    licence: Identifier | None = None
    data: tuple[DataReference, ...] = ()
    code: CodeReference | None = None
    training: Training | None = None
    metrics: tuple[Metric, ...] = ()
    resources: Resources | None = None
    review_by: dt.date | None = None
    intended_use: Text | None = None
    out_of_scope: Text | None = None
    backup_owner: Identifier | None = None
    materiality: Text | None = None
    monitoring: Text | None = None
    rollback_plan: Text | None = None
    ai_act_role: Identifier | None = None
    human_oversight: Text | None = None
    risks_and_mitigations: Text | None = None
    fairness_slices: tuple[Identifier, ...] = ()
    cybersecurity: Text | None = None
    impact_assessment: Identifier | None = None
    notes: str | None = None

    @model_validator(mode="after")
    def _owners_differ(self) -> ModelCard:
        if self.backup_owner and self.backup_owner == self.owner:
            raise ValueError("backup_owner must be somebody else than owner")
        return self

    @property
    def may_be_personal(self) -> bool:
        """Whether nothing observed may be stored or shown: unless somebody said that there is no personal data."""
        return self.pii is not PersonalData.NONE

    def digest(self) -> str:
        """`sha256:…` of the content; equal cards have equal digests on every machine."""
        return digest_of(self.model_dump(mode="json", exclude_defaults=True))


_BY_TIER: Mapping[Tier, tuple[str, ...]] = {
    Tier.SANDBOX: ("owner",),
    Tier.LOW: (
        "purpose",
        "for_whom",
        "limitations",
        "licence",
        "data",
        "code",
        "training",
        "metrics",
        "resources",
        "review_by",
    ),
    Tier.MATERIAL: ("intended_use", "out_of_scope", "backup_owner", "materiality", "monitoring", "rollback_plan"),
    Tier.HIGH: (
        "ai_act_role",
        "human_oversight",
        "risks_and_mitigations",
        "fairness_slices",
        "cybersecurity",
        "impact_assessment",
    ),
}

OF_A_VERSION = frozenset({"data", "code", "training", "metrics", "review_by"})
"""What describes a version is found out anew each time; every other field describes the model, and carries over."""

REVIEW_MONTHS: Mapping[Tier, int | None] = {Tier.SANDBOX: None, Tier.LOW: 24, Tier.MATERIAL: 12, Tier.HIGH: 6}
"""A model is reviewed at least this often."""


def mandatory_fields(tier: Tier, also: Iterable[str] = ()) -> tuple[str, ...]:
    """The fields that a card of this tier must fill, and those that its zone demands beyond."""
    of_tier = [field for at, fields in _BY_TIER.items() if at <= tier for field in fields]
    return tuple(dict.fromkeys([*of_tier, *also]))


def option_for(field: str) -> str:
    """How a person adds the field on the line that publishes."""
    shapes = {"data": "--data X_train", "metrics": "--metrics scores", "code": "publish from a saved notebook or file"}
    return shapes.get(field, f'--{field.replace("_", "-")} "…"')


def missing_fields(card: ModelCard, also: Iterable[str] = ()) -> list[FieldProblem]:
    """All that the card lacks for its tier (and its zone's `also`), at once; empty if it is complete."""
    problems = [
        FieldProblem(field=field, problem=MEANINGS.get(field, field), add=option_for(field))
        for field in mandatory_fields(card.tier, also)
        if not getattr(card, field)
    ]
    if card.tier >= Tier.MATERIAL and card.code and (card.code.dirty or not card.code.commit):
        problems.append(
            FieldProblem(field="code", problem="the code must be committed", add="git commit, then publish")
        )
    if card.tier >= Tier.MATERIAL and any(reference.sha256 is None for reference in card.data):
        problems.append(
            FieldProblem(
                field="data", problem="each data set needs its fingerprint", add="publish without interruption"
            )
        )
    if card.pii in {PersonalData.PERSONAL, PersonalData.SPECIAL}:
        if card.tier < Tier.HIGH:
            problems.append(FieldProblem(field="tier", problem="personal data means tier 3", add="--tier 3"))
        if any(reference.legal_basis is None for reference in card.data):
            problems.append(
                FieldProblem(
                    field="data",
                    problem="each data set needs its legal basis",
                    add="legal_basis: … to each, in the card's YAML file",
                )
            )
    return problems


def parse_card(content: object) -> ModelCard:
    """Read a card from what a person or a client wrote.

    Raises
    ------
    InvalidCardError
        Names every field that is unknown or has a wrong type or form, all at once.
    """
    if not isinstance(content, Mapping):
        raise InvalidCardError(f"A card maps fields to values; this is {type(content).__name__}.")
    try:
        return ModelCard.model_validate(dict(content))
    except ValidationError as error:
        fields = [
            FieldProblem(field=".".join(str(part) for part in found["loc"]) or "card", problem=_what_is_wrong(found))
            for found in error.errors(include_url=False, include_input=False)
        ]
        names = ", ".join(dict.fromkeys(field.field for field in fields))
        raise InvalidCardError(f"The card has fields that cannot be read: {names}.", fields=fields) from None


def _what_is_wrong(found: Mapping[str, Any]) -> str:
    """Pydantic's finding in words for people who write cards."""
    if found["type"] == "string_too_short":
        return f"write at least {found['ctx']['min_length']} characters"
    if found["type"].startswith("date"):
        return "write a date as 2027-11-21"
    return str(found["msg"]).replace("Input should be", "it must be")
