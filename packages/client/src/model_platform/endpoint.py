"""An endpoint in the hand: what `mp.deploy` returns, and staying with its changes until they are done."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import httpx

from model_platform import calling
from model_platform.client import Client
from model_platform.display import endpoint_cards
from model_platform.display.card import Card
from model_platform.display.progress import PATIENCE_SECONDS
from model_platform.display.shown import Shown
from model_platform.display.surface import Surface, surface_here
from model_platform.errors import explained, in_python
from model_platform.log_lines import LogText
from model_platform.rest import checks_certificates
from model_platform_core.deployments import DeploymentStatus, EndpointState
from model_platform_core.errors import ModelPlatformError, error_from_code
from model_platform_core.refs import EndpointRef
from model_platform_core.wire import EndpointMetrics, EndpointResource, TokenRequest, ZoneUsage

_SCHEMA_SECONDS = 2.0


class EndpointHandle(Shown):
    """A stable name and URL in a zone, and what can be done with it.

    `predict` takes rows as the model does (a DataFrame, a Series, arrays, texts, records) and answers as the model did in the notebook.
    """

    def __init__(
        self,
        client: Client,
        resource: EndpointResource,
        *,
        usage: ZoneUsage | None = None,
        snippets: dict[str, str] | None = None,
        metrics: EndpointMetrics | None = None,
        seconds: float | None = None,
    ) -> None:
        self._client = client
        self._resource = resource
        self._usage = usage
        self._snippets = snippets or {}
        self._metrics = metrics
        self._seconds = seconds

    @property
    def name(self) -> str:
        """Its name."""
        return self._resource.name

    @property
    def zone(self) -> str:
        """Its zone."""
        return self._resource.zone

    @property
    def ref(self) -> EndpointRef:
        """`zone/name`."""
        return EndpointRef(self._resource.zone, self._resource.name)

    @property
    def url(self) -> str:
        """Where applications call it."""
        return self._resource.status.url or ""

    @property
    def version(self) -> int | None:
        """The version that answers; None if none does."""
        live = self._resource.status.live()
        return live.version if live else None

    @property
    def state(self) -> str:
        """The state, a word, as it was when this was read."""
        return str(self._resource.status.state)

    @property
    def resource(self) -> EndpointResource:
        """Spec and status as they were read."""
        return self._resource

    @explained(in_python)
    def predict(self, rows: Any) -> Any:
        """The endpoint's answers to rows as the model takes them: a DataFrame, a Series, arrays, texts, or records."""
        return calling.predict(self._client, self._resource, rows)

    @explained(in_python)
    def status(self) -> EndpointHandle:
        """How it is now."""
        return status_of(self._client, self.ref)

    @explained(in_python)
    def token(self, days: float | None = None, name: str = "application") -> str:
        """A token that calls this endpoint and nothing else; shown once, so keep it where the application reads it."""
        return self._client.create_token(TokenRequest(name=name, endpoint=str(self.ref), days=days)).token

    @explained(in_python)
    def logs(self, lines: int = 100) -> LogText:
        """The end of its runners' logs; they hold no data."""
        return LogText.read(self._client, self.ref, lines)

    @explained(in_python)
    def rollback(self) -> EndpointHandle:
        """Go back to what was live before."""
        return act(self._client, self.ref, "rollback")

    @explained(in_python)
    def stop(self) -> EndpointHandle:
        """End what runs; name and history stay."""
        return act(self._client, self.ref, "stop")

    @explained(in_python)
    def start(self) -> EndpointHandle:
        """Run again what was live when it was stopped."""
        return act(self._client, self.ref, "start")

    def __repr__(self) -> str:
        return f"<Endpoint {self.ref} {self.state}>"

    def card(self) -> Card:
        """The card of its state."""
        return endpoint_cards.endpoint_card(self._resource, self._usage, self._snippets, self._metrics, self._seconds)


