"""The only place that joins ports to adapters."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from model_platform_server.adapters.database.actors import SqlActors
from model_platform_server.adapters.database.answers import SqlAnswers
from model_platform_server.adapters.database.catalogue import SqlCatalogue
from model_platform_server.adapters.database.endpoints import SqlEndpoints
from model_platform_server.adapters.database.engine import Database, migrate
from model_platform_server.adapters.database.event_store import SqlEvents
from model_platform_server.adapters.database.zones import SqlZones
from model_platform_server.adapters.files.uploads import FileUploads
from model_platform_server.adapters.keys.signing import SigningKeys
from model_platform_server.adapters.local.settings import EnvironmentPolicy
from model_platform_server.adapters.local.target import LocalTarget
from model_platform_server.adapters.mlflow.registry import MlflowRegistry
from model_platform_server.reconcile.loop import Reconciler
from model_platform_server.services.platform import Platform
from model_platform_server.settings import Settings


class SystemClock:
    """The machine's clock."""

    def now(self) -> dt.datetime:
        """The time in UTC."""
        return dt.datetime.now(dt.UTC)


@dataclass(frozen=True)
class Composition:
    """The platform and what runs beside its routes."""

    platform: Platform
    registry: MlflowRegistry
    reconciler: Reconciler


def compose(settings: Settings) -> Composition:
    """Join everything for these settings; the database is brought up to date first."""
    state = settings.state.resolve()
    settings.artifacts.mkdir(mode=0o700, exist_ok=True)
    migrate(settings.database)
    database, clock = Database(settings.database), SystemClock()
    policy = EnvironmentPolicy(own=settings.own_environments, after=settings.own_environments_after)
    registry = MlflowRegistry(settings.database, settings.artifacts)
    platform = Platform(
        actors=SqlActors(database, clock),
        zones=SqlZones(database, clock),
        endpoints=SqlEndpoints(database, clock),
        events=SqlEvents(database, clock),
        catalogue=SqlCatalogue(database, clock, settings.artifacts),
        answers=SqlAnswers(database, clock),
        uploads=FileUploads(state / "uploads"),
        registry=registry,
        keys=SigningKeys(state / "endpoint-key.pem"),
        target=LocalTarget(state / "local", gateway_port=settings.gateway_port, policy=policy),
        clock=clock,
    )
    return Composition(platform, registry, Reconciler(platform))
