"""Zones: where things run and who may touch them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from pydantic import Field, field_validator

from model_platform_core.cards import Tier
from model_platform_core.errors import ExceedsQuotaError, FieldProblem
from model_platform_core.meanings import MEANINGS
from model_platform_core.values import Identifier, Value


class ZoneKind(StrEnum):
    """A development zone is one person's and limited; a deployment zone is one project's and guaranteed."""

    DEVELOPMENT = "development"
    DEPLOYMENT = "deployment"


class Amount(Value):
    """Resources: CPU in cores, memory in bytes, whole GPUs, endpoints by count."""

    cpu: float = Field(0.0, ge=0)
    memory: int = Field(0, ge=0)
    gpu: int = Field(0, ge=0)
    endpoints: int = Field(0, ge=0)

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            cpu=self.cpu + other.cpu,
            memory=self.memory + other.memory,
            gpu=self.gpu + other.gpu,
            endpoints=self.endpoints + other.endpoints,
        )


class ZoneSpec(Value):
    """What a zone is meant to be: its limits, and what it demands of a card beyond the tier.

    With `requires_parity` nothing is deployed that is not proven to answer as in the notebook, for whatever reason.
    """

    kind: ZoneKind = ZoneKind.DEVELOPMENT
    owner: Identifier
    limits: Amount
    minimum_tier: Tier = Tier.SANDBOX
    mandatory_fields: tuple[str, ...] = ()
    requires_parity: bool = False

    @field_validator("mandatory_fields")
    @classmethod
    def _are_fields_of_a_card(cls, fields: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [field for field in fields if field not in MEANINGS]:
            raise ValueError(f"a card has no field {', '.join(unknown)} that a zone may demand")
        return fields


class Zone(Value):
    """A zone as it stands."""

    name: str
    spec: ZoneSpec


_WORDS = {"cpu": "CPU cores", "memory": "GiB of memory", "gpu": "GPUs", "endpoints": "endpoints"}


def _shown(field: str, amount: float) -> str:
    value = amount / (1 << 30) if field == "memory" else amount
    return f"{value:.2f}".rstrip("0").rstrip(".")


def check_fits(zone: Zone, used: Amount, needed: Amount, candidates: Sequence[str] = ()) -> None:
    """Nothing if `needed` fits beside `used` into the zone's limits.

    Parameters
    ----------
    candidates
        Endpoints that could be stopped to make room, most idle first.

    Raises
    ------
    ExceedsQuotaError
        Says what is needed, what is left, and what to stop.
    """
    total, problems = used + needed, []
    for field, words in _WORDS.items():
        limit, have = getattr(zone.spec.limits, field), getattr(used, field)
        if getattr(total, field) > limit + 1e-9:
            need, left = _shown(field, getattr(needed, field)), _shown(field, max(limit - have, 0))
            problems.append(
                FieldProblem(field=field, problem=f"needs {need} {words}, {left} of {_shown(field, limit)} left")
            )
    if problems:
        first = candidates[0] if candidates else None
        raise ExceedsQuotaError(
            f"Zone {zone.name} has no room: " + "; ".join(problem.problem for problem in problems) + ".",
            hint=f"%mp_stop {first}" if first else f"ask {zone.spec.owner} to resize {zone.name}",
            fields=problems,
        )
