"""Publishing a folder that was saved before: an MLmodel file and what lies beside it."""

from __future__ import annotations

import datetime as dt
import json
import platform
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from model_platform.capture.card_fields import ComposedCard, carried_fields, written_fields
from model_platform.capture.earlier import look_back
from model_platform.capture.environment import pinned, record_environment
from model_platform.capture.publish import PARITY_FILE, Order, check_metrics, demanded_fields, register_folder
from model_platform.capture.quiet import import_mlflow, quiet
from model_platform.capture.result import Found, Published
from model_platform.capture.subject import DEFAULT_METHOD, PYFUNC, Subject
from model_platform.capture.table import as_table
from model_platform.capture.trial import try_out
from model_platform.client import Client
from model_platform.display.progress import Progress
from model_platform.display.surface import Surface
from model_platform_core.cards import REVIEW_MONTHS, Tier, parse_card
from model_platform_core.environments import EnvironmentRecord
from model_platform_core.errors import InvalidModelError
from model_platform_core.lineage import Lineage
from model_platform_core.refs import ModelRef
from model_platform_core.values import canonical_json
from model_platform_core.wire import RegisterVersion


def publish_folder(client: Client, folder: Path, order: Order, where: str, surface: Surface | None = None) -> Published:
    """Publish a saved MLflow model as it lies there. Nothing is loaded, unless rows to compare are given.

    Parameters
    ----------
    order
        Its model is not looked at; of its rows, `example` is asked for the parity proof.
    where
        Where the folder is from, for the card: a path, or a URI.

    Raises
    ------
    InvalidModelError
        If the folder holds no readable MLmodel file.
    CardIncompleteError, FormatRefusedError
        The gate.
    """
    began = time.monotonic()
    described = _read(folder)
    written = written_fields(order.card, order.fields)
    metrics = check_metrics(order.metrics)
    ref = ModelRef.parse(order.name)
    ref = ref if ref.zone else ref.within(client.zone)
    earlier = look_back(client, ref, new_name=order.new_name)
    zone, last = earlier.zone, earlier.last
    with (
        Progress(f"{ref.name}: publishing", surface) as progress,
        tempfile.TemporaryDirectory(prefix="mp-") as temporary,
    ):
        before = carried_fields(last)
        guesses: dict[str, Any] = {
            "owner": client.me.actor,
            "training": {"how": f"Trained elsewhere; an MLflow model from {where}."[:4000]}
            | {"parameters": dict(order.run_parameters)},
            "metrics": [{"name": name, "value": value} for name, value in metrics.items()],
        }
        tier = Tier(int(written.get("tier", before.get("tier", 0))))
        if months := REVIEW_MONTHS[tier]:
            guesses["review_by"] = (dt.datetime.now(dt.UTC).date() + dt.timedelta(days=30 * months)).isoformat()
        composed = ComposedCard(parse_card(guesses | before | written), frozenset(set(before) - set(written)))
        if order.example is not None:
            with progress.step("model"):
                folder = _with_sample(folder, order.example, Path(temporary) / "model")
        request = RegisterVersion(
            upload="-",
            card=composed.card.model_dump(mode="json", exclude_defaults=True),
            lineage=Lineage(
                environment=_environment(folder, described),
                run=order.run,
                parameters={name: json.dumps(value) for name, value in order.run_parameters.items()},
            ),
            metrics=metrics,
            description=order.message,
            aliases=list(order.aliases),
            new=order.new,
        )
        version = register_folder(client, ref, earlier, composed, folder, request, progress)
        found = Found(demanded=demanded_fields(zone, composed))
        published = Published(version, found, composed.carried, last, time.monotonic() - began)
        progress.end_with(published)
    return published


def _with_sample(folder: Path, example: Any, target: Path) -> Path:
    """A copy of the folder with a parity sample: what the model, loaded here as MLflow loads it, answers to rows."""
    try:
        with quiet():
            model = import_mlflow(PYFUNC).load_model(str(folder))
    except Exception as error:
        first = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        raise InvalidModelError(
            f"The model cannot be loaded here to answer the example: {first}", hint="publish it without --example"
        ) from error
    trial = try_out(Subject(model, DEFAULT_METHOD, PYFUNC, "MLflow model"), as_table(example, "--example"))
    shutil.copytree(folder, target)
    path = target / PARITY_FILE
    path.parent.mkdir(exist_ok=True)
    path.write_text(canonical_json(trial.parity_sample().model_dump(mode="json")), encoding="utf-8")
    return target


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
