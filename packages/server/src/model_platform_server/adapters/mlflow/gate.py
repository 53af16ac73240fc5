"""The gate as it stands in the registry store: whatever client brings a version, this must hold before it is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from model_platform_core.access import Actor
from model_platform_core.cards import ModelCard, parse_card
from model_platform_core.errors import (
    CardIncompleteError,
    FieldProblem,
    InvalidCardError,
    ModelPlatformError,
    RefusedError,
    ZoneNotFoundError,
)
from model_platform_core.gate import check_registration, contents_of
from model_platform_core.zones import Zone
from model_platform_server.adapters.database import tables
from model_platform_server.adapters.mlflow import evidence
from model_platform_server.adapters.mlflow.evidence import Evidence
from model_platform_server.adapters.mlflow.refusals import Refusal

CARD_TAG = "mp.card."
CARD_FILE = "model_card.yaml"


def find_zone(connection: sa.Connection, name: str) -> Zone:
    """The zone as it stands; raises ZoneNotFoundError."""
    spec = connection.scalar(sa.select(tables.zones.c.spec).where(tables.zones.c.name == name))
    if spec is None:
        raise ZoneNotFoundError(
            f"There is no zone {name}. What stands before the dot of a model's name is its zone, and a model's own name "
            "has no dot.",
            hint="write zone.model, or a name without a dot for your own zone",
        )
    return Zone(name=name, spec=spec)


def written_card(model: Mapping[str, Any], root: Path, tags: Mapping[str, str]) -> dict[str, Any]:
    """A card as a plain client brings it: `model_card.yaml` beside MLmodel, `metadata={"card": …}`, tags `mp.card.…`.

    Later ones win, field by field. Raises InvalidModelError for a file that cannot be read.
    """
    card = {str(field): value for field, value in evidence.read_yaml(root / CARD_FILE).items()}
    inline = evidence.metadata_of(model).get("card")
    card |= {str(field): value for field, value in inline.items()} if isinstance(inline, dict) else {}
    return card | card_in_tags(tags)


def card_in_tags(tags: Mapping[str, str]) -> dict[str, Any]:
    """Card fields from tags: text as it is, everything else as JSON where it is JSON."""
    named = {key.removeprefix(CARD_TAG): value for key, value in tags.items() if key.startswith(CARD_TAG)}
    return {field: value if field in _TEXTS else _parsed(value) for field, value in named.items()}


def _is_text(schema: Mapping[str, Any]) -> bool:
    return any(one.get("type") == "string" and "format" not in one for one in schema.get("anyOf", [schema]))


_TEXTS = frozenset(name for name, schema in ModelCard.model_json_schema()["properties"].items() if _is_text(schema))


def _parsed(value: str) -> Any:
    # JSON, not YAML: a few lines of YAML can stand for billions of values.
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value  # plain text, or the card's own check says what is wrong with it


def check(zone: Zone, name: str, written: Mapping[str, Any], found: Evidence, actor: Actor) -> ModelCard:
    """The card, if card and format are what the zone demands; the actor is the owner if it names none.

    Raises
    ------
    RefusedError, InvalidModelError
        Everything that is missing, not allowed, or cannot be read, at once.
    """
    unreadable: tuple[FieldProblem, ...] = ()
    try:
        card = parse_card(written)
    except InvalidCardError as error:
        unreadable = error.fields
        wrong = {problem.field.partition(".")[0] for problem in unreadable}
        card = parse_card({field: value for field, value in written.items() if field not in wrong})
    if card.owner is None:
        card = card.model_copy(update={"owner": actor.name})
    try:
        paths = [file.path for file in found.files]
        check_registration(zone, name, card, paths, contents=contents_of(found.format, found.behaviour))
    except RefusedError as error:
        if not unreadable:
            raise
        kept = [problem for problem in error.fields if problem.field not in {one.field for one in unreadable}]
        raise CardIncompleteError(error.message, fields=[*unreadable, *kept]) from None
    if unreadable:
        names = ", ".join(problem.field for problem in unreadable)
        raise InvalidCardError(
            f"{name} was not published: the card has fields that cannot be read: {names}", fields=unreadable
        )
    return card


def told_to_client(error: ModelPlatformError, source: str, name: str) -> Refusal:
    """The refusal as the last line that a plain client prints: everything at once, and how to add it."""
    repairable = {*ModelCard.model_fields, "format", "card"}
    if not error.fields or any(problem.field.partition(".")[0] not in repairable for problem in error.fields):
        return Refusal(error)  # no field of the card: something in the files, that no tag repairs
    found = "; ".join(f"{problem.field}: {problem.problem}" for problem in error.fields)
    first = error.fields[0].field
    return Refusal(
        error,
        f"{error.message}. {found}. Add it with log_model(metadata={{'card': {{…}}}}) or as tags; the files are kept, "
        f"so mlflow.register_model({source!r}, {name!r}, tags={{'{CARD_TAG}{first}': …}}) needs no second upload.",
    )
