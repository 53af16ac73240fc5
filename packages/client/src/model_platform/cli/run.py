"""What each command of the table of verbs does."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from model_platform import actions, deploying
from model_platform.cli.connection import card_fields, client
from model_platform.cli.output import show, show_json
from model_platform.cli.rows import read_rows
from model_platform.endpoint import act, status_of
from model_platform.grammar import CARD_FIELDS
from model_platform.log_lines import line_text
from model_platform.timing.measure import time_both


def publish(path: str, name: str | None, alias: Sequence[str], as_json: bool, **given: Any) -> None:
    """`mp publish`."""
    elsewhere: Any = importlib.import_module("model_platform.capture.elsewhere")
    order = importlib.import_module("model_platform.capture.publish").Order(
        model=path,
        name=name or elsewhere.name_of(path) or "",
        data=given["data"],
        data_name=Path(given["data"] or "data").name,
        example=read_rows(given["example"]) if given["example"] else None,
        metrics=read_rows(given["metrics"])[0] if given["metrics"] else None,
        card=given["card"],
        fields=card_fields(given, CARD_FIELDS),
        message=given["message"] or "",
        aliases=alias,
        new=given["new"],
        new_name=given["new_name"],
    )
    published = elsewhere.publish_anything(client(), order)
    show(published.card(), as_json=as_json)


def deploy(version: str, no_wait: bool, as_json: bool, **given: Any) -> None:
    """`mp deploy`."""
    order = deploying.DeployOrder(version=version, wait=not no_wait, **given)
    show(deploying.deploy(client(), order).card(), as_json=as_json)


def predict(name: str, file: str, as_json: bool) -> None:  # noqa: ARG001 - the answers are JSON anyway
    """`mp predict`."""
    show_json(actions.answers(client(), name, read_rows(file)))


def time(name: str, file: str, as_json: bool) -> None:
    """`mp time`."""
    show(time_both(client(), name, read_rows(file)).card(), as_json=as_json)


def rollback(name: str, as_json: bool) -> None:
    """`mp rollback`."""
    _act("rollback", name, as_json)


def stop(name: str, as_json: bool) -> None:
    """`mp stop`."""
    _act("stop", name, as_json)


def start(name: str, as_json: bool) -> None:
    """`mp start`."""
    _act("start", name, as_json)


def _act(action: str, name: str, as_json: bool) -> None:
    show(act(client(), client().endpoint_ref(name), action).card(), as_json=as_json)


def delete(name: str, yes: bool, undo: bool, as_json: bool) -> None:
    """`mp delete`."""
    if actions.names_version(name) or undo:
        show(actions.delete_version(client(), name, undo=undo).card(), as_json=as_json)
        return
    if not yes:
        click.confirm(f"This ends {name} for everybody who calls it. Go on?", abort=True, err=True)
    show(actions.delete(client(), client().endpoint_ref(name)).card(), as_json=as_json)


def status(name: str | None, as_json: bool) -> None:
    """`mp status`."""
    found = actions.status(client()) if name is None else status_of(client(), client().endpoint_ref(name))
    show(found.card(), as_json=as_json)


def logs(name: str, lines: int | None, follow: bool, as_json: bool) -> None:
    """`mp logs`."""
    for line in client().logs(client().endpoint_ref(name), 100 if lines is None else lines, follow=follow):
        click.echo(line.model_dump_json() if as_json else line_text(line))


def card(version: str, as_json: bool, **given: Any) -> None:
    """`mp card`."""
    show(actions.card(client(), version, card_fields(given, CARD_FIELDS)).card(), as_json=as_json)


def models(query: str | None, as_json: bool) -> None:
    """`mp models`."""
    show(actions.models(client(), query).card(), as_json=as_json)


def env(action: str | None, as_json: bool) -> None:
    """`mp env`."""
    show(actions.environments(client(), action).card(), as_json=as_json)
