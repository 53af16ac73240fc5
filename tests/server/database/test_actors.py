from __future__ import annotations

import datetime as dt
import secrets
import threading
from typing import Any

import pytest
import sqlalchemy as sa

from model_platform_core.access import EVERY_ZONE, ActorKind, Scope
from model_platform_core.errors import NotFoundError, TokenNotFoundError
from model_platform_core.wire import ActorRequest, TokenCreated, TokenInfo
from model_platform_server.adapters.database.actors import SqlActors
from model_platform_server.adapters.database.engine import Database
from model_platform_server.adapters.database.tables import tokens


def make_token(actors: SqlActors, clock: Any, **known: Any) -> TokenCreated:
    info = {"id": secrets.token_hex(8), "name": "laptop", "actor": "alice", "created_at": clock.now(), **known}
    return actors.create_token(TokenInfo(**info), "mp_" + secrets.token_urlsafe(32))


def test_a_token_speaks_for_its_actor_with_the_scopes_of_its_roles(actors: SqlActors, clock: Any) -> None:
    created = make_token(actors, clock)
    found = actors.by_token(created.token)
    assert found is not None
    assert (found.name, found.kind, found.home_zone) == ("alice", ActorKind.PERSON, "dev-alice")
    assert found.may(Scope.MODELS_PUBLISH, "dev-alice")
    assert not found.may(Scope.MODELS_READ, "risk")
    assert found == actors.get("alice")


def test_the_secret_is_nowhere_in_the_database(actors: SqlActors, clock: Any, database: Database) -> None:
    created = make_token(actors, clock)
    with database.read() as connection:
        row = connection.execute(sa.select(tokens)).one()
    assert created.token not in " ".join(map(str, row))
    assert len(row.sha256) == 64


@pytest.mark.parametrize("wrong", ["", "mp_", "mp_nothing", "\x00", "\udcff", "x" * 100_000])
def test_an_unknown_token_speaks_for_nobody(actors: SqlActors, clock: Any, wrong: str) -> None:
    make_token(actors, clock)
    assert actors.by_token(wrong) is None


def test_the_stored_hash_is_no_token(actors: SqlActors, clock: Any, database: Database) -> None:
    make_token(actors, clock)
    with database.read() as connection:
        hashed = connection.execute(sa.select(tokens.c.sha256)).scalar_one()
    assert actors.by_token(hashed) is None


def test_a_token_ends_at_its_expiry(actors: SqlActors, clock: Any) -> None:
    created = make_token(actors, clock, expires_at=clock.now() + dt.timedelta(days=1))
    clock.move(hours=23.99)
    assert actors.by_token(created.token) is not None
    clock.move(hours=0.01)
    assert actors.by_token(created.token) is None


def test_a_revoked_token_speaks_for_nobody_and_stays_revoked_since_the_first_time(
    actors: SqlActors, clock: Any, database: Database
) -> None:
    created, other = make_token(actors, clock), make_token(actors, clock)
    assert actors.revoke(created.id).revoked
    first = clock.now()
    clock.move(days=1)
    assert actors.revoke(created.id).revoked
    assert actors.by_token(created.token) is None
    assert actors.by_token(other.token) is not None
    with database.read() as connection:
        assert connection.execute(sa.select(tokens.c.revoked_at).where(tokens.c.id == created.id)).scalar_one() == first
    with pytest.raises(TokenNotFoundError, match="no token nonsense"):
        actors.revoke("nonsense")


def test_a_token_for_an_endpoint_opens_no_api(actors: SqlActors, clock: Any) -> None:
    created = make_token(actors, clock, endpoint="dev-alice/churn")
    assert actors.by_token(created.token) is None
    assert [token.id for token in actors.tokens(endpoint="dev-alice/churn")] == [created.id]
    assert actors.tokens(endpoint="dev-alice/chur") == []


def test_runners_are_told_of_revoked_endpoint_tokens_until_they_expire(actors: SqlActors, clock: Any) -> None:
    tomorrow = clock.now() + dt.timedelta(days=1)
    ending, endless = (make_token(actors, clock, endpoint="dev-alice/churn", expires_at=at) for at in (tomorrow, None))
    platform, good = make_token(actors, clock), make_token(actors, clock, endpoint="dev-alice/churn")
    for token in (ending, endless, platform):
        actors.revoke(token.id)
    assert actors.revoked_endpoint_tokens() == sorted([ending.id, endless.id])
    clock.move(days=2)
    assert actors.revoked_endpoint_tokens() == [endless.id]
    assert not actors.token(good.id).revoked  # type: ignore[union-attr]


def test_tokens_are_listed_newest_first_without_their_secrets(actors: SqlActors, clock: Any) -> None:
    actors.put(ActorRequest(name="bob"))
    make_token(actors, clock, actor="bob")
    made = []
    for name in ("first", "second", "third"):
        clock.move(minutes=1)
        made.append(make_token(actors, clock, name=name))
    listed = actors.tokens(actor="alice")
    assert [token.name for token in listed] == ["third", "second", "first"]
    assert listed[0] == TokenInfo(**made[2].model_dump(exclude={"token"}))
    assert actors.token(made[0].id) == listed[2]
    assert actors.token("nonsense") is None


def test_nobody_gets_a_token(actors: SqlActors, clock: Any) -> None:
    with pytest.raises(NotFoundError, match="no actor carol"):
        make_token(actors, clock, actor="carol")


def test_an_actor_is_changed_as_a_whole(actors: SqlActors) -> None:
    changed = actors.put(ActorRequest(name="alice", kind=ActorKind.SERVICE, roles={EVERY_ZONE: "viewer"}))
    assert actors.every() == [changed]
    found = actors.get("alice")
    assert found is not None
    assert found.home_zone is None
    assert found.zones(Scope.MODELS_READ) is None
    assert actors.get("ALICE") is None


def test_a_role_of_a_newer_version_gives_nothing(actors: SqlActors) -> None:
    actors.put(ActorRequest(name="alice", roles={"risk": "overlord", "dev-bob": "viewer"}))
    found = actors.get("alice")
    assert found is not None
    assert found.zones(Scope.MODELS_READ) == frozenset({"dev-bob"})


def test_two_who_create_the_same_actor_at_once_both_succeed(actors: SqlActors) -> None:
    ready, failed = threading.Barrier(6), []

    def create(role: str) -> None:
        ready.wait()
        try:
            actors.put(ActorRequest(name="new", roles={"risk": role}))
        except Exception as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=create, args=(role,)) for role in ("viewer", "developer") * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [actor.name for actor in actors.every()] == ["alice", "new"]
