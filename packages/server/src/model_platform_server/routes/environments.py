"""`/environments`: where models run."""

from __future__ import annotations

from fastapi import APIRouter

from model_platform_core.wire import EnvironmentInfo, Page
from model_platform_server.routes.common import ActorOf, PlatformOf
from model_platform_server.services import environments

router = APIRouter(prefix="/environments", tags=["environments"])


@router.get("")
def list_environments(platform: PlatformOf, actor: ActorOf) -> Page[EnvironmentInfo]:
    """Environments that were built for models, and those that deployments wait for."""
    return Page(items=environments.list_environments(platform, actor))


@router.post("/prune")
def prune_environments(platform: PlatformOf, actor: ActorOf) -> Page[EnvironmentInfo]:
    """Remove those that no deployment uses; what was removed."""
    return Page(items=environments.prune(platform, actor))
