"""The verbs as functions: `import model_platform as mp`, then `mp.publish(…)`, `mp.deploy(…)` and so on."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model_platform import actions, deploying, loading
from model_platform.capture import publish as publishing
from model_platform.capture.result import Published
from model_platform.client import current
from model_platform.endpoint import EndpointHandle, act, status_of
from model_platform.errors import explained, in_python
from model_platform.log_lines import LogText
from model_platform.results import (
    CardView,
    Deleted,
    DeletedVersionView,
    EnvironmentList,
    ModelList,
    NewToken,
    StatusList,
    ZoneView,
)
from model_platform.timing.measure import time_both
from model_platform.timing.timed import Timed
from model_platform.widgets.form import publish_or_ask


@explained(in_python)
def publish(
    model: Any,
    name: str,
    *,
    data: Any = None,
    example: Any = None,
    metrics: Mapping[str, float] | None = None,
    card: Mapping[str, Any] | str | Path | None = None,
    tier: int | None = None,
    purpose: str | None = None,
    for_whom: str | None = None,
    answers: str | None = None,
    message: str = "",
    alias: str | Sequence[str] = (),
    new: bool = False,
    new_name: bool = False,
    with_files: Sequence[str | Path] | str | Path = (),
    **fields: Any,
) -> Published:
    """Make a version of a model: the object, what it accepts and answers, where it came from, and its card.

    Parameters
    ----------
    model
        Any object with the answering method, or a function that takes rows and gives one answer for each; or where one
        lies: a file (`.joblib`, `.onnx`, `.ubj` and others), a folder of MLflow's, `runs:/…`, `models:/…`.
    name
        The model's name, `churn` or `zone.churn`.
    data
        What it learnt from: a DataFrame or an array of shape (rows, columns). Only its fingerprint is kept, and the
        ranges of its columns; without `example`, made-up rows are kept for the parity proof, or
        its first 20 with `pii="none"`.
    example
        What a call looks like: rows that are kept and shown to those who call.
    metrics
        Names and figures of quality.
    card
        Fields of the model card, as a dictionary or a YAML file.
    tier, purpose, for_whom, fields
        Single fields of the card; they win over `card`.
    answers
        The answering method, `predict` by default.
    message
        What is new in this version.
    alias
        Names that shall mean this version from now on.
    new
        Make a version though object, environment and card are those of the last one.
    new_name
        The name is meant, though a known one is one letter away.
    with_files
        Files and folders that the code of the model reads; it finds them under the same paths where it runs.

    Raises
    ------
    ModelPlatformError
        With everything that is missing or wrong at once; then nothing is registered.
    NearNameError
        The name is new, a known one is one letter away, and nobody is there to ask.
    """
    frame = inspect.currentframe()
    names = _names_in(frame.f_back.f_back if frame and frame.f_back else None)
    order = publishing.Order(
        model=model,
        name=name,
        data=data,
        example=example,
        metrics=metrics,
        card=card,
        fields={"tier": tier, "purpose": purpose, "for_whom": for_whom} | fields,
        answers=answers,
        message=message,
        aliases=[alias] if isinstance(alias, str) else list(alias),
        new=new,
        new_name=new_name,
        data_name=names.get(id(data), "data"),
        files=[with_files] if isinstance(with_files, str | Path) else list(with_files),
    )
    return publish_or_ask(current(), order)


@explained(in_python)
def deploy(
    version: str,
    name: str | None = None,
    *,
    replicas: int | None = None,
    memory: int | str | None = None,
    cpu: float | None = None,
    access: str | None = None,
    breaking: bool = False,
    wait: bool = True,
) -> EndpointHandle:
    """Put a version behind an endpoint; it gets traffic once it answers as it did in the notebook.

    Parameters
    ----------
    version
        `churn` (the newest), `churn:3` or `churn@champion`.
    name
        The endpoint's name; by default the model's.
    replicas
        How many runners.
    memory, cpu
        For one runner: bytes, or `512M`, `1Gi`; cores.
    access
        `token` (the default) or `open`.
    breaking
        Allow a version that refuses calls which the live one accepts, or answers in another shape.
    wait
        Return when it is live, else at once.

    Raises
    ------
    ModelPlatformError
        If it does not come up; what was live before goes on answering.
    """
    order = deploying.DeployOrder(version, name, replicas, cpu, memory, access, breaking, wait)
    return deploying.deploy(current(), order)


@explained(in_python)
def predict(name: str, rows: Any) -> Any:
    """Call an endpoint with a DataFrame, an array or a list of records; the answer has the notebook's form."""
    return actions.predict(current(), name, rows)


