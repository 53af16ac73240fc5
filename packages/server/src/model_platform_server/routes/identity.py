"""`/whoami`, `/actors`, `/tokens`."""

from __future__ import annotations

from fastapi import APIRouter

from model_platform_core.errors import InvalidError
from model_platform_core.wire import ActorInfo, ActorRequest, Page, TokenCreated, TokenInfo, TokenRequest, WhoAmI
from model_platform_server.routes.common import ActorOf, PlatformOf
from model_platform_server.services import identity

router = APIRouter(tags=["identity"])


@router.get("/whoami")
def whoami(platform: PlatformOf, actor: ActorOf) -> WhoAmI:
    """Who the token speaks for, and what the server can do."""
    return identity.whoami(platform, actor)


@router.get("/actors")
def list_actors(platform: PlatformOf, actor: ActorOf) -> Page[ActorInfo]:
    """Everybody the server knows."""
    return Page(items=identity.list_actors(platform, actor))


@router.put("/actors/{name}")
def put_actor(platform: PlatformOf, actor: ActorOf, name: str, request: ActorRequest) -> ActorInfo:
    """Create or change a person or a service."""
    if request.name != name:
        raise InvalidError(f"The path names {name} and the body {request.name}; write the same name in both.")
    return identity.put_actor(platform, actor, request)


@router.get("/tokens")
def list_tokens(platform: PlatformOf, actor: ActorOf, endpoint: str | None = None) -> Page[TokenInfo]:
    """One's own tokens, or those that call an endpoint; never their secrets."""
    return Page(items=identity.list_tokens(platform, actor, endpoint))


@router.post("/tokens", status_code=201)
def create_token(platform: PlatformOf, actor: ActorOf, request: TokenRequest) -> TokenCreated:
    """Make a token; its secret is shown once."""
    return identity.create_token(platform, actor, request)


@router.delete("/tokens/{token_id}")
def revoke_token(platform: PlatformOf, actor: ActorOf, token_id: str) -> TokenInfo:
    """Revoke a token."""
    return identity.revoke_token(platform, actor, token_id)
