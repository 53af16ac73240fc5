"""What the looking verbs return: objects to work with, that show themselves as a card."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from model_platform.display import lists
from model_platform.display.card import Card, Span
from model_platform.display.shown import Shown
from model_platform_core.cards import ModelCard
from model_platform_core.models import ModelVersion, RegisteredModel
from model_platform_core.wire import (
    CardRevision,
    EndpointMetrics,
    EndpointResource,
    EnvironmentInfo,
    TokenCreated,
    WhoAmI,
    ZoneUsage,
)

Item = TypeVar("Item")


class _Listed(Shown, Sequence[Item], Generic[Item]):
    def __init__(self, items: Sequence[Item]) -> None:
        self._items = list(items)

    def __getitem__(self, index: Any) -> Any:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)


class ModelList(_Listed[RegisteredModel]):
    """Registered models."""

    def __init__(self, models: Sequence[RegisteredModel], query: str | None, home: str | None) -> None:
        super().__init__(models)
        self._query, self._home = query, home

    def card(self) -> Card:
        """A table of models."""
        return lists.models_card(self._items, self._query, self._home)


class StatusList(_Listed[EndpointResource]):
    """The endpoints of a zone, and how they do."""

    def __init__(
        self,
        zone: str,
        resources: Sequence[EndpointResource],
        metrics: Mapping[str, EndpointMetrics],
        usage: ZoneUsage | None,
    ) -> None:
        super().__init__(resources)
        self._zone, self._metrics, self._usage = zone, metrics, usage
        self._at = dt.datetime.now(dt.UTC)

    def card(self) -> Card:
        """A table of endpoints."""
        return lists.status_card(self._zone, self._items, self._metrics, self._usage, self._at)


class EnvironmentList(_Listed[EnvironmentInfo]):
    """Environments of models; `removed` tells that these are gone now."""

    def __init__(self, environments: Sequence[EnvironmentInfo], *, removed: bool = False) -> None:
        super().__init__(environments)
        self._removed = removed

    def card(self) -> Card:
        """A table of environments."""
        return lists.environments_card(self._items, removed=self._removed)


class CardView(Shown):
    """The model card of a version; `content` is the card itself."""

    def __init__(
        self, version: ModelVersion, revision: CardRevision, also: Sequence[str], before: ModelVersion | None
    ) -> None:
        self._version, self._revision, self._also, self._before = version, revision, also, before

    @property
    def content(self) -> ModelCard:
        """The fields."""
        return self._revision.card

    @property
    def revision(self) -> CardRevision:
        """The revision that is shown."""
        return self._revision

    def card(self) -> Card:
        """The fields as a card."""
        return lists.card_card(self._version, self._revision, self._also, self._before)


class ZoneView(Shown):
    """Where one is, and why."""

    def __init__(
        self, me: WhoAmI, zone: str, usage: ZoneUsage | None, server: str, why: str, others: Sequence[str]
    ) -> None:
        self._me, self._zone, self.usage = me, zone, usage
        self._server, self._why, self._others = server, why, others

    @property
    def name(self) -> str:
        """The zone's name."""
        return self._zone

    @property
    def server(self) -> str:
        """The server's address."""
        return self._server

    @property
    def why(self) -> str:
        """Why this server."""
        return self._why

    def card(self) -> Card:
        """The zone as a card."""
        return lists.zone_card(self._me, self._zone, self.usage, self._server, self._why, self._others)


class NewToken(Shown):
    """A token that was made just now. It shows itself without its secret: outputs of notebooks are saved."""

    def __init__(self, created: TokenCreated) -> None:
        self._created = created

    @property
    def value(self) -> str:
        """The secret; nobody can read it again."""
        return self._created.token

    @property
    def id(self) -> str:
        """By which it is revoked."""
        return self._created.id

    def __repr__(self) -> str:
        return f"<Token {self._created.id}>"

    def card(self) -> Card:
        """What it is for, and until when."""
        until = self._created.expires_at.date().isoformat() if self._created.expires_at else "it is revoked"
        return Card(
            kind="token",
            title="token",
            subtitle=self._created.endpoint or self._created.actor,
            rows=(
                ("secret", "in .value of this object, and nowhere else; a notebook's outputs are saved"),
                ("valid", f"until {until}"),
                ("revoke", Span(f"mp token revoke {self._created.id}", "code")),
            ),
            data=self._created.model_dump(mode="json", exclude={"token"}),
        )


class Deleted(Shown):
    """An endpoint that is gone."""

    def __init__(self, zone: str, name: str) -> None:
        self._zone, self._name = zone, name

    def card(self) -> Card:
        """What was deleted."""
        return Card(
            kind="deleted",
            title=self._name,
            subtitle="deleted",
            rows=(("zone", self._zone), ("models", "its versions are kept")),
            next=(Span(f"%mp_deploy {self._name}", "code"),),
            data={"zone": self._zone, "name": self._name},
        )


class DeletedVersionView(Shown):
    """A version that is gone for now, or back again; `until` says how long it can come back, None if it is back."""

    def __init__(self, zone: str, name: str, version: int, until: dt.datetime | None) -> None:
        self._zone, self._name, self.version, self.until = zone, name, version, until

    @property
    def ref(self) -> str:
        """The version's full name."""
        return f"{self._zone}.{self._name}:{self.version}"

    def card(self) -> Card:
        """What was done, and how to take it back."""
        which = f"{self._name}:{self.version}"
        if self.until is None:
            rows = [("version", "card, files and number are as they were")]
            following, done = f"%mp_deploy {which}", "is back"
        else:
            rows = [
                ("undo", f"until {self.until:%-d %B %Y}; then its files are removed"),
                ("number", "never given again"),
            ]
            following, done = f"%mp_delete {which} --undo", "deleted"
        return Card(
            kind="deleted",
            title=self._name,
            subtitle=f"version {self.version} {done}",
            rows=(("zone", self._zone), *rows),
            next=(Span(following, "code"),),
            data={
                "zone": self._zone,
                "name": self._name,
                "version": self.version,
                "until": self.until.isoformat() if self.until else None,
            },
        )
