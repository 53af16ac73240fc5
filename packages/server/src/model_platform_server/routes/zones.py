"""`/zones`."""

from __future__ import annotations

from fastapi import APIRouter, Response

from model_platform_core.wire import Page, Preflight, PreflightRequest, ZoneUsage
from model_platform_core.zones import Zone, ZoneSpec
from model_platform_server.routes.common import ActorOf, PlatformOf
from model_platform_server.services import zones

router = APIRouter(prefix="/zones", tags=["zones"])


@router.get("")
def list_zones(platform: PlatformOf, actor: ActorOf) -> Page[Zone]:
    """The zones that the actor may see."""
    return Page(items=zones.list_zones(platform, actor))


@router.get("/{zone}")
def get_zone(platform: PlatformOf, actor: ActorOf, zone: str) -> Zone:
    """One zone."""
    return zones.readable_zone(platform, actor, zone)


@router.put("/{zone}")
def put_zone(platform: PlatformOf, actor: ActorOf, zone: str, spec: ZoneSpec) -> Zone:
    """Create or resize a zone."""
    return zones.put_zone(platform, actor, zone, spec)


@router.delete("/{zone}", status_code=204)
def delete_zone(platform: PlatformOf, actor: ActorOf, zone: str) -> Response:
    """Delete a zone in which nothing is left."""
    zones.delete_zone(platform, actor, zone)
    return Response(status_code=204)


@router.get("/{zone}/usage")
def get_usage(platform: PlatformOf, actor: ActorOf, zone: str) -> ZoneUsage:
    """What is used of a zone and what is left."""
    return zones.usage(platform, actor, zone)


@router.post("/{zone}/preflight")
def preflight(platform: PlatformOf, actor: ActorOf, zone: str, request: PreflightRequest) -> Preflight:
    """Whether a deployment would fit, and what to stop if it does not."""
    return zones.preflight(platform, actor, zone, request)
