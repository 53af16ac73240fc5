"""Who somebody is, and the tokens that say so."""

from __future__ import annotations

import datetime as dt
import secrets

from model_platform_core.access import EVERY_ZONE, ROLES, Actor, Scope
from model_platform_core.errors import (
    EndpointNotFoundError,
    InvalidError,
    NotFoundError,
    TargetUnavailableError,
    TokenNotFoundError,
)
from model_platform_core.events import EventType, NewEvent
from model_platform_core.refs import EndpointRef, check_name
from model_platform_core.wire import ActorInfo, ActorRequest, TokenCreated, TokenInfo, TokenRequest, WhoAmI
from model_platform_server import __version__
from model_platform_server.services.platform import Platform

ENDPOINT_TOKEN_DAYS = 365.0


def whoami(platform: Platform, actor: Actor) -> WhoAmI:
    """The actor, what it may do where, and what the server can do: without a gateway much, so that is no refusal."""
    target = platform.target.capabilities()
    try:
        gateway_url = platform.target.gateway_url()
    except TargetUnavailableError as error:
        gateway_url, why = "", f"{error.message.rstrip('.')}: {error.hint}" if error.hint else error.message
        target = target.model_copy(update={"missing": (*target.missing, why)})
    return WhoAmI(
        actor=actor.name,
        kind=actor.kind,
        home_zone=actor.home_zone,
        scopes={zone: sorted(scopes) for zone, scopes in actor.grants.items()},
        server_version=__version__,
        targets=[target],
        gateway_url=gateway_url,
        registry_ready=platform.registry.ready(),
    )


def list_actors(platform: Platform, actor: Actor) -> list[ActorInfo]:
    """Everybody the server knows.

    Raises
    ------
    ForbiddenError
        Unless the actor may manage actors.
    """
    actor.require(Scope.ACTORS_MANAGE, EVERY_ZONE)
    return platform.actors.every()


def put_actor(platform: Platform, actor: Actor, request: ActorRequest) -> ActorInfo:
    """Create or change a person or a service.

    Raises
    ------
    ForbiddenError
        Unless the actor may manage actors.
    InvalidError
        If a role is unknown.
    ZoneNotFoundError
        If the home zone or the zone of a role does not exist.
    """
    actor.require(Scope.ACTORS_MANAGE, EVERY_ZONE)
    for role in request.roles.values():
        if role not in ROLES:
            raise InvalidError(f"{role!r} is no role; the roles are {', '.join(ROLES)}.")
    for zone in {request.home_zone, *request.roles} - {None, EVERY_ZONE}:
        platform.zone(check_name("zone", str(zone)))
    data = request.model_dump(mode="json")
    event = NewEvent(type=EventType.ACTOR_CHANGED, actor=actor.name, zone=None, subject=request.name, data=data)
    written = platform.actors.put(request, event)
    platform.changes.notify()
    return written


def create_token(platform: Platform, actor: Actor, request: TokenRequest) -> TokenCreated:
    """A token for the platform (one's own, or another actor's), or for calling one endpoint; shown once.

    Raises
    ------
    ForbiddenError
        If the actor may not make tokens for that other actor, or not predict in the endpoint's zone.
    NotFoundError
        If the other actor or the endpoint does not exist.
    """
    if request.endpoint:
        return _create_endpoint_token(platform, actor, request)
    owner = request.actor or actor.name
    if owner != actor.name:
        actor.require(Scope.ACTORS_MANAGE, EVERY_ZONE)
        if platform.actors.get(owner) is None:
            raise NotFoundError(f"There is no actor {owner}.", hint="mp actor put NAME creates one")
    secret = "mp_" + secrets.token_urlsafe(32)
    info = _token_info(platform, request, owner, request.days)
    return platform.actors.create_token(info, secret, _event(actor, EventType.TOKEN_CREATED, info))


def _create_endpoint_token(platform: Platform, actor: Actor, request: TokenRequest) -> TokenCreated:
    ref = EndpointRef.parse(request.endpoint or "").within(actor.home_zone or "")
    if not actor.may(Scope.ENDPOINTS_READ, ref.zone or "") or platform.endpoints.get(ref) is None:
        raise EndpointNotFoundError(f"There is no endpoint {ref}.", hint="%mp_status lists the endpoints")
    actor.require(Scope.ENDPOINTS_PREDICT, ref.zone or "")
    info = _token_info(platform, request, actor.name, request.days or ENDPOINT_TOKEN_DAYS, str(ref))
    assert info.expires_at is not None
    secret = platform.keys.sign_endpoint_token(str(ref), info.id, actor.name, info.expires_at)
    return platform.actors.create_token(info, secret, _event(actor, EventType.TOKEN_CREATED, info))


def _token_info(
    platform: Platform, request: TokenRequest, owner: str, days: float | None, endpoint: str | None = None
) -> TokenInfo:
    now = platform.clock.now()
    return TokenInfo(
        id=secrets.token_hex(8),
        name=request.name,
        actor=owner,
        endpoint=endpoint,
        created_at=now,
        expires_at=now + dt.timedelta(days=days) if days else None,
    )


def list_tokens(platform: Platform, actor: Actor, endpoint: str | None = None) -> list[TokenInfo]:
    """One's own tokens, or all that call an endpoint of a zone where one may deploy; without secrets."""
    if endpoint is None:
        return platform.actors.tokens(actor=actor.name)
    ref = EndpointRef.parse(endpoint).within(actor.home_zone or "")
    actor.require(Scope.ENDPOINTS_DEPLOY, ref.zone or "")
    return platform.actors.tokens(endpoint=str(ref))


def revoke_token(platform: Platform, actor: Actor, token_id: str) -> TokenInfo:
    """Revoke a token: one's own, one for an endpoint of a zone where one may deploy, or (administrators) any.

    Raises
    ------
    TokenNotFoundError
        If there is none that the actor may revoke.
    """
    info = platform.actors.token(token_id)
    if info is None or not _may_revoke(actor, info):
        raise TokenNotFoundError(f"There is no token {token_id}.", hint="mp token list shows yours")
    revoked = platform.actors.revoke(token_id, _event(actor, EventType.TOKEN_REVOKED, info))
    if info.endpoint:
        platform.target.revoke(platform.actors.revoked_endpoint_tokens())
    return revoked


def revoke_tokens_of(platform: Platform, actor: Actor, ref: EndpointRef) -> None:
    """Revoke every token that calls an endpoint: one that has its name later is another one."""
    for info in platform.actors.tokens(endpoint=str(ref)):
        if not info.revoked:
            platform.actors.revoke(info.id, _event(actor, EventType.TOKEN_REVOKED, info))
    platform.target.revoke(platform.actors.revoked_endpoint_tokens())


def _may_revoke(actor: Actor, info: TokenInfo) -> bool:
    if info.actor == actor.name or actor.may(Scope.ACTORS_MANAGE, EVERY_ZONE):
        return True
    return bool(info.endpoint) and actor.may(Scope.ENDPOINTS_DEPLOY, EndpointRef.parse(info.endpoint or "").zone or "")


def _event(actor: Actor, kind: EventType, info: TokenInfo) -> NewEvent:
    zone = EndpointRef.parse(info.endpoint).zone if info.endpoint else None
    data = {"token": info.id, "name": info.name, "for": info.actor}
    return NewEvent(type=kind, actor=actor.name, zone=zone, subject=info.endpoint or info.actor, data=data)
