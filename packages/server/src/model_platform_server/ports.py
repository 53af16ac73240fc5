"""What the use-cases and the reconciler need from the world. Adapters stand behind these; `compose` joins them.

Everything here is synchronous and may be called from several threads: use-cases run in the server's thread pool, the
reconciler works on one endpoint per thread. Adapters raise errors of `model_platform_core.errors` and nothing else.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from model_platform_core.access import Actor
from model_platform_core.cards import ModelCard
from model_platform_core.deployments import (
    Access,
    Capabilities,
    DeploymentSpec,
    Endpoint,
    EndpointSpec,
    EndpointStatus,
    Failure,
)
from model_platform_core.environments import EnvironmentRecord
from model_platform_core.events import Event, NewEvent
from model_platform_core.lineage import Lineage
from model_platform_core.models import FileEntry, ModelVersion, RegisteredModel
from model_platform_core.refs import EndpointRef, ModelRef, VersionRef
from model_platform_core.wire import (
    ActorInfo,
    ActorRequest,
    CardRevision,
    DeletedVersion,
    EndpointMetrics,
    EnvironmentInfo,
    LineageCompletion,
    LogLine,
    ModelPatch,
    Page,
    TokenCreated,
    TokenInfo,
    UploadStatus,
)
from model_platform_core.zones import Amount, Zone

Zones = frozenset[str] | None
"""The zones that may be seen; None means every zone."""


class Clock(Protocol):
    """The time, so that tests can move it."""

    def now(self) -> dt.datetime:
        """The time in UTC."""
        ...


# ---------------------------------------------------------------- SQL


class ActorStore(Protocol):
    """People and services, and their tokens as hashed rows."""

    def by_token(self, token: str) -> Actor | None:
        """Whose token this is; None if it is unknown, expired or revoked."""
        ...

    def get(self, name: str) -> Actor | None:
        """The actor of that name."""
        ...

    def put(self, request: ActorRequest, *events: NewEvent) -> ActorInfo:
        """Create or change an actor, with the events in the same transaction; so do all changes here."""
        ...

    def every(self) -> list[ActorInfo]:
        """Every actor, by name."""
        ...

    def create_token(self, info: TokenInfo, secret: str, *events: NewEvent) -> TokenCreated:
        """Keep the token's SHA-256 and what is known of it (for endpoint tokens too, so that they can be listed)."""
        ...

    def tokens(self, *, actor: str | None = None, endpoint: str | None = None) -> list[TokenInfo]:
        """The tokens of an actor or for an endpoint (`zone/endpoint`), newest first."""
        ...

    def token(self, token_id: str) -> TokenInfo | None:
        """One token."""
        ...

    def revoke(self, token_id: str, *events: NewEvent) -> TokenInfo:
        """Revoke; raises TokenNotFoundError."""
        ...

    def revoked_endpoint_tokens(self) -> list[str]:
        """Ids of the endpoint tokens that are revoked and have not expired."""
        ...


class ZoneStore(Protocol):
    """Zones."""

    def get(self, name: str) -> Zone | None:
        """The zone of that name."""
        ...

    def visible(self, zones: Zones) -> list[Zone]:
        """The zones that may be seen, by name."""
        ...

    def put(self, zone: Zone, event: NewEvent) -> None:
        """Create or change, with the event in the same transaction."""
        ...

    def delete(self, name: str, event: NewEvent) -> None:
        """Delete; raises InUseError if models, endpoints or experiments are in it, or somebody has a role there."""
        ...


class EndpointStore(Protocol):
    """Endpoints: the spec is written by use-cases, the status by the reconciler."""

    def get(self, ref: EndpointRef) -> Endpoint | None:
        """The endpoint; `ref` has its zone."""
        ...

    def page(self, zones: Zones, *, limit: int = 1000, cursor: str | None = None) -> Page[Endpoint]:
        """Endpoints of the zones, by zone and name."""
        ...

    def create(self, ref: EndpointRef, spec: EndpointSpec, event: NewEvent) -> Endpoint:
        """A new endpoint; raises ChangedSinceReadError if somebody was faster."""
        ...

    def change_spec(self, ref: EndpointRef, spec: EndpointSpec, generation: int, event: NewEvent) -> Endpoint:
        """Replace the spec if the generation is still the one that was read; raises ChangedSinceReadError."""
        ...

    def write_status(self, endpoint: Endpoint, status: EndpointStatus, events: Sequence[NewEvent] = ()) -> None:
        """Replace the status; nothing if the endpoint is gone, or another one has its name now."""
        ...

    def delete(self, ref: EndpointRef, event: NewEvent) -> None:
        """Forget the endpoint."""
        ...


