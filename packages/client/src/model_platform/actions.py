"""What the verbs do, given a connection: the same for functions, magics and the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from model_platform import calling
from model_platform.client import Client
from model_platform.endpoint import metrics_of, usage_of
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
from model_platform_core.cards import parse_card
from model_platform_core.errors import ForbiddenError, InvalidError, InvalidReferenceError, NotFoundError
from model_platform_core.models import ModelVersion
from model_platform_core.refs import EndpointRef, ModelRef, VersionRef
from model_platform_core.wire import TokenRequest

_AT_ONCE = 8


def predict(client: Client, name: str, rows: Any) -> Any:
    """Call an endpoint."""
    return calling.predict(client, client.endpoint(client.endpoint_ref(name)), rows)


def answers(client: Client, name: str, records: list[Any]) -> list[dict[str, Any]]:
    """Call an endpoint with rows as an application sends them, and give its answers as they come."""
    return calling.answers(client, client.endpoint(client.endpoint_ref(name)), records)


def delete(client: Client, ref: EndpointRef) -> Deleted:
    """Delete an endpoint; versions are kept."""
    client.delete_endpoint(ref)
    return Deleted(ref.zone or client.zone, ref.name)


def names_version(name: str) -> bool:
    """Whether a name means a version of a model, not an endpoint."""
    return ":" in name or "@" in name


def delete_version(client: Client, name: str, *, undo: bool) -> DeletedVersionView:
    """Delete a version, or bring one back.

    Raises
    ------
    InvalidReferenceError
        If no version is named by its number.
    """
    ref = client.version_ref(name)
    if ref.version is None:
        again = f"%mp_delete {ref.model.name}:4{' --undo' if undo else ''}"
        raise InvalidReferenceError(f"{name!r} names no version by its number.", hint=again)
    if undo:
        restored = client.restore_version(ref)
        return DeletedVersionView(restored.zone, restored.name, restored.version, None)
    gone = client.delete_version(ref)
    return DeletedVersionView(gone.zone, gone.name, gone.version, gone.until)


def status(client: Client) -> StatusList:
    """The endpoints of the zone, and how they do."""
    resources = client.endpoints(client.zone)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        measured = dict(
            zip([one.name for one in resources], pool.map(lambda one: metrics_of(client, one), resources), strict=True)
        )
    metrics = {name: found for name, found in measured.items() if found is not None}
    return StatusList(client.zone, resources, metrics, usage_of(client, client.zone))


def models(client: Client, query: str | None) -> ModelList:
    """Registered models."""
    return ModelList(client.models(query), query, client.me.home_zone)


def card(client: Client, version: str, fields: Mapping[str, Any]) -> CardView:
    """The card of a version; with fields, a new revision of it."""
    ref = client.version_ref(version)
    found, revision = client.version(ref), client.card(ref)
    if fields:
        content = revision.card.model_dump(mode="json", exclude_defaults=True) | dict(fields)
        revision = client.revise_card(ref, parse_card(content), revision.revision)
    return CardView(found, revision, _demanded(client, found.zone), _version_before(client, found))


def zone(client: Client, name: str | None) -> ZoneView:
    """Where one is; with a name, go there."""
    if name is not None:
        client.use_zone(name)
    others = [one.name for one in client.zones() if one.name != client.zone]
    return ZoneView(client.me, client.zone, usage_of(client, client.zone), client.rest.url, client.address.why, others)


def environments(client: Client, action: str | None) -> EnvironmentList:
    """Environments of models; `prune` removes those that nothing uses.

    Raises
    ------
    InvalidError
        If it is neither `list` nor `prune`.
    """
    if action == "prune":
        return EnvironmentList(client.prune_environments(), removed=True)
    if action not in (None, "list"):
        raise InvalidError(f"Environments are listed or pruned, not {action!r}.", hint="%mp_env prune")
    return EnvironmentList(client.environments())


def token(client: Client, endpoint: str, days: float | None, name: str) -> NewToken:
    """A token that calls one endpoint."""
    ref = client.endpoint_ref(endpoint)
    return NewToken(client.create_token(TokenRequest(name=name, endpoint=str(ref), days=days)))


def _version_before(client: Client, version: ModelVersion) -> ModelVersion | None:
    """The version before, as far as it is there."""
    if version.version == 1:
        return None
    try:
        return client.version(VersionRef(ModelRef(version.zone, version.name), version.version - 1))
    except NotFoundError:
        return None


def _demanded(client: Client, zone_name: str) -> Sequence[str]:
    try:
        return client.get_zone(zone_name).spec.mandatory_fields
    except ForbiddenError:
        return ()
