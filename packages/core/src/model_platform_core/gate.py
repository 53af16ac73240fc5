"""The gate: what must hold before a version is registered, whichever client brings it."""

from __future__ import annotations

from collections.abc import Iterable

from model_platform_core.cards import ModelCard, missing_fields
from model_platform_core.errors import CardIncompleteError, FieldProblem, FormatRefusedError, InvalidModelError
from model_platform_core.models import artifact_format, format_allowed
from model_platform_core.zones import Zone


def check_registration(
    zone: Zone, name: str, card: ModelCard, paths: Iterable[str], *, done: str = "published"
) -> None:
    """Nothing, or one refusal that names everything that is missing or not allowed.

    Parameters
    ----------
    paths
        The files of the version, below its folder.
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
    problems += missing_fields(card, zone.spec.mandatory_fields)
    found = artifact_format(paths)
    refused_format = not format_allowed(found, card.tier)
    if refused_format:
        problems.append(
            FieldProblem(
                field="format",
                problem=f"{found} runs code when it is loaded; tier {int(card.tier)} takes skops, ONNX or safetensors",
                add="install skops beside the model, then publish",
            )
        )
    if not problems:
        return
    only_format = refused_format and len(problems) == 1
    error = FormatRefusedError if only_format else CardIncompleteError
    count = len(problems)
    what = (
        "its format is refused" if only_format else f"{count} mandatory field{'s are' if count > 1 else ' is'} missing"
    )
    raise error(f"{name} was not {done}: {what} (tier {int(card.tier)}, zone {zone.name})", fields=problems)
