"""Publishing a folder that was saved before: an MLmodel file and what lies beside it."""

from __future__ import annotations

import datetime as dt
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from model_platform.capture.card_fields import ComposedCard, carried_fields, written_fields
from model_platform.capture.earlier import look_back
from model_platform.capture.environment import pinned, record_environment
from model_platform.capture.publish import demanded_fields, register_folder
from model_platform.capture.result import Found, Published
from model_platform.client import Client
from model_platform.display.progress import Progress
from model_platform_core.cards import REVIEW_MONTHS, Tier, parse_card
from model_platform_core.environments import EnvironmentRecord
from model_platform_core.errors import InvalidModelError
from model_platform_core.lineage import Lineage
from model_platform_core.refs import ModelRef
from model_platform_core.wire import RegisterVersion


def publish_folder(
    client: Client,
    folder: Path,
    name: str | None,
    *,
    card: Mapping[str, Any] | str | Path | None = None,
    fields: Mapping[str, Any] | None = None,
    message: str = "",
    aliases: Sequence[str] = (),
    new: bool = False,
    new_name: bool = False,
) -> Published:
    """Publish a saved MLflow model as it lies there; nothing is loaded.

    Raises
    ------
    InvalidModelError
        If the folder holds no readable MLmodel file.
    CardIncompleteError, FormatRefusedError
        The gate.
    """
    began = time.monotonic()
    described = _read(folder)
    written = written_fields(card, fields or {})
    ref = ModelRef.parse(name or folder.resolve().name)
    ref = ref if ref.zone else ref.within(client.zone)
    earlier = look_back(client, ref, new_name=new_name)
    zone, last = earlier.zone, earlier.last
    with Progress(f"{ref.name}: publishing") as progress:
        before = carried_fields(last)
        guesses: dict[str, Any] = {
            "owner": client.me.actor,
            "training": {"how": "Trained elsewhere; saved as an MLflow model."},
        }
        tier = Tier(int(written.get("tier", before.get("tier", 0))))
        if months := REVIEW_MONTHS[tier]:
            guesses["review_by"] = (dt.datetime.now(dt.UTC).date() + dt.timedelta(days=30 * months)).isoformat()
        composed = ComposedCard(parse_card(guesses | before | written), frozenset(set(before) - set(written)))
        request = RegisterVersion(
            upload="-",
            card=composed.card.model_dump(mode="json", exclude_defaults=True),
            lineage=Lineage(environment=_environment(folder, described)),
            description=message,
            aliases=list(aliases),
            new=new,
        )
        version = register_folder(client, ref, earlier, composed, folder, request, progress)
        found = Found(demanded=demanded_fields(zone, composed))
        published = Published(version, found, composed.carried, last, time.monotonic() - began)
        progress.end_with(published)
    return published


def _read(folder: Path) -> dict[str, Any]:
    path = folder / "MLmodel"
    try:
        described = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        described = None
    if not isinstance(described, dict) or not described.get("flavors"):
        raise InvalidModelError(
            f"{folder} holds no MLmodel file that can be read; give a folder that save_model of MLflow wrote.",
            hint="in a notebook or a script: mp.publish(model, …)",
        )
    return described


def _environment(folder: Path, described: Mapping[str, Any]) -> EnvironmentRecord:
    """What the folder says of the environment it was saved in; this one where it has all that the folder demands."""
    python = str(described["flavors"].get("python_function", {}).get("python_version") or platform.python_version())
    try:
        lines = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    demanded = [line.strip() for line in lines if "==" in line and not line.startswith(("#", "-"))]
    names = [line.partition("==")[0] for line in demanded]
    here = set(pinned(names))
    same_python = python.split(".")[:2] == platform.python_version().split(".")[:2]
    if same_python and all(line in here for line in demanded):
        return record_environment(names)
    return EnvironmentRecord(python=python, platform="unknown", packages=tuple(demanded))
