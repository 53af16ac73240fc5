"""Requests and responses of the REST API. Values of core travel as they are; what is only said on the wire stands here.

Conventions: JSON, snake_case, UTC timestamps in RFC 3339, sizes in bytes, CPU in cores, durations in seconds.
"""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import Any, Generic, TypeVar

from pydantic import Field

from model_platform_core.access import ActorKind, Scope
from model_platform_core.cards import ModelCard, Resources
from model_platform_core.deployments import Access, Capabilities, Endpoint, EndpointSpec, EndpointStatus
from model_platform_core.environments import EnvironmentRecord
from model_platform_core.errors import FieldProblem
from model_platform_core.lineage import DataFingerprint, Lineage
from model_platform_core.models import FileEntry
from model_platform_core.values import Observed, Sha256, Value
from model_platform_core.zones import Amount, Zone

Item = TypeVar("Item")


class Page(Observed, Generic[Item]):
    """One page of a list; `next_cursor` is given back as `?cursor=` for the next one, None at the end."""

    items: list[Item]
    next_cursor: str | None = None


class Problem(Observed):
    """Problem details, RFC 9457, with the stable code, what is wrong by field, and the line to change."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    hint: str | None = None
    fields: list[FieldProblem] = []


class WhoAmI(Observed):
    """Who the token speaks for, and what the server can do."""

    actor: str
    kind: ActorKind
    home_zone: str | None
    scopes: dict[str, list[Scope]]
    server_version: str
    targets: list[Capabilities]
    gateway_url: str
    registry_ready: bool


class Proof(Observed):
    """Answer to a challenge: the HMAC-SHA256 over it, with the key that only the server and its owner's files hold."""

    proof: str


class ZoneUsage(Observed):
    """A zone, what its endpoints ask for and what its limits leave."""

    zone: Zone
    used: Amount
    left: Amount


class PreflightRequest(Value):
    """What a deployment would need."""

    endpoint: str
    resources: Resources | None = None
    replicas: int = Field(1, ge=1)
    version: str | None = None


class Preflight(Observed):
    """Whether a deployment fits: what it needs, what is left, what could be stopped."""

    fits: bool
    needed: Amount
    left: Amount
    stop_candidates: list[str] = []


class UploadStart(Value):
    """The files of a version before they come. `model` is `zone.name` or a bare name."""

    model: str
    files: list[FileEntry] = Field(max_length=10_000)


class UploadStatus(Observed):
    """Where an upload stands: bytes received by path; `complete` once every digest has been checked."""

    id: str
    model: str
    received: dict[str, int]
    complete: bool = False


class RegisterVersion(Value):
    """Make a version of files uploaded before. What is the last version once more makes none, unless `new` is set."""

    upload: str
    card: dict[str, Any] = {}
    lineage: Lineage = Lineage()
    metrics: dict[str, float] = {}
    description: str = ""
    tags: dict[str, str] = {}
    aliases: list[str] = []
    new: bool = False


class LineageCompletion(Value):
    """What became known after the publish: parts of a version's lineage that were recorded as pending."""

    data: tuple[DataFingerprint, ...] = ()
    environment: EnvironmentRecord | None = None


class CardRevision(Observed):
    """One revision of a version's card."""

    revision: int
    card: ModelCard
    sha256: Sha256
    by: str
    at: dt.datetime


class ModelPatch(Value):
    """What may be changed of a registered model; None leaves it."""

    description: str | None = None
    tags: dict[str, str] | None = None


class DeletedVersion(Observed):
    """A version that was deleted, by whom, and until when that can be undone."""

    zone: str
    name: str
    version: int
    by: str
    at: dt.datetime
    until: dt.datetime


class AliasTarget(Value):
    """The version that an alias names."""

    version: int = Field(ge=1)


class DeployRequest(Value):
    """Put a version behind an endpoint.

    `version` is `churn:3`, `churn@champion` or `churn` (the newest); it must be of the endpoint's zone. What is None is
    kept as it is, or taken from the card, or the default. `breaking` allows a version that refuses requests which the
    live one accepts.
    """

    version: str
    access: Access | None = None
    replicas: int | None = Field(None, ge=1, le=100)
    resources: Resources | None = None
    breaking: bool = False


class EndpointResource(Observed):
    """An endpoint as the API shows it."""

    zone: str
    name: str
    spec: EndpointSpec
    status: EndpointStatus
    generation: int
    etag: str
    created_at: dt.datetime
    updated_at: dt.datetime

    @classmethod
    def of(cls, endpoint: Endpoint) -> EndpointResource:
        """The endpoint with its etag."""
        return cls(etag=endpoint.etag, **{name: getattr(endpoint, name) for name in Endpoint.model_fields})

    @property
    def settled(self) -> bool:
        """Whether the newest spec has been acted on to its end, well or not."""
        return self.status.observed_generation >= self.generation


class EndpointMetrics(Observed):
    """Calls of an endpoint since its runners started: counts, errors, latency quantiles in seconds."""

    calls: int = 0
    errors: int = 0
    rows: int = 0
    calls_per_second: float = 0.0
    p50: float | None = None
    p95: float | None = None
    since: dt.datetime | None = None
    by_version: dict[str, int] = {}


class TokenRequest(Value):
    """Ask for a token: for the platform itself (an actor's), or for calling one endpoint. `days` until it expires."""

    name: str = Field("token", max_length=100)
    actor: str | None = None
    endpoint: str | None = None
    days: float | None = Field(None, gt=0, le=3660)


class TokenInfo(Observed):
    """A token without its secret."""

    id: str
    name: str
    actor: str
    endpoint: str | None = None
    created_at: dt.datetime
    expires_at: dt.datetime | None = None
    revoked: bool = False


class TokenCreated(TokenInfo):
    """A new token: shown once."""

    token: str


class ActorRequest(Value):
    """A person or service to be known to the server; roles by zone (`*` for every zone)."""

    name: str = Field(min_length=1, max_length=100)
    kind: ActorKind = ActorKind.PERSON
    home_zone: str | None = None
    roles: dict[str, str] = {}


class ActorInfo(Observed):
    """An actor as the API shows it."""

    name: str
    kind: ActorKind
    home_zone: str | None
    roles: dict[str, str]


class EnvironmentState(StrEnum):
    """Where an environment of a model stands."""

    BUILT = "built"
    BUILDING = "building"
    WANTED = "wanted"
    FAILED = "failed"


class EnvironmentInfo(Observed):
    """An environment that models run in, by the hash of what is in it.

    `used_by` names endpoints; while it is not built they run in the environment in which their model was made.
    `message` tells why it is not built, where that was tried.
    """

    key: str
    state: EnvironmentState
    python: str
    packages: tuple[str, ...] = ()
    bytes: int = 0
    made_at: dt.datetime | None = None
    used_by: tuple[str, ...] = ()
    message: str = ""


class LogLine(Observed):
    """One line of a runner's log."""

    deployment: str
    runner: str
    text: str
