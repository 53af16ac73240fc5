"""What happened, in the past tense. Ids are given in commit order; a reader that comes back with its last id misses nothing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from model_platform_core.values import Observed


class EventType(StrEnum):
    """Every kind of event."""

    MODEL_REGISTERED = "model_registered"
    MODEL_CHANGED = "model_changed"
    MODEL_DELETED = "model_deleted"
    VERSION_REGISTERED = "version_registered"
    VERSION_CHANGED = "version_changed"
    VERSION_DELETED = "version_deleted"
    VERSION_RESTORED = "version_restored"
    VERSION_PURGED = "version_purged"
    REGISTRATION_REFUSED = "registration_refused"
    ALIAS_SET = "alias_set"
    ALIAS_DELETED = "alias_deleted"
    CARD_REVISED = "card_revised"
    LINEAGE_COMPLETED = "lineage_completed"
    DEPLOYMENT_REQUESTED = "deployment_requested"
    DEPLOYMENT_PROGRESSED = "deployment_progressed"
    ENDPOINT_LIVE = "endpoint_live"
    ENDPOINT_DEGRADED = "endpoint_degraded"
    ENDPOINT_FAILED = "endpoint_failed"
    ENDPOINT_STOPPED = "endpoint_stopped"
    ENDPOINT_DELETED = "endpoint_deleted"
    ENVIRONMENT_TAKEN_OVER = "environment_taken_over"
    ENVIRONMENTS_PRUNED = "environments_pruned"
    ZONE_CREATED = "zone_created"
    ZONE_RESIZED = "zone_resized"
    ZONE_DELETED = "zone_deleted"
    ACTOR_CHANGED = "actor_changed"
    TOKEN_CREATED = "token_created"  # noqa: S105
    TOKEN_REVOKED = "token_revoked"  # noqa: S105


SCHEMA_VERSION: Mapping[EventType, int] = dict.fromkeys(EventType, 1)
"""The version of each event's `data`; it grows when a field changes its meaning."""


class NewEvent(Observed):
    """An event before it is written; its id and time come from the store. `data` never holds rows or secrets."""

    type: EventType
    actor: str
    zone: str | None
    subject: str
    data: dict[str, Any] = {}


class Event(NewEvent):
    """An event as written, in the transaction of what it tells."""

    id: int
    at: dt.datetime
    schema_version: int = 1
