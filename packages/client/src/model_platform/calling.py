"""Calling an endpoint as an application would: rows out, answers back, in the form that the notebook knows."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import urlparse

import httpx

import model_platform
from model_platform.capture.answers import same_kind_as
from model_platform.capture.table import Form, Table, as_table
from model_platform.client import Client
from model_platform.rest import checks_certificates
from model_platform_core.deployments import Access
from model_platform_core.errors import FieldProblem, InvalidInputError, TargetUnavailableError, error_from_code
from model_platform_core.models import ModelVersion
from model_platform_core.refs import EndpointRef, ModelRef, VersionRef
from model_platform_core.wire import EndpointResource

ROWS_PER_CALL = 5000
_SECONDS = httpx.Timeout(120.0, connect=10.0)


@dataclass(frozen=True)
class Sent:
    """Rows as the notebook holds them, and the records of each call in which they go."""

    table: Table
    calls: list[list[Any]]


def predict(client: Client, resource: EndpointResource, rows: Any) -> Any:
    """The endpoint's answers to rows as the model is called with, in the form in which the model gives them.

    Raises
    ------
    InvalidInputError
        If the rows do not fit; the message names the column.
    TargetUnavailableError
        If the endpoint does not answer.
    """
    version = live_version(client, resource)
    behaviour = version.behaviour if version else {}
    sent = as_sent(rows, behaviour)
    return _as_known(_ask(client, resource, sent.calls), sent.table, behaviour)


def answers(client: Client, resource: EndpointResource, records: list[Any]) -> list[dict[str, Any]]:
    """The plain answers to rows as an application sends them, all of them in one call."""
    return _ask(client, resource, [records] if records else [])


def live_version(client: Client, resource: EndpointResource) -> ModelVersion | None:
    """The version that answers; None if none does."""
    live = resource.status.live()
    return client.version(VersionRef(ModelRef.parse(live.model), live.version)) if live else None


def as_sent(rows: Any, behaviour: dict[str, Any]) -> Sent:
    """Rows for a version that behaves so: several calls where each row answers for itself.

    Raises
    ------
    InvalidInputError
        If they are no rows.
    """
    table = _with_index(as_table(rows, "the input"), behaviour)
    records = table.records()
    size = ROWS_PER_CALL if behaviour.get("rows_independent") else max(len(records), 1)
    return Sent(table, [records[start : start + size] for start in range(0, len(records), size)])


class Caller:
    """A connection to an endpoint that stays open from call to call, with the token that it takes.

    Parameters
    ----------
    headers
        What every call carries beside.
    """

    def __init__(self, client: Client, resource: EndpointResource, headers: Mapping[str, str] | None = None) -> None:
        self._client = client
        self._resource = resource
        self._headers = dict(headers or {})
        self._http = _http(resource)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._http.close()

    def ask(self, records: list[Any]) -> httpx.Response:
        """The answer to one call; raises what `predict` raises."""
        answer = self._post(records)
        if answer.status_code == 401:  # the token has expired, or was revoked
            answer = self._post(records, renew=True)
        if answer.status_code != 200:
            raise _refused(answer, self._resource)
        return answer

    def _post(self, records: list[Any], *, renew: bool = False) -> httpx.Response:
        resource, headers = self._resource, dict(self._headers)
        if resource.spec.access is Access.TOKEN:
            token = self._client.endpoint_token(EndpointRef(resource.zone, resource.name), renew=renew)
            headers["Authorization"] = f"Bearer {token}"
        try:
            return self._http.post("", json=records, headers=headers)
        except httpx.TransportError as error:
            raise TargetUnavailableError(
                f"{resource.status.url} does not answer ({error or type(error).__name__}).",
                hint=f"%mp_status {resource.name}",
            ) from None


def _ask(client: Client, resource: EndpointResource, calls: list[list[Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    with Caller(client, resource) as caller:
        for records in calls:
            found += caller.ask(records).json()
    return found


def _with_index(table: Table, behaviour: dict[str, Any]) -> Table:
    """The rows with their index where the model needs it."""
    wanted = (behaviour.get("rows") or {}).get("index")
    return replace(table, indexed=True) if wanted and table.form in {Form.FRAME, Form.SERIES} else table


def _http(resource: EndpointResource) -> httpx.Client:
    url = resource.status.url or ""
    loopback = urlparse(url).hostname in {"127.0.0.1", "localhost", "::1"}
    agent = {"User-Agent": f"model-platform/{model_platform.__version__}"}
    certificates = checks_certificates(url)
    return httpx.Client(base_url=url, headers=agent, timeout=_SECONDS, trust_env=not loopback, verify=certificates)


def _as_known(answers: list[dict[str, Any]], table: Table, behaviour: dict[str, Any]) -> Any:
    if table.form is Form.RECORDS:
        return answers
    kind, dtypes = behaviour.get("answer_kind"), behaviour.get("answer_dtypes") or {}
    index = table.value.index if table.form in {Form.FRAME, Form.SERIES} else None
    if kind is None or (kind != "records" and (not answers or set(dtypes) != set(answers[0]))):
        # Published by another client: what it said is all that is known.
        return importlib.import_module("pandas").DataFrame(answers, index=index)
    return same_kind_as(kind, answers, dtypes, index)


def _refused(answer: httpx.Response, resource: EndpointResource) -> Exception:
    try:
        document = answer.json()
        message, code = str(document["error"]), str(document["code"])
        problems = document.get("fields") or []
    except (ValueError, KeyError, TypeError):
        return TargetUnavailableError(
            f"{resource.name} answers {answer.status_code}: {resource.status.message or 'no runner is there'}.",
            hint=f"%mp_logs {resource.name}",
        )
    fields = [FieldProblem(field=_place(one), problem=str(one.get("problem", ""))) for one in problems]
    if code.startswith("invalid"):
        return InvalidInputError(message, fields=fields if len(fields) > 1 else ())
    return error_from_code(code, message, fields=fields)


def _place(problem: dict[str, Any]) -> str:
    row = f"row {problem['row']}" if "row" in problem else ""
    return " ".join(part for part in (row, str(problem.get("field", ""))) if part)