class EventStore(Protocol):
    """Events, with ids in commit order."""

    def append(self, events: Sequence[NewEvent]) -> None:
        """Write events that belong to no other row."""
        ...

    def after(self, last_id: int, zones: Zones, limit: int = 500) -> list[Event]:
        """Events after an id that the reader may see, oldest first; events without a zone are for those who see all."""
        ...

    def last_id(self) -> int:
        """The id of the newest event, 0 if there is none."""
        ...


@dataclass(frozen=True)
class ModelFilter:
    """What a list of models is narrowed to."""

    zone: str | None = None
    query: str | None = None
    tier: int | None = None
    owner: str | None = None


class Catalogue(Protocol):
    """The read side of the registry, and the card revisions: our tables, no SDK, fast at 100,000 versions."""

    def models(
        self, zones: Zones, where: ModelFilter, *, limit: int = 100, cursor: str | None = None
    ) -> Page[RegisteredModel]:
        """Models by full name; those without a version are left out."""
        ...

    def model(self, ref: ModelRef) -> RegisteredModel | None:
        """One model; `ref` has its zone."""
        ...

    def versions(self, ref: ModelRef, *, limit: int = 100, cursor: str | None = None) -> Page[ModelVersion]:
        """Versions of a model, newest first, without their file lists."""
        ...

    def version(self, ref: VersionRef) -> ModelVersion | None:
        """One version by number, alias, or the newest; with its file list."""
        ...

    def card_revisions(self, ref: VersionRef) -> list[CardRevision]:
        """Every revision of a version's card, newest first."""
        ...

    def deleted(self, ref: VersionRef) -> DeletedVersion | None:
        """A version that was deleted and can come back; `ref` has its number."""
        ...

    def revise_card(self, ref: VersionRef, card: ModelCard, revision: int, by: str, event: NewEvent) -> CardRevision:
        """Write the revision after `revision`; raises ChangedSinceReadError if that is not the newest."""
        ...

    def complete_lineage(self, ref: VersionRef, completion: LineageCompletion, event: NewEvent) -> None:
        """Add what was pending, with the event in the same transaction; raises ConflictError if it was not."""
        ...

    def keep_digests(self, ref: VersionRef, build: FirstBuild, event: NewEvent) -> None:
        """Add to a version's lock what its first build was made of; nothing where that is known, or the lock another."""
        ...

    def directory(self, version: ModelVersion) -> Path:
        """The local folder with the version's files: to be read only, and it stays while the version exists."""
        ...

    def readable_digests(self, zones: Zones, digests: Sequence[str]) -> Mapping[str, Path]:
        """Of these file digests, those that lie in versions of the zones, and where the bytes are."""
        ...


class Answers(Protocol):
    """Answers to requests with an idempotency key, kept for a day; written by whoever does what is asked."""

    def get(self, actor: str, key: str) -> tuple[str, str] | None:
        """Digest of the request and the subject that it made."""
        ...


# ---------------------------------------------------------------- files


class UploadStore(Protocol):
    """Files on their way in. Parts may come in several calls; a digest is checked when a file is complete."""

    def start(self, model: ModelRef, actor: str, files: Sequence[FileEntry]) -> UploadStatus:
        """A new upload; `model` has its zone."""
        ...

    def owner(self, upload_id: str) -> tuple[ModelRef, str]:
        """Model and actor of an upload; raises UploadNotFoundError."""
        ...

    def write(self, upload_id: str, path: str, offset: int, data: Iterator[bytes]) -> int:
        """Append bytes at `offset`; returns how many the file has now. Raises InvalidUploadError, StorageUnavailableError."""
        ...

    def link(self, upload_id: str, path: str, source: Path) -> None:
        """Take a file that the actor may read from where it lies."""
        ...

    def status(self, upload_id: str) -> UploadStatus:
        """What has come."""
        ...

    def finish(self, upload_id: str) -> tuple[Path, tuple[FileEntry, ...]]:
        """Check that all is there with the right digests; the folder and its files. Raises InvalidUploadError."""
        ...

    def discard(self, upload_id: str) -> None:
        """Remove what came; nothing if it is gone."""
        ...

    def sweep(self, older_than: dt.datetime) -> list[str]:
        """Discard uploads to which nothing has come since then; their ids."""
        ...


