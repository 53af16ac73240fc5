"""The gate: what must hold before a version is registered, whichever client brings it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from model_platform_core.cards import ModelCard, Tier, missing_fields
from model_platform_core.errors import CardIncompleteError, FieldProblem, FormatRefusedError, InvalidModelError
from model_platform_core.models import ArtifactFormat, format_allowed
from model_platform_core.zones import Zone


@dataclass(frozen=True)
class Contents:
    """What a look into the files shows: the format, code inside of pickles, types that a skops file wants trusted."""

    format: ArtifactFormat
    code_by_value: bool = False
    unreviewed_types: tuple[str, ...] = ()


CODE_BY_VALUE, UNREVIEWED_TYPES = "code_by_value", "unreviewed_types"
"""Where a version's `behaviour` keeps what the gate found."""


_ONLY_PUBLISHED = frozenset({"data", "code", "metrics"})


def contents_of(found: ArtifactFormat, behaviour: Mapping[str, Any]) -> Contents:
    """What is known of a version that was looked into."""
    return Contents(found, bool(behaviour.get(CODE_BY_VALUE)), tuple(behaviour.get(UNREVIEWED_TYPES) or ()))


def check_registration(
    zone: Zone,
    name: str,
    card: ModelCard,
    paths: Iterable[str],
    *,
    contents: Contents | None = None,
    done: str = "published",
) -> None:
    """Nothing, or one refusal that names everything that is missing or not allowed.

    Parameters
    ----------
    paths
        The files of the version, below its folder.
    contents
        What a look into the files has shown; without one the format is left to whoever can look.
    done
        What is refused, as a participle.

    Raises
    ------
    InvalidModelError
        If there is no `MLmodel` file.
    CardIncompleteError
        If mandatory fields are missing, or the tier is below the zone's; a refused format is told with them.
    FormatRefusedError
        If nothing but the format is refused.
    """
    paths = list(paths)
    if "MLmodel" not in paths:
        raise InvalidModelError(f"{name} has no MLmodel file; save it with its flavour's save_model or log_model.")
    problems: list[FieldProblem] = []
    if card.tier < zone.spec.minimum_tier:
        least = int(zone.spec.minimum_tier)
        problems.append(
            FieldProblem(field="tier", problem=f"zone {zone.name} takes tier {least} and above", add=f"--tier {least}")
        )
        card = card.model_copy(update={"tier": zone.spec.minimum_tier})
    missing = missing_fields(card, zone.spec.mandatory_fields)
    if done != "published":
        missing = [
            one.model_copy(update={"add": f"in a new version: {one.add}"}) if one.field in _ONLY_PUBLISHED else one
            for one in missing
        ]
    problems += missing
    refused_format = _format_problem(contents, card.tier) if contents else None
    problems += [refused_format] if refused_format else []
    if not problems:
        return
    only_format = refused_format and len(problems) == 1
    error = FormatRefusedError if only_format else CardIncompleteError
    count = len(problems)
    what = (
        "its format is refused" if only_format else f"{count} mandatory field{'s are' if count > 1 else ' is'} missing"
    )
    raise error(f"{name} was not {done}: {what} (tier {int(card.tier)}, zone {zone.name})", fields=problems)


def _format_problem(contents: Contents, tier: Tier) -> FieldProblem | None:
    found = contents.format
    if not format_allowed(found, tier):
        what = "runs code when it is loaded" if found is ArtifactFormat.PICKLE else "is a format that nobody here knows"
        return FieldProblem(
            field="format",
            problem=f"{found} {what}; tier {int(tier)} takes skops, ONNX, safetensors or the library's own file",
            add="the version's card says what its model would need",
        )
    if contents.unreviewed_types and tier >= Tier.MATERIAL:
        return FieldProblem(
            field="format",
            problem=f"its skops file trusts {', '.join(contents.unreviewed_types)}, which nobody reviewed",
            add="publish with types of the reviewed list alone, or in another format",
        )
    if contents.code_by_value and tier > Tier.SANDBOX:
        return FieldProblem(
            field="format",
            problem=f"functions or classes are stored inside the pickle; tier {int(tier)} takes code as files to read",
            add="put them into a .py file beside the notebook and import them",
        )
    return None
