"""The one rule of names, by itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_platform_core.access import EVERY_ZONE, ROLES, Actor
from model_platform_core.errors import InvalidNameError
from model_platform_server.adapters.mlflow.naming import (
    ExperimentNames,
    full_model_name,
    shown_message,
    shown_name,
    zone_of,
)

ANA = Actor(name="ana", home_zone="dev-ana", grants={"dev-ana": ROLES["developer"], "team": ROLES["viewer"]})
BEN = Actor(name="ben", home_zone="dev-ben", grants={"dev-ben": ROLES["developer"], "team": ROLES["developer"]})
ADMIN = Actor(name="admin", grants={EVERY_ZONE: ROLES["platform-admin"]})
NAMES = ExperimentNames(lambda zone: zone in {"dev-ana", "dev-ben", "team", "risk"})

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("e1", "dev-ana.e1"),
        ("my.exp.v2", "dev-ana.my.exp.v2"),
        ("/Users/ana/exp", "dev-ana./Users/ana/exp"),
        ("/Users/a.b/exp", "dev-ana./Users/a.b/exp"),
        ("dev-ana.e1", "dev-ana.e1"),
        ("team.e1", "team.e1"),
        ("team.my.exp", "team.my.exp"),
        ("risk.e1", "dev-ana.risk.e1"),
        ("Team.e1", "dev-ana.Team.e1"),
        (".hidden", "dev-ana..hidden"),
        ("Default", "dev-ana.Default"),
    ],
)
def test_experiments_begin_with_a_zone_only_if_it_may_be_seen(name: str, full: str) -> None:
    assert NAMES.full(ANA, name) == full


def test_who_may_see_every_zone_means_those_that_there_are() -> None:
    assert NAMES.full(ADMIN, "risk.e1") == "risk.e1"
    with pytest.raises(InvalidNameError, match="no home zone"):
        NAMES.full(ADMIN, "my.exp")


def test_a_models_own_name_has_no_dot() -> None:
    assert full_model_name(ANA, "churn") == "dev-ana.churn"
    assert full_model_name(ANA, "risk.churn") == "risk.churn"
    with pytest.raises(InvalidNameError, match=r"write zone\.churn"):
        full_model_name(ADMIN, "churn")


@given(texts)
def test_what_goes_out_means_the_same_when_it_comes_back(name: str) -> None:
    full = NAMES.full(ANA, name)
    shown = shown_name(ANA, full, NAMES.full)
    assert NAMES.full(ANA, shown) == full
    assert NAMES.full(ANA, full) == full


@given(texts)
def test_two_people_never_meet_in_one_name_unless_it_begins_with_a_zone_of_both(name: str) -> None:
    one, other = NAMES.full(ANA, name), NAMES.full(BEN, name)
    assert one != other or zone_of(one) == "team"


@given(texts)
def test_an_unchanged_script_finds_its_own_words_again(name: str) -> None:
    full = NAMES.full(ANA, name)
    if zone_of(name) not in {"dev-ana", "team"}:
        assert shown_name(ANA, full, NAMES.full) == name


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("Registered Model with name=dev-ana.churn not found", "Registered Model with name=churn not found"),
        ("Model 'dev-ana.a' and 'xdev-ana.b' and dev-anax.c", "Model 'a' and 'xdev-ana.b' and dev-anax.c"),
        ("exists. Error: (sqlite3.IntegrityError) UNIQUE …\n[SQL: INSERT]", "exists."),
    ],
)
def test_messages_speak_as_the_client_does(message: str, shown: str) -> None:
    assert shown_message(ANA, message) == shown