# ---------------------------------------------------------------- registry


@dataclass(frozen=True)
class RequestKey:
    """What a request is known by when it is sent again: the client's own key, and a digest of what it asks for."""

    key: str
    sha256: str


@dataclass(frozen=True)
class Registration:
    """Everything that becomes one version: files in a folder (which stay there), card, lineage, metrics.

    What the request made is remembered under its `key` in the same transaction. What is the model's last version once more
    makes no version, unless it is to be `new`.
    """

    model: ModelRef
    directory: Path
    files: tuple[FileEntry, ...]
    card: ModelCard
    lineage: Lineage = field(default_factory=Lineage)
    metrics: Mapping[str, float] = field(default_factory=dict)
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    key: RequestKey | None = None
    new: bool = False


class Registry(Protocol):
    """The write side: MLflow, governed. Every change and its event are one transaction."""

    def ready(self) -> bool:
        """Whether the registry has come up; the calls below wait for it, or raise RegistryUnavailableError."""
        ...

    def register(self, actor: Actor, registration: Registration) -> VersionRef:
        """Write run, logged model, version, card and event; the gate stands in the store. Raises its refusals.

        Gives the last version where it is that once more.
        """
        ...

    def set_alias(self, actor: Actor, ref: ModelRef, alias: str, version: int) -> None:
        """Point an alias at a version."""
        ...

    def delete_alias(self, actor: Actor, ref: ModelRef, alias: str) -> None:
        """Remove an alias."""
        ...

    def patch_model(self, actor: Actor, ref: ModelRef, patch: ModelPatch) -> None:
        """Change description and tags."""
        ...

    def delete_version(self, actor: Actor, ref: VersionRef) -> None:
        """Delete a version that nothing refers to; until it is purged it can come back. Raises InUseError."""
        ...

    def restore_version(self, actor: Actor, ref: VersionRef) -> None:
        """Bring a deleted version back; raises VersionNotFoundError if it was not deleted, or is purged."""
        ...

    def purge(self, before: dt.datetime) -> int:
        """Give up the versions that were deleted before, and their files unless another version is of them; how many."""
        ...

    def sweep(self) -> int:
        """Remove models that never got a version (their client died between two calls); how many."""
        ...


# ---------------------------------------------------------------- keys


class Keys(Protocol):
    """The keys that sign what applications show to runners."""

    def public_keys(self) -> Mapping[str, str]:
        """Key id to public ed25519 key, base64url without padding: what runners verify with."""
        ...

    def sign_endpoint_token(self, audience: str, token_id: str, subject: str, expires_at: dt.datetime) -> str:
        """A signed JWT (EdDSA) that calls the endpoint `audience` (`zone/endpoint`) until it expires."""
        ...


# ---------------------------------------------------------------- target


@dataclass(frozen=True)
class RunnerPlan:
    """Everything that a target needs to run one deployment of one endpoint.

    `directory` holds the version's files and stays where it is while the deployment exists; `files` are their digests,
    verified at every load. `environment` is the one in which the model was made, None where nobody knows. With
    `keep_output` the log holds what the model prints, which else is only counted.
    """

    ref: EndpointRef
    deployment: DeploymentSpec
    directory: Path
    files: tuple[FileEntry, ...]
    environment: EnvironmentRecord | None
    access: Access
    public_keys: Mapping[str, str]
    keep_output: bool = False


class RunnerState(StrEnum):
    """Where a deployment's runners stand."""

    ABSENT = "absent"
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True)
class Borrowed:
    """That a deployment runs in the environment in which its model was made, and why still: a word and a clause."""

    reason: str
    message: str


@dataclass(frozen=True)
class FirstBuild:
    """What package indexes gave when a lock was first built, by package: digests of files for one platform."""

    lock_sha256: str
    platform: str
    digests: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Observation:
    """A deployment as the target sees it: `failure` is set when it does not come up by itself any more.

    `borrowed` is None once it runs in an environment of its own. `successor` tells that runners in that environment have
    come up beside it, and wait for their proof. `first_build` is set while the plan's lock does not know of it.
    """

    state: RunnerState
    ready_replicas: int = 0
    restarts: int = 0
    failure: Failure | None = None
    borrowed: Borrowed | None = None
    successor: bool = False
    first_build: FirstBuild | None = None


