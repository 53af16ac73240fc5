"""The platform's resources as Python calls: one method for each thing the REST API can do for us."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, TypeAdapter

from model_platform.beside import Beside
from model_platform.config import Address, find_address, state_directory
from model_platform.display.progress import Progress
from model_platform.embedded.launcher import ensure
from model_platform.rest import Access, Rest
from model_platform_core.cards import ModelCard
from model_platform_core.errors import EndpointNotFoundError, ForbiddenError, IntegrityFailedError
from model_platform_core.models import FileEntry, ModelVersion, RegisteredModel
from model_platform_core.refs import EndpointRef, ModelRef, VersionRef
from model_platform_core.wire import (
    ActorInfo,
    ActorRequest,
    AliasTarget,
    CardRevision,
    DeletedVersion,
    DeployRequest,
    EndpointMetrics,
    EndpointResource,
    EnvironmentInfo,
    LineageCompletion,
    LogLine,
    Page,
    RegisterVersion,
    TokenCreated,
    TokenInfo,
    TokenRequest,
    UploadStart,
    UploadStatus,
    WhoAmI,
    ZoneUsage,
)
from model_platform_core.zones import Zone

Body = TypeVar("Body", bound=BaseModel)
Item = TypeVar("Item")

_BLOCK_BYTES = 1 << 20
_OWN_TOKEN_DAYS = 1.0


class Client:
    """A connection to a platform server. Made by `mp.connect()`; safe to share between threads.

    `zone` is where names without a zone are meant; None means the actor's home zone.
    """

    def __init__(self, address: Address, rest: Rest) -> None:
        self.address = address
        self.rest = rest
        self.beside = Beside()
        self._zone = address.zone
        self._endpoint_tokens: dict[EndpointRef, str] = {}

    @classmethod
    def at(cls, address: Address, state: Path | None = None) -> Self:
        """A client for an address; the embedded server is found, or started, at the first request."""
        if address.server is not None:
            access = Access(address.server, address.token)
            return cls(address, Rest(lambda: access))
        return cls(address, Rest(lambda: _embedded(state or state_directory())))

    def close(self) -> None:
        """Bring what still goes on beside to its end, and close the connection."""
        self.beside.close()
        self.rest.close()

    # ---------------------------------------------------------------- who and where

    @cached_property
    def me(self) -> WhoAmI:
        """Who the token speaks for, read once."""
        return self.whoami()

    def whoami(self) -> WhoAmI:
        """Who the token speaks for, and what the server can do."""
        return self._get(WhoAmI, "/whoami")

    @property
    def zone(self) -> str:
        """The zone where bare names are meant.

        Raises
        ------
        ForbiddenError
            If none was chosen and the actor has no home zone.
        """
        zone = self._zone or self.me.home_zone
        if zone is None:
            raise ForbiddenError(
                f"{self.me.actor} has no home zone; say which zone is meant.", hint="set MP_ZONE, or mp zone use NAME"
            )
        return zone

    def use_zone(self, zone: str) -> None:
        """Mean this zone from now on, in this process."""
        self._get(Zone, f"/zones/{zone}")
        self._zone = zone

    def zones(self) -> list[Zone]:
        """The zones that the actor may see."""
        return self._page(Zone, "/zones")

    def get_zone(self, zone: str) -> Zone:
        """One zone."""
        return self._get(Zone, f"/zones/{zone}")

    def usage(self, zone: str) -> ZoneUsage:
        """What is used of a zone and what is left."""
        return self._get(ZoneUsage, f"/zones/{zone}/usage")

    # ---------------------------------------------------------------- models

    def models(self, query: str | None = None, zone: str | None = None) -> list[RegisteredModel]:
        """Models by full name."""
        return self._page(RegisteredModel, "/models", q=query, zone=zone)

    def model(self, name: str) -> RegisteredModel:
        """One model."""
        return self._get(RegisteredModel, f"/models/{self._model(ModelRef.parse(name))}")

    def versions(self, name: str, limit: int = 100) -> list[ModelVersion]:
        """The newest versions of a model, newest first."""
        path = f"/models/{self._model(ModelRef.parse(name))}/versions"
        return self._get(Page[ModelVersion], path, limit=limit).items

    def version(self, ref: VersionRef) -> ModelVersion:
        """One version by number, by alias, or the newest."""
        return self._get(ModelVersion, self._version_path(ref))

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Let an alias mean a version."""
        path = f"/models/{self._model(ModelRef.parse(name))}/aliases/{alias}"
        self.rest.call("PUT", path, json=AliasTarget(version=version).model_dump(mode="json"))

    def delete_version(self, ref: VersionRef) -> DeletedVersion:
        """Delete a version that nothing refers to."""
        answer = self.rest.call("DELETE", self._version_path(ref), repeatable=False)
        return DeletedVersion.model_validate_json(answer.content)

    def restore_version(self, ref: VersionRef) -> ModelVersion:
        """Bring a deleted version back."""
        answer = self.rest.call("POST", f"{self._version_path(ref)}/restore", repeatable=True)
        return ModelVersion.model_validate_json(answer.content)

    def card(self, ref: VersionRef) -> CardRevision:
        """The newest revision of a version's card."""
        return self._get(CardRevision, self._version_path(ref) + "/card")

    def revise_card(self, ref: VersionRef, card: ModelCard, revision: int) -> CardRevision:
        """Write the revision after `revision`."""
        body = card.model_dump(mode="json", exclude_defaults=True)
        answer = self.rest.call(
            "PUT",
            self._version_path(ref) + "/card",
            json=body,
            headers={"If-Match": f'"{revision}"'},
            repeatable=False,
        )
        return CardRevision.model_validate_json(answer.content)

    def download(self, version: ModelVersion, file: FileEntry, target: Path) -> None:
        """One file of a version, its digest verified before it gets its name.

        Raises
        ------
        IntegrityFailedError
            If the bytes are not those that were published.
        """
        path = f"/models/{version.full_name}/versions/{version.version}/files/{file.path}"
        target.parent.mkdir(parents=True, exist_ok=True)
        partial, digest = target.with_name(target.name + ".partial"), hashlib.sha256()
        with self.rest.stream("GET", path) as answer, partial.open("wb") as output:
            for block in answer.iter_bytes(_BLOCK_BYTES):
                digest.update(block)
                output.write(block)
        if f"sha256:{digest.hexdigest()}" != file.sha256:
            partial.unlink()
            raise IntegrityFailedError(
                f"{file.path} of {version.name} version {version.version} is not what was published; nothing was loaded.",
                hint="tell the platform's engineers: bytes at rest have changed",
            )
        partial.rename(target)

    # ---------------------------------------------------------------- publishing

    def start_upload(self, model: str, files: list[FileEntry]) -> UploadStatus:
        """Announce files."""
        return self._send(UploadStatus, "POST", "/uploads", UploadStart(model=model, files=files))

    def upload_status(self, upload: str) -> UploadStatus:
        """What has come."""
        return self._get(UploadStatus, f"/uploads/{upload}")

    def send_bytes(self, upload: str, path: str, offset: int, blocks: Callable[[], Iterator[bytes]]) -> None:
        """Bytes of one file from an offset on; raises ServerUnavailableError when the connection breaks."""
        self.rest.call("PUT", f"/uploads/{upload}/files/{path}", params={"offset": offset}, content=blocks)

    def finish_upload(self, upload: str) -> UploadStatus:
        """Have every digest checked."""
        answer = self.rest.call("POST", f"/uploads/{upload}/finish", repeatable=True)
        return UploadStatus.model_validate_json(answer.content)

    def discard_upload(self, upload: str) -> None:
        """Give an upload up."""
        self.rest.call("DELETE", f"/uploads/{upload}")

    def register(self, model: str, request: RegisterVersion, key: str) -> ModelVersion:
        """Make a version; the same key never makes a second one, so a lost answer is asked for again."""
        return self._send(
            ModelVersion,
            "POST",
            f"/models/{model}/versions",
            request,
            headers={"Idempotency-Key": key},
            repeatable=True,
        )

    def complete_lineage(self, ref: VersionRef, completion: LineageCompletion) -> ModelVersion:
        """Add what became known after the publish; the same again changes nothing."""
        path = self._version_path(ref) + "/lineage"
        return self._send(ModelVersion, "PATCH", path, completion, repeatable=True)

    # ---------------------------------------------------------------- endpoints

    def endpoints(self, zone: str) -> list[EndpointResource]:
        """The endpoints of a zone."""
        return self._page(EndpointResource, "/endpoints", zone=zone)

    def endpoint(self, ref: EndpointRef) -> EndpointResource:
        """One endpoint."""
        return self._get(EndpointResource, self._endpoint_path(ref))

    def endpoint_if_any(self, ref: EndpointRef) -> EndpointResource | None:
        """One endpoint; None if there is none."""
        try:
            return self.endpoint(ref)
        except EndpointNotFoundError:
            return None

    def follow(self, resource: EndpointResource, wait: float = 10.0) -> Iterator[EndpointResource]:
        """The endpoint each time its status changes, until the newest spec has been acted on to its end."""
        path, since = self._endpoint_path(EndpointRef(resource.zone, resource.name)), ""
        while True:
            answer = self.rest.call("GET", path, params={"wait": wait, "since": since} if since else None, timeout=wait)
            since = answer.headers.get("X-Status", "")
            found = EndpointResource.model_validate_json(answer.content)
            yield found
            if found.settled:
                return

    def deploy(self, ref: EndpointRef, request: DeployRequest, etag: str | None) -> EndpointResource:
        """Write the spec of an endpoint as it was read, or of a new one (`etag` None)."""
        headers = {"If-Match": f'"{etag}"'} if etag else {"If-None-Match": "*"}
        path = self._endpoint_path(ref)
        return self._send(EndpointResource, "PUT", path, request, headers=headers, repeatable=False)

    def act(self, ref: EndpointRef, action: str) -> EndpointResource:
        """`rollback`, `stop` or `start`."""
        answer = self.rest.call("POST", f"{self._endpoint_path(ref)}/{action}")
        return EndpointResource.model_validate_json(answer.content)

    def delete_endpoint(self, ref: EndpointRef) -> None:
        """Delete an endpoint and end what runs behind it."""
        self.rest.call("DELETE", self._endpoint_path(ref), repeatable=False)

    def environments(self) -> list[EnvironmentInfo]:
        """Environments of models: those that were built, and those that are to be."""
        return self._page(EnvironmentInfo, "/environments")

    def prune_environments(self) -> list[EnvironmentInfo]:
        """Remove those that nothing uses; what was removed."""
        answer = self.rest.call("POST", "/environments/prune", repeatable=False)
        return Page[EnvironmentInfo].model_validate_json(answer.content).items

    def metrics(self, ref: EndpointRef) -> EndpointMetrics:
        """Calls, latencies and errors of an endpoint."""
        return self._get(EndpointMetrics, f"{self._endpoint_path(ref)}/metrics")

    def logs(self, ref: EndpointRef, lines: int, *, follow: bool = False) -> Iterator[LogLine]:
        """The end of the runners' logs, and what comes."""
        params = {"lines": lines, "follow": str(follow).lower()}
        with self.rest.stream("GET", f"{self._endpoint_path(ref)}/logs", params=params) as answer:
            for line in answer.iter_lines():
                if line.strip():
                    yield LogLine.model_validate_json(line)

    # ---------------------------------------------------------------- people and tokens

    def create_token(self, request: TokenRequest) -> TokenCreated:
        """A new token; its secret is shown once."""
        return self._send(TokenCreated, "POST", "/tokens", request)

    def endpoint_token(self, ref: EndpointRef, *, renew: bool = False) -> str:
        """A token of this process for calling an endpoint: made once, kept in memory alone."""
        if renew or ref not in self._endpoint_tokens:
            request = TokenRequest(name="notebook", endpoint=str(ref), days=_OWN_TOKEN_DAYS)
            self._endpoint_tokens[ref] = self.create_token(request).token
        return self._endpoint_tokens[ref]

    def tokens(self, endpoint: str | None = None) -> list[TokenInfo]:
        """One's own tokens, or those that call an endpoint; without secrets."""
        return self._page(TokenInfo, "/tokens", endpoint=endpoint)

    def revoke_token(self, token: str) -> None:
        """Revoke a token by its id."""
        self.rest.call("DELETE", f"/tokens/{token}")

    def actors(self) -> list[ActorInfo]:
        """Everybody the server knows."""
        return self._page(ActorInfo, "/actors")

    def put_actor(self, request: ActorRequest) -> ActorInfo:
        """Create or change a person or a service."""
        return self._send(ActorInfo, "PUT", f"/actors/{request.name}", request)

    # ---------------------------------------------------------------- names

    def endpoint_ref(self, text: str) -> EndpointRef:
        """`churn` or `zone/churn`, with its zone."""
        ref = EndpointRef.parse(text)
        return ref if ref.zone else ref.within(self.zone)

    def version_ref(self, text: str) -> VersionRef:
        """`churn`, `churn:3` or `churn@champion`, with its zone."""
        ref = VersionRef.parse(text)
        return ref if ref.model.zone else ref.within(self.zone)

    def _model(self, ref: ModelRef) -> str:
        return str(ref if ref.zone else ref.within(self.zone))

    def _version_path(self, ref: VersionRef) -> str:
        which = f"@{ref.alias}" if ref.alias else str(ref.version or "latest")
        return f"/models/{self._model(ref.model)}/versions/{which}"

    def _endpoint_path(self, ref: EndpointRef) -> str:
        return f"/endpoints/{ref.zone or self.zone}/{ref.name}"

    # ---------------------------------------------------------------- wire

    def _get(self, kind: type[Body], path: str, **params: Any) -> Body:
        return kind.model_validate_json(self.rest.call("GET", path, params=params).content)

    def _send(
        self,
        kind: type[Body],
        method: str,
        path: str,
        body: BaseModel,
        headers: dict[str, str] | None = None,
        repeatable: bool | None = None,
    ) -> Body:
        answer = self.rest.call(method, path, json=body.model_dump(mode="json"), headers=headers, repeatable=repeatable)
        return kind.model_validate_json(answer.content)

    def _page(self, item: type[Item], path: str, **params: Any) -> list[Item]:
        kind, found, cursor = TypeAdapter(Page[item]), list[Item](), None  # type: ignore[valid-type]
        while True:
            page = kind.validate_json(self.rest.call("GET", path, params={**params, "cursor": cursor}).content)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found


def _embedded(state: Path) -> Access:
    with Progress("Model Platform") as progress:
        running = ensure(state, progress)
    return Access(running.discovery.url, running.token, running.discovery)


_current: Client | None = None


def connect(server: str | None = None, *, token: str | None = None, zone: str | None = None) -> Client:
    """Connect this process to a platform server, and use it from now on.

    The server is the one given, else that of `MP_SERVER`, of `model-platform.toml` in this directory or above, of the
    user's configuration; without any a private one runs on this machine and is started when it is first needed.

    Parameters
    ----------
    server
        Its address, `https://…`.
    token
        Who you are; by default `MP_TOKEN`, or what the user's configuration holds for this server.
    zone
        Where names without a zone are meant; by default your home zone.
    """
    global _current  # noqa: PLW0603
    client = Client.at(find_address(server, token, zone))
    try:
        client.me  # noqa: B018 - a wrong address or token is told here, not at the first publish
    except BaseException:
        client.close()
        raise
    if _current is not None:
        _current.close()
    _current = client
    return client


def current() -> Client:
    """The connection of this process, made now if there is none."""
    return _current or connect()


def current_if_any() -> Client | None:
    """The connection of this process, if there is one."""
    return _current
