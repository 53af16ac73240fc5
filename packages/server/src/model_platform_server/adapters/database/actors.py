"""People, services and their tokens."""

from __future__ import annotations

import hashlib
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from model_platform_core.access import ROLES, Actor
from model_platform_core.errors import NotFoundError, TokenNotFoundError
from model_platform_core.events import NewEvent
from model_platform_core.wire import ActorInfo, ActorRequest, TokenCreated, TokenInfo
from model_platform_server.adapters.database.engine import Database
from model_platform_server.adapters.database.events import write_events
from model_platform_server.adapters.database.tables import actors, tokens
from model_platform_server.ports import Clock


def _hashed(secret: str) -> str:
    # Tokens are long random texts, so a plain SHA-256 cannot be guessed back; a slow hash would only slow every call.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _actor(row: sa.RowMapping) -> Actor:
    # A role that a newer version knew and this one does not gives nothing.
    grants = {zone: ROLES.get(role, frozenset()) for zone, role in row["roles"].items()}
    return Actor(name=row["name"], kind=row["kind"], home_zone=row["home_zone"], grants=grants)


def _token(row: sa.RowMapping) -> TokenInfo:
    return TokenInfo(**{**row, "revoked": row["revoked_at"] is not None})


class SqlActors:
    """The ActorStore in SQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def by_token(self, token: str) -> Actor | None:
        """Whose token this is; None if it is unknown, expired or revoked, or only calls an endpoint.

        The row is looked up by the token's SHA-256. How long that takes tells at most something about the hash, from
        which nobody can work towards the token; the token itself is never compared.
        """
        query = (
            sa.select(actors)
            .join(tokens, tokens.c.actor == actors.c.name)
            .where(tokens.c.sha256 == _hashed(token), tokens.c.endpoint.is_(None), self._valid())
        )
        with self._database.read() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return _actor(row) if row else None

    def _valid(self) -> sa.ColumnElement[bool]:
        return tokens.c.revoked_at.is_(None) & self._unexpired()

    def _unexpired(self) -> sa.ColumnElement[bool]:
        return tokens.c.expires_at.is_(None) | (tokens.c.expires_at > self._clock.now())

    def get(self, name: str) -> Actor | None:
        """The actor of that name."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(actors).where(actors.c.name == name)).mappings().one_or_none()
        return _actor(row) if row else None

    def put(self, request: ActorRequest, *events: NewEvent) -> ActorInfo:
        """Create or change an actor."""
        values: dict[str, Any] = request.model_dump(mode="json")
        known = sa.update(actors).where(actors.c.name == request.name).values(values)
        new = sa.insert(actors).values(values | {"created_at": self._clock.now()})
        with self._database.write() as connection:
            if connection.execute(known).rowcount == 0:
                try:
                    with connection.begin_nested():
                        connection.execute(new)
                except IntegrityError:  # somebody has created it meanwhile: the last one to write wins
                    connection.execute(known)
            write_events(connection, events, self._clock.now())
        return ActorInfo.model_validate(values)

    def every(self) -> list[ActorInfo]:
        """Every actor, by name."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(actors).order_by(actors.c.name)).mappings().all()
        return [ActorInfo.model_validate(dict(row)) for row in rows]

    def create_token(self, info: TokenInfo, secret: str, *events: NewEvent) -> TokenCreated:
        """Keep the token's SHA-256 and what is known of it; raises NotFoundError if there is no such actor."""
        values = info.model_dump(exclude={"revoked"}) | {"sha256": _hashed(secret)}
        try:
            with self._database.write() as connection:
                connection.execute(sa.insert(tokens).values(values))
                write_events(connection, events, self._clock.now())
        except IntegrityError:
            raise NotFoundError(f"There is no actor {info.actor}.", hint="mp actor put NAME creates one") from None
        return TokenCreated(**info.model_dump(), token=secret)

    def tokens(self, *, actor: str | None = None, endpoint: str | None = None) -> list[TokenInfo]:
        """The tokens of an actor or for an endpoint (`zone/endpoint`), newest first."""
        query = sa.select(tokens).order_by(tokens.c.created_at.desc(), tokens.c.id)
        if actor is not None:
            query = query.where(tokens.c.actor == actor)
        if endpoint is not None:
            query = query.where(tokens.c.endpoint == endpoint)
        with self._database.read() as connection:
            return [_token(row) for row in connection.execute(query).mappings()]

    def token(self, token_id: str) -> TokenInfo | None:
        """One token."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(tokens).where(tokens.c.id == token_id)).mappings().one_or_none()
        return _token(row) if row else None

    def revoke(self, token_id: str, *events: NewEvent) -> TokenInfo:
        """Revoke; raises TokenNotFoundError."""
        found = tokens.c.id == token_id
        with self._database.write() as connection:
            connection.execute(
                sa.update(tokens).where(found, tokens.c.revoked_at.is_(None)).values(revoked_at=self._clock.now())
            )
            row = connection.execute(sa.select(tokens).where(found)).mappings().one_or_none()
            if row is not None:
                write_events(connection, events, self._clock.now())
        if row is None:
            raise TokenNotFoundError(f"There is no token {token_id}.", hint="mp token list shows yours")
        return _token(row)

    def revoked_endpoint_tokens(self) -> list[str]:
        """Ids of the endpoint tokens that are revoked and have not expired."""
        query = sa.select(tokens.c.id).where(
            tokens.c.endpoint.is_not(None), tokens.c.revoked_at.is_not(None), self._unexpired()
        )
        with self._database.read() as connection:
            return sorted(connection.execute(query).scalars())
