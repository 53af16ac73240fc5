"""Who may do what: actors, scopes, roles. One table makes the checks, the documentation and the Hub's custom scopes."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from model_platform_core.errors import ForbiddenError
from model_platform_core.refs import ModelRef
from model_platform_core.values import Identifier, Value


class Scope(StrEnum):
    """`resource:action`, always limited to zones."""

    MODELS_READ = "models:read"
    MODELS_PUBLISH = "models:publish"
    MODELS_MANAGE = "models:manage"
    MODELS_RELEASE = "models:release"
    ENDPOINTS_READ = "endpoints:read"
    ENDPOINTS_DEPLOY = "endpoints:deploy"
    ENDPOINTS_PREDICT = "endpoints:predict"
    ZONES_READ = "zones:read"
    ZONES_MANAGE = "zones:manage"
    AUDIT_READ = "audit:read"
    ACTORS_MANAGE = "actors:manage"


SCOPES: Mapping[Scope, str] = {
    Scope.MODELS_READ: "see models, their versions and cards",
    Scope.MODELS_PUBLISH: "publish versions, describe models",
    Scope.MODELS_MANAGE: "move aliases, rename, delete",
    Scope.MODELS_RELEASE: "release versions to this zone",
    Scope.ENDPOINTS_READ: "see endpoints, their state and logs",
    Scope.ENDPOINTS_DEPLOY: "deploy, roll back, stop, delete",
    Scope.ENDPOINTS_PREDICT: "get a token that calls an endpoint",
    Scope.ZONES_READ: "see the zone and its use",
    Scope.ZONES_MANAGE: "create, resize, delete the zone",
    Scope.AUDIT_READ: "see who did what",
    Scope.ACTORS_MANAGE: "add people and services, make tokens for them",
}
"""What each scope allows, in words."""

_VIEWER = frozenset({Scope.MODELS_READ, Scope.ENDPOINTS_READ, Scope.ZONES_READ})
_DEVELOPER = _VIEWER | {
    Scope.MODELS_PUBLISH,
    Scope.MODELS_MANAGE,
    Scope.ENDPOINTS_DEPLOY,
    Scope.ENDPOINTS_PREDICT,
}

ROLES: Mapping[str, frozenset[Scope]] = {
    "viewer": _VIEWER,
    "developer": _DEVELOPER,
    "releaser": _VIEWER | {Scope.MODELS_RELEASE, Scope.ENDPOINTS_DEPLOY},
    "zone-admin": _DEVELOPER | {Scope.MODELS_RELEASE, Scope.ZONES_MANAGE, Scope.AUDIT_READ},
    "platform-admin": frozenset(Scope),
}
"""Scopes collected into what people are."""

EVERY_ZONE = "*"


class ActorKind(StrEnum):
    """Who an actor is."""

    PERSON = "person"
    SERVICE = "service"


class Actor(Value):
    """A person or a service, its home zone and what it may do where.

    `grants` maps a zone's name, or `*` for every zone, to scopes.
    """

    name: Identifier
    kind: ActorKind = ActorKind.PERSON
    home_zone: str | None = None
    grants: dict[str, frozenset[Scope]] = {}

    def may(self, scope: Scope, zone: str) -> bool:
        """Whether the actor holds the scope in the zone."""
        return any(scope in self.grants.get(where, frozenset()) for where in (zone, EVERY_ZONE))

    def require(self, scope: Scope, zone: str) -> None:
        """Nothing, or the refusal.

        Raises
        ------
        ForbiddenError
            Says which scope is missing in which zone.
        """
        if not self.may(scope, zone):
            raise ForbiddenError(
                f"{self.name} may not {SCOPES[scope].split(',')[0]} in zone {zone}: the scope {scope} is missing.",
                hint=f"ask the administrator of {zone} for the scope {scope}",
            )

    def zones(self, scope: Scope) -> frozenset[str] | None:
        """The zones where the actor holds the scope; None means every zone."""
        if scope in self.grants.get(EVERY_ZONE, frozenset()):
            return None
        return frozenset(zone for zone, scopes in self.grants.items() if scope in scopes)

    def qualify(self, name: str) -> ModelRef:
        """A model's full name; a bare name means the actor's home zone.

        Raises
        ------
        ForbiddenError
            If the name is bare and the actor has no home zone.
        """
        reference = ModelRef.parse(name)
        if reference.zone or self.home_zone:
            return reference.within(self.home_zone or "")
        raise ForbiddenError(f"{self.name} has no home zone; write zone.{name} instead of {name}.")


SYSTEM = Actor(name="system", kind=ActorKind.SERVICE, grants={EVERY_ZONE: frozenset(Scope)})
"""The platform itself, at start-up and in the background."""
