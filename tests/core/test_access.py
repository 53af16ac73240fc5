from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_platform_core.access import EVERY_ZONE, ROLES, SCOPES, SYSTEM, Actor, Scope
from model_platform_core.errors import ForbiddenError, InvalidNameError

ZONES = ["dev-alice", "dev-bob", "risk"]
grants = st.dictionaries(st.sampled_from([*ZONES, EVERY_ZONE]), st.frozensets(st.sampled_from(Scope)))
ALICE = Actor(name="alice", home_zone="dev-alice", grants={"dev-alice": ROLES["developer"], "risk": ROLES["viewer"]})


@given(grants, st.sampled_from(Scope), st.sampled_from(ZONES))
def test_what_one_may_in_a_zone_is_what_one_sees_of_it(
    held: dict[str, frozenset[Scope]], scope: Scope, zone: str
) -> None:
    actor = Actor(name="a", grants=held)
    seen = actor.zones(scope)
    assert actor.may(scope, zone) == (seen is None or zone in seen)
    assert actor.may(scope, zone) == (scope in held.get(zone, ()) or scope in held.get(EVERY_ZONE, ()))
    assert seen is None or EVERY_ZONE not in seen


def test_who_holds_nothing_may_nothing() -> None:
    nobody = Actor(name="nobody")
    assert not any(nobody.may(scope, zone) for scope in Scope for zone in ["", EVERY_ZONE, *ZONES])
    assert {nobody.zones(scope) for scope in Scope} == {frozenset()}


def test_the_refusal_says_who_what_where_and_the_scope() -> None:
    with pytest.raises(ForbiddenError) as caught:
        ALICE.require(Scope.ENDPOINTS_DEPLOY, "risk")
    assert caught.value.message == "alice may not deploy in zone risk: the scope endpoints:deploy is missing."
    assert caught.value.hint == "ask the administrator of risk for the scope endpoints:deploy"
    ALICE.require(Scope.ENDPOINTS_DEPLOY, "dev-alice")


def test_a_role_in_one_zone_gives_nothing_for_every_zone() -> None:
    admin = Actor(name="a", grants={"risk": ROLES["platform-admin"]})
    assert not admin.may(Scope.ACTORS_MANAGE, EVERY_ZONE)
    assert admin.may(Scope.ACTORS_MANAGE, "risk")


def test_a_bare_name_is_of_the_home_zone() -> None:
    assert str(ALICE.qualify("churn")) == "dev-alice.churn"
    assert str(ALICE.qualify("risk.churn")) == "risk.churn"
    with pytest.raises(InvalidNameError):
        ALICE.qualify("chu rn")
    homeless = Actor(name="ci")
    assert str(homeless.qualify("risk.churn")) == "risk.churn"
    with pytest.raises(ForbiddenError, match=r"write zone\.churn instead of churn"):
        homeless.qualify("churn")


def test_every_scope_has_words_and_belongs_to_a_role() -> None:
    assert set(SCOPES) == set(Scope)
    assert frozenset().union(*ROLES.values()) == frozenset(Scope)
    assert ROLES["viewer"] < ROLES["developer"] < ROLES["zone-admin"] < ROLES["platform-admin"]
    assert all(scope.endswith(":read") for scope in ROLES["viewer"])


def test_the_platform_itself_may_everything_everywhere() -> None:
    assert all(SYSTEM.may(scope, zone) for scope in Scope for zone in ZONES)