def act(client: Client, ref: EndpointRef, action: str) -> EndpointHandle:
    """`rollback`, `stop` or `start`, and wait until it is done."""
    began = time.monotonic()
    return wait_for(client, client.act(ref, action), began=began, existed=True)


def status_of(client: Client, ref: EndpointRef) -> EndpointHandle:
    """One endpoint as it is now."""
    resource = client.endpoint(ref)
    return EndpointHandle(
        client,
        resource,
        usage=usage_of(client, resource.zone),
        snippets=snippets_of(resource),
        metrics=metrics_of(client, resource),
    )


def wait_for(client: Client, asked: EndpointResource, *, began: float, existed: bool) -> EndpointHandle:
    """Stay with a change until it is done, and show where it stands.

    Raises
    ------
    FailedError
        If it failed; rebuilt from the failure's code.
    """
    surface = surface_here()
    found, shown = asked, False
    try:
        for found in client.follow(asked):
            passed = time.monotonic() - began
            if not found.settled and passed > PATIENCE_SECONDS:
                surface.show(endpoint_cards.progress_card(found, passed))
                shown = True
    except KeyboardInterrupt:
        _take_back(client, EndpointRef(asked.zone, asked.name), existed=existed)
        _leave(surface, endpoint_cards.given_up_card(found, existed=existed))
        raise
    failed = endpoint_cards.failed_deployment(found)
    if failed is not None:
        _leave(surface, endpoint_cards.failure_card(found, failed))
        raise _failure(found, failed)
    handle = EndpointHandle(
        client,
        found,
        usage=usage_of(client, found.zone),
        snippets=snippets_of(found),
        seconds=time.monotonic() - began,
    )
    if shown:
        _leave(surface, handle.card())
        if surface.stays:
            handle.mark_shown()
    return handle


def usage_of(client: Client, zone: str) -> ZoneUsage | None:
    """The use of a zone; None where the actor may not see it."""
    with contextlib.suppress(ModelPlatformError):
        return client.usage(zone)
    return None


def snippets_of(resource: EndpointResource) -> dict[str, str]:
    """A working call in several languages, as the endpoint itself tells it; empty if it does not."""
    if not resource.status.url or resource.status.live() is None:
        return {}
    with contextlib.suppress(httpx.HTTPError, ValueError, AttributeError):
        url = f"{resource.status.url}/schema"
        answer = httpx.get(url, timeout=_SCHEMA_SECONDS, trust_env=False, verify=checks_certificates(url))
        if answer.status_code == 200:
            return {str(name): str(text) for name, text in answer.json().get("snippets", {}).items()}
    return {}


def _leave(surface: Surface, card: Card) -> None:
    """The progress becomes a card in its place, so that a cell does not show both; a terminal's line goes."""
    if surface.stays:
        surface.show(card)
    else:
        surface.clear()


def _take_back(client: Client, ref: EndpointRef, *, existed: bool) -> None:
    with contextlib.suppress(ModelPlatformError):
        if existed:
            client.act(ref, "rollback")
        else:
            client.delete_endpoint(ref)


def _failure(resource: EndpointResource, failed: DeploymentStatus) -> ModelPlatformError:
    failure, live = failed.failure, resource.status.live()
    assert failure is not None
    if resource.status.state is EndpointState.FAILED:
        live = None
    still = f" Version {live.version} still answers." if live else ""
    message = f"{resource.name} version {failed.spec.version} was not deployed: {failure.message}{still}"
    return error_from_code(failure.code, message, hint=failure.hint)


def metrics_of(client: Client, resource: EndpointResource) -> EndpointMetrics | None:
    """What an endpoint's runners have counted; None if nothing runs."""
    if resource.status.live() is None:
        return None
    try:
        return client.metrics(EndpointRef(resource.zone, resource.name))
    except ModelPlatformError:
        return None  # deleted since it was read, or its figures are away for a moment