@dataclass(frozen=True)
class RoutePlan:
    """The traffic of one endpoint: percentages by deployment, and deployments reachable on a private path alone.

    `private` maps a deployment to a path below the gateway that nobody can guess: the parity proof goes there before
    the deployment has traffic. An endpoint without weights and without private paths has no route.
    """

    ref: EndpointRef
    weights: Mapping[str, int]
    private: Mapping[str, str] = field(default_factory=dict)


class DeploymentTarget(Protocol):
    """Where deployments run. Knows deployments and traffic, nothing of strategies. Every call is idempotent."""

    def capabilities(self) -> Capabilities:
        """What it can do; `missing` names what this machine or cluster lacks."""
        ...

    def capacity(self) -> Amount:
        """What a zone may be given at most here."""
        ...

    def gateway_url(self) -> str:
        """Base of all endpoint URLs, no slash at the end; starts the gateway if it does not run."""
        ...

    def prepare(self, plan: RunnerPlan, report: Callable[[str], None]) -> None:
        """Make the environment ready; `report` gets short words on progress. Raises EnvironmentFailedError."""
        ...

    def run(self, plan: RunnerPlan) -> None:
        """See to it that the plan's replicas run, and go on running; returns before they are ready."""
        ...

    def known(self) -> set[EndpointRef]:
        """The endpoints of which anything is on the target."""
        ...

    def observe(self, ref: EndpointRef) -> dict[str, Observation]:
        """The deployments of an endpoint that exist on the target, also those started by an earlier server."""
        ...

    def wait(self, ref: EndpointRef, seconds: float) -> None:
        """Return when something about the endpoint's deployments may have changed since this thread observed it.

        At the latest after so many seconds, which may be in vain.
        """
        ...

    def libraries(self, ref: EndpointRef, deployment: str, *, successor: bool = False) -> Mapping[str, str]:
        """Versions of the libraries that serve a deployment (or its successor), by import name; empty if not known."""
        ...

    def lacking(self, ref: EndpointRef, deployment: str) -> str | None:
        """What a deployment's model asked for and did not find where it runs, in one sentence; None if nothing is known."""
        ...

    def call_successor(self, ref: EndpointRef, deployment: str, records: Sequence[Any], token: str | None) -> list[Any]:
        """A plain call to runners in the model's own environment that have no traffic yet; raises as `call` does."""
        ...

    def take_over(self, ref: EndpointRef, deployment: str) -> None:
        """Give the traffic of a deployment to its successor, and let those before it end what they hold."""
        ...

    def refuse_successor(self, ref: EndpointRef, deployment: str, failure: Failure) -> None:
        """What waits to take over does not do: it ends, and what serves goes on."""
        ...

    def environments(self) -> list[EnvironmentInfo]:
        """Environments of models: those that were built here, and those that are to be."""
        ...

    def prune_environments(self) -> list[EnvironmentInfo]:
        """Remove those that no deployment uses; what was removed."""
        ...

    def route(self, plan: RoutePlan) -> None:
        """Put traffic where the plan says; returns when it is in force. Raises TargetUnavailableError."""
        ...

    def remove(self, ref: EndpointRef, deployment: str) -> None:
        """Drain and end a deployment's runners, and forget it; nothing if there is none."""
        ...

    def call(self, path: str, records: Sequence[Any], token: str | None) -> list[Any]:
        """A plain call through the gateway: `path` below its base. Raises ReadinessFailedError with the answer's code."""
        ...

    def metrics(self, ref: EndpointRef) -> EndpointMetrics:
        """Calls of the endpoint."""
        ...

    def logs(self, ref: EndpointRef, deployment: str | None, lines: int, follow: bool) -> Iterator[LogLine]:
        """The end of the runners' logs, and what comes if `follow`."""
        ...

    def maintain(self) -> set[EndpointRef]:
        """Called every second: look after what runs (restart, memory); the endpoints whose observation changed."""
        ...

    def revoke(self, token_ids: Sequence[str]) -> None:
        """Endpoint tokens that no runner may accept any more (the complete list)."""
        ...

    def end(self) -> None:
        """The server stops: give up what is being prepared, leaving nothing half; what runs goes on."""
        ...


PARITY_PATH = "model_platform/parity.json"
"""Where publish keeps the parity sample, below the version's folder."""
