"""Deploy: a version behind an endpoint."""

from __future__ import annotations

import time
from dataclasses import dataclass

from model_platform.client import Client
from model_platform.endpoint import EndpointHandle, wait_for
from model_platform_core.cards import Resources
from model_platform_core.deployments import Access
from model_platform_core.errors import InvalidSpecError
from model_platform_core.refs import EndpointRef, VersionRef, endpoint_name_for
from model_platform_core.wire import DeployRequest

_UNITS = {"k": 10**3, "m": 10**6, "g": 10**9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}


@dataclass(frozen=True)
class DeployOrder:
    """What a person asks for. `memory` is in bytes or as `512M`, `1Gi`; None keeps what is, or takes the card's."""

    version: str
    name: str | None = None
    replicas: int | None = None
    cpu: float | None = None
    memory: int | str | None = None
    access: str | None = None
    breaking: bool = False
    wait: bool = True


def deploy(client: Client, order: DeployOrder) -> EndpointHandle:
    """Put a version behind an endpoint and wait until it is live; an interrupt takes the change back.

    Raises
    ------
    FailedError
        If it does not come up. What was live before goes on answering.
    """
    version = client.version_ref(order.version)
    ref = EndpointRef(version.model.zone, order.name or endpoint_name_for(version.model.name))
    if order.name:
        ref = EndpointRef.parse(order.name).within(version.model.zone or "")
    current = client.endpoint_if_any(ref)
    request = DeployRequest(
        version=str(version),
        access=_access(order.access),
        replicas=order.replicas,
        resources=_resources(client, version, order),
        breaking=order.breaking,
    )
    began = time.monotonic()
    asked = client.deploy(ref, request, current.etag if current else None)
    if not order.wait:
        return EndpointHandle(client, asked)
    return wait_for(client, asked, began=began, existed=current is not None)


def _access(text: str | None) -> Access | None:
    if text is None:
        return None
    try:
        return Access(text)
    except ValueError:
        raise InvalidSpecError(f"{text!r} is no access: write token (the default) or open.") from None


def _resources(client: Client, version: VersionRef, order: DeployOrder) -> Resources | None:
    if order.cpu is None and order.memory is None:
        return None
    known = client.version(version).card.resources or Resources()
    memory = known.memory if order.memory is None else parse_memory(order.memory)
    return Resources(cpu=order.cpu or known.cpu, memory=memory, gpu=known.gpu)


def parse_memory(text: int | str) -> int:
    """Bytes from `536870912`, `512M`, `1.5Gi`.

    Raises
    ------
    InvalidSpecError
        If it is no amount of memory.
    """
    word = str(text).strip().lower().removesuffix("b")
    unit = next((unit for unit in sorted(_UNITS, key=len, reverse=True) if word.endswith(unit)), "")
    try:
        count = round(float(word.removesuffix(unit)) * _UNITS.get(unit, 1))
    except ValueError:
        count = 0
    if count <= 0:
        raise InvalidSpecError(f"{text!r} is no amount of memory; write 512M or 1Gi.")
    return count
