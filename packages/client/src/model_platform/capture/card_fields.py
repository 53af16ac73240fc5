"""The card of a new version: what can be found out, what the last version said, what the person writes now."""

from __future__ import annotations

import datetime as dt
import difflib
import importlib.metadata
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from model_platform.capture.origin import Origin
from model_platform.capture.subject import Subject
from model_platform_core.cards import OF_A_VERSION, REVIEW_MONTHS, ModelCard, Resources, Tier, parse_card
from model_platform_core.errors import FieldProblem, InvalidCardError
from model_platform_core.lineage import DataFingerprint
from model_platform_core.models import ModelVersion

_MOST_PARAMETERS = 100
_LONGEST_PARAMETER = 200


@dataclass(frozen=True)
class ComposedCard:
    """A card, and which of its fields stand there because the last version had them."""

    card: ModelCard
    carried: frozenset[str] = frozenset()


def written_fields(card: Mapping[str, Any] | str | Path | None, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What a person wrote: a dictionary or a YAML file, and single fields, which win.

    Raises
    ------
    InvalidCardError
        If the file cannot be read, or a field is unknown; the nearest one is named.
    """
    content = _from_file(Path(card)) if isinstance(card, str | Path) else dict(card or {})
    content |= {name: value for name, value in fields.items() if value is not None}
    known = ModelCard.model_fields
    unknown = [name for name in content if name not in known]
    if unknown:
        problems = []
        for name in unknown:
            near = difflib.get_close_matches(str(name), known, 1)
            problem = "is no field of a card" + (f"; did you mean {near[0]}?" if near else "")
            problems.append(FieldProblem(field=str(name), problem=problem))
        raise InvalidCardError(f"The card has unknown fields: {', '.join(map(str, unknown))}.", fields=problems)
    return content


def compose_card(
    written: Mapping[str, Any],
    *,
    how: str,
    owner: str,
    origin: Origin,
    data: tuple[DataFingerprint, ...],
    metrics: Mapping[str, float],
    parameters: Mapping[str, str | int | float | bool | None],
    last: ModelVersion | None,
    today: dt.date,
) -> ComposedCard:
    """Put the card together: guesses, over them the last version's words, over them what is written now.

    Raises
    ------
    InvalidCardError
        Names every field that cannot be read.
    """
    before = carried_fields(last)
    tier = Tier(int(written.get("tier", before.get("tier", Tier.SANDBOX))))
    guesses: dict[str, Any] = {
        "owner": owner,
        "resources": Resources().model_dump(mode="json"),
        "training": _training(how, parameters),
        "data": [one.model_dump(include={"name", "sha256", "rows", "columns"}) for one in data],
        "metrics": [{"name": name, "value": value} for name, value in metrics.items()],
    }
    if origin.path:
        code = {"path": origin.path, "sha256": origin.sha256, "commit": origin.commit, "dirty": bool(origin.dirty)}
        guesses["code"] = code | {"repository": origin.repository}
    if months := REVIEW_MONTHS[tier]:
        guesses["review_by"] = _months_after(today, months).isoformat()
    card = parse_card(guesses | before | _spelt_out(written, guesses))
    found_out = {"tier", "resources"} | ({"owner"} if before.get("owner") == owner else set())
    return ComposedCard(card, frozenset(set(before) - set(written) - found_out))


def _spelt_out(written: Mapping[str, Any], guesses: Mapping[str, Any]) -> dict[str, Any]:
    """What was written in short, in full: a sentence on the training keeps the parameters that were found out."""
    content = dict(written)
    if isinstance(content.get("training"), str):
        content["training"] = {**guesses["training"], "how": content["training"]}
    if isinstance(content.get("fairness_slices"), str):
        content["fairness_slices"] = [part.strip() for part in content["fairness_slices"].split(",")]
    return content


def parameters_of(model: Any) -> dict[str, str | int | float | bool | None]:
    """The plain hyperparameters of an estimator."""
    try:
        found = model.get_params(deep=True)
    except Exception:  # noqa: BLE001 - whatever an object means by get_params
        return {}
    plain: dict[str, str | int | float | bool | None] = {}
    for name, value in sorted(found.items()):
        if isinstance(value, float) and not math.isfinite(value):
            plain[name] = str(value)
        elif (
            value is None
            or isinstance(value, bool | int | float)
            or (isinstance(value, str) and len(value) <= _LONGEST_PARAMETER)
        ):
            plain[name] = value
        if len(plain) == _MOST_PARAMETERS:
            break
    return plain


def _from_file(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidCardError(f"There is no card at {path}; give a YAML file with a field a line.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise InvalidCardError(f"The card {path} cannot be read{line}: it is no YAML.") from None
    if not isinstance(content, dict):
        raise InvalidCardError(f"The card {path} holds no fields; write one a line, as in owner: alice.")
    return content


def carried_fields(last: ModelVersion | None) -> dict[str, Any]:
    """The fields of the last version that describe the model, as far as somebody filled them.

    That there is no personal data is said anew for each version's data: taken for granted, it would lay rows open.
    """
    if last is None:
        return {}
    content = last.card.model_dump(mode="json", exclude_defaults=True)
    if not last.card.may_be_personal:
        content.pop("pii", None)
    return {name: value for name, value in content.items() if name not in OF_A_VERSION}


def how_made(subject: Subject, origin: Origin) -> str:
    """How an object was trained, as far as it tells: its parts, its library, where that was."""
    model = subject.model
    steps = getattr(model, "steps", None)
    kind = subject.kind
    if isinstance(steps, list) and steps:
        kind += " of " + ", ".join(type(step).__name__ for _, step in steps)
    version = _library_version(type(model).__module__.partition(".")[0])
    where = f", made in {origin.path}" if origin.path else ""
    return f"An object of {kind}{version}{where}."


def _training(how: str, parameters: Mapping[str, str | int | float | bool | None]) -> dict[str, Any]:
    seed = next(
        (value for name, value in parameters.items() if name.endswith("random_state") and type(value) is int), None
    )
    return {"how": how[:4000], "parameters": dict(parameters), "seed": seed}


def _library_version(module: str) -> str:
    name = {"sklearn": "scikit-learn"}.get(module, module)
    try:
        return f" ({name} {importlib.metadata.version(name)})"
    except importlib.metadata.PackageNotFoundError:
        return ""


def _months_after(day: dt.date, months: int) -> dt.date:
    years, month = divmod(day.month - 1 + months, 12)
    return dt.date(day.year + years, month + 1, min(day.day, 28))
