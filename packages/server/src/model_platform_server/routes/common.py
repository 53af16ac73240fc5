"""What every route needs: the platform and the actor, put into the request's scope by `app`."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header, Path, Query, Request

from model_platform_core.access import Actor
from model_platform_core.errors import InvalidError
from model_platform_core.refs import EndpointRef, ModelRef, VersionRef, check_name
from model_platform_server.services.platform import Platform


def _platform(request: Request) -> Platform:
    platform: Platform = request.app.state.platform
    return platform


def _actor(request: Request) -> Actor:
    actor: Actor = request.scope["actor"]
    return actor


def _endpoint(zone: Annotated[str, Path()], name: Annotated[str, Path()]) -> EndpointRef:
    return EndpointRef(check_name("zone", zone), check_name("endpoint", name))


def _version(model: Annotated[str, Path()], version: Annotated[str, Path()]) -> VersionRef:
    """A version in a path: its number, `latest`, or `@alias`."""
    reference = ModelRef.parse(model)
    if version == "latest":
        return VersionRef(reference)
    if version.startswith("@"):
        return VersionRef(reference, alias=check_name("alias", version[1:]))
    return VersionRef.parse(f"{model}:{version}")


PlatformOf = Annotated[Platform, Depends(_platform)]
ActorOf = Annotated[Actor, Depends(_actor)]
EndpointOf = Annotated[EndpointRef, Depends(_endpoint)]
VersionOf = Annotated[VersionRef, Depends(_version)]
Limit = Annotated[int, Query(ge=1, le=1000)]
Cursor = Annotated[str | None, Query(max_length=500)]
IfMatch = Annotated[str | None, Header(max_length=200)]
IfNoneMatch = Annotated[str | None, Header(max_length=200)]
IdempotencyKey = Annotated[str | None, Header(max_length=200)]


def etag_of(header: str | None) -> str | None:
    """The etag in an `If-Match` header, without quotes."""
    return header.strip().removeprefix("W/").strip('"') if header else None


def revision_of(header: str | None) -> int | None:
    """The revision in an `If-Match` header.

    Raises
    ------
    InvalidError
        If it is no number.
    """
    text = etag_of(header)
    if text is None:
        return None
    if not text.isdigit():
        raise InvalidError(f"If-Match holds the card's revision, a number, not {text!r}.")
    return int(text)