@explained(in_python)
def time(name: str, rows: Any) -> Timed:
    """Notebook and endpoint side by side for the same rows, and the one setting to change.

    Where the live version was not published by this process it is loaded here, which may run the publisher's code.
    """
    return time_both(current(), name, rows)


@explained(in_python)
def load(version: str) -> Any:
    """The model of a version, loaded in this process. Its bytes are verified; loading may run the publisher's code."""
    return loading.load(current(), version)


@explained(in_python)
def rollback(name: str) -> EndpointHandle:
    """Go back to what was live before."""
    client = current()
    return act(client, client.endpoint_ref(name), "rollback")


@explained(in_python)
def stop(name: str) -> EndpointHandle:
    """End what runs behind an endpoint; its name and history stay."""
    client = current()
    return act(client, client.endpoint_ref(name), "stop")


@explained(in_python)
def start(name: str) -> EndpointHandle:
    """Run again what was live when the endpoint was stopped."""
    client = current()
    return act(client, client.endpoint_ref(name), "start")


@explained(in_python)
def delete(name: str, *, undo: bool = False) -> Deleted | DeletedVersionView:
    """Delete an endpoint and end what runs behind it; or, with a number, a version of a model.

    Parameters
    ----------
    name
        The endpoint, `churn`, whose versions are kept; or the version, `churn:4`, where nothing refers to it.
    undo
        Bring a deleted version back; that can be done for 30 days.

    Raises
    ------
    InUseError
        Names what refers to the version: an endpoint that runs it or could go back to it, or an alias.
    """
    client = current()
    if actions.names_version(name) or undo:
        return actions.delete_version(client, name, undo=undo)
    return actions.delete(client, client.endpoint_ref(name))


@explained(in_python)
def status(name: str | None = None) -> StatusList | EndpointHandle:
    """How the endpoints of the zone do, or one of them."""
    client = current()
    return actions.status(client) if name is None else status_of(client, client.endpoint_ref(name))


@explained(in_python)
def logs(name: str, lines: int = 100) -> LogText:
    """The end of the logs of an endpoint's runners."""
    client = current()
    return LogText.read(client, client.endpoint_ref(name), lines)


@explained(in_python)
def card(version: str, **fields: Any) -> CardView:
    """The model card of a version; with fields, a new revision of it."""
    return actions.card(current(), version, fields)


@explained(in_python)
def models(query: str | None = None) -> ModelList:
    """Registered models, those with `query` in their name."""
    return actions.models(current(), query)


@explained(in_python)
def zone(name: str | None = None) -> ZoneView:
    """The zone and the server that are used, and why; with a name, use that zone from now on."""
    return actions.zone(current(), name)


@explained(in_python)
def token(endpoint: str, days: float | None = None, name: str = "application") -> NewToken:
    """A token that calls one endpoint; its secret is in `.value`."""
    return actions.token(current(), endpoint, days, name)


@explained(in_python)
def env(action: str | None = None) -> EnvironmentList:
    """The environments in which models run, and which endpoints use them; `prune` removes those that nothing uses."""
    return actions.environments(current(), action)


def _names_in(frame: Any) -> dict[int, str]:
    """What the caller's variables are called, by identity: so that a card can say `X_train`."""
    if frame is None:
        return {}
    scopes = (frame.f_globals, frame.f_locals)
    return {id(value): name for scope in scopes for name, value in scope.items() if not name.startswith("_")}
