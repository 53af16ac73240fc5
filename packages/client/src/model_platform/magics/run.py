"""What each magic does with its parsed line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from model_platform import actions, deploying
from model_platform.capture import publish as publishing
from model_platform.capture.elsewhere import name_of, names_elsewhere
from model_platform.client import current
from model_platform.endpoint import act, status_of
from model_platform.grammar import CARD_FIELDS
from model_platform.log_lines import LogText, line_text
from model_platform.magics.namespace import Namespace, evaluate
from model_platform.timing.measure import time_both
from model_platform.widgets.form import publish_or_ask
from model_platform_core.errors import InvalidError

Given = argparse.Namespace


def card_fields(given: Given) -> dict[str, Any]:
    """The card's fields that were given as options."""
    found = {name: getattr(given, name, None) for name in ("tier", *CARD_FIELDS)}
    return {name: value for name, value in found.items() if value is not None}


def _publish(given: Given, names: Namespace) -> Any:
    def value(option: str) -> Any:
        text = getattr(given, option)
        return None if text is None else evaluate(text, names, f"--{option}")

    elsewhere = given.model not in names and names_elsewhere(given.model)
    order = publishing.Order(
        model=given.model if elsewhere else evaluate(given.model, names, "the model"),
        name=given.name or (name_of(given.model) if elsewhere else None) or given.model,
        data=value("data"),
        example=value("example"),
        metrics=value("metrics"),
        card=given.card,
        fields=card_fields(given),
        answers=given.answers,
        message=given.message or "",
        aliases=given.alias or (),
        new=given.new,
        new_name=given.new_name,
        data_name=(given.data or "data")[:200],
        files=getattr(given, "with") or (),
    )
    return publish_or_ask(current(), order)


def _deploy(given: Given, _names: Namespace) -> Any:
    order = deploying.DeployOrder(
        version=given.version,
        name=given.name,
        replicas=given.replicas,
        cpu=given.cpu,
        memory=given.memory,
        access=given.access,
        breaking=given.breaking,
        wait=not given.no_wait,
    )
    return deploying.deploy(current(), order)


def _predict(given: Given, names: Namespace) -> Any:
    return actions.predict(current(), given.name, evaluate(given.rows, names, "the rows"))


def _time(given: Given, names: Namespace) -> Any:
    return time_both(current(), given.name, evaluate(given.rows, names, "the rows"))


def _act(action: str) -> Callable[[Given, Namespace], Any]:
    def run(given: Given, _names: Namespace) -> Any:
        client = current()
        return act(client, client.endpoint_ref(given.name), action)

    return run


def _delete(given: Given, _names: Namespace) -> Any:
    if actions.names_version(given.name) or given.undo:
        return actions.delete_version(current(), given.name, undo=given.undo)
    if not given.yes:
        raise InvalidError(f"This ends {given.name} for everybody who calls it.", hint=f"%mp_delete {given.name} --yes")
    client = current()
    return actions.delete(client, client.endpoint_ref(given.name))


def _status(given: Given, _names: Namespace) -> Any:
    client = current()
    return actions.status(client) if given.name is None else status_of(client, client.endpoint_ref(given.name))


def _logs(given: Given, _names: Namespace) -> Any:
    client = current()
    ref, lines = client.endpoint_ref(given.name), given.lines or 100
    if not given.follow:
        return LogText.read(client, ref, lines)
    try:
        for line in client.logs(ref, lines, follow=True):
            print(line_text(line))  # noqa: T201 - the point of following
    except KeyboardInterrupt:
        pass
    return None


def _card(given: Given, _names: Namespace) -> Any:
    return actions.card(current(), given.version, card_fields(given))


def _models(given: Given, _names: Namespace) -> Any:
    return actions.models(current(), given.query)


def _zone(given: Given, _names: Namespace) -> Any:
    return actions.zone(current(), given.name)


def _env(given: Given, _names: Namespace) -> Any:
    return actions.environments(current(), given.action)


def _token(given: Given, _names: Namespace) -> Any:
    return actions.token(current(), given.endpoint, given.days, given.name or "application")


RUN: Mapping[str, Callable[[Given, Namespace], Any]] = {
    "publish": _publish,
    "deploy": _deploy,
    "predict": _predict,
    "time": _time,
    "rollback": _act("rollback"),
    "stop": _act("stop"),
    "start": _act("start"),
    "delete": _delete,
    "status": _status,
    "logs": _logs,
    "card": _card,
    "models": _models,
    "zone": _zone,
    "token": _token,
    "env": _env,
}
"""By the verb's name."""
