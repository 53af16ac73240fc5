from __future__ import annotations

import pytest

from model_platform_core.cards import ModelCard, Tier
from model_platform_core.errors import CardIncompleteError, FormatRefusedError, InvalidModelError
from model_platform_core.gate import Contents, check_registration
from model_platform_core.models import ArtifactFormat, format_allowed
from model_platform_core.zones import Amount, Zone, ZoneSpec
from support.complete_card import COMPLETE

SANDBOX = Zone(name="dev-alice", spec=ZoneSpec(owner="alice", limits=Amount()))
RISK = Zone(
    name="risk",
    spec=ZoneSpec(owner="carol", limits=Amount(), minimum_tier=Tier.MATERIAL, mandatory_fields=("team",)),
)
SAFE = ["MLmodel", "model.skops", "requirements.txt"]
UNSAFE = ["MLmodel", "model.pkl", "requirements.txt"]
PICKLE = Contents(ArtifactFormat.PICKLE)


def card(tier: int, **without: None) -> ModelCard:
    return ModelCard.model_validate({**COMPLETE, "tier": tier, **without})


def test_what_is_complete_passes() -> None:
    check_registration(SANDBOX, "churn", ModelCard(owner="alice"), UNSAFE, contents=PICKLE)
    check_registration(RISK, "churn", card(2), SAFE)
    check_registration(RISK, "churn", card(3), iter(SAFE))


def test_what_is_no_model_is_refused_first() -> None:
    with pytest.raises(InvalidModelError, match="churn has no MLmodel file"):
        check_registration(RISK, "churn", ModelCard(), ["model/MLmodel", "mlmodel"])


def test_everything_that_is_missing_or_refused_is_named_at_once() -> None:
    with pytest.raises(CardIncompleteError) as caught:
        check_registration(RISK, "churn", card(1, team=None, intended_use=None), UNSAFE, contents=PICKLE)
    assert [field.field for field in caught.value.fields] == ["tier", "intended_use", "team", "format"]
    assert caught.value.message == "churn was not published: 4 mandatory fields are missing (tier 2, zone risk)"
    assert caught.value.fields[0].add == "--tier 2"


def test_a_format_that_is_refused_alone_says_so() -> None:
    with pytest.raises(FormatRefusedError) as caught:
        check_registration(RISK, "churn", card(2), UNSAFE, contents=PICKLE)
    assert caught.value.fields[0].problem.startswith("pickle runs code when it is loaded; tier 2 takes skops")
    assert "its format is refused" in caught.value.message


def test_one_missing_field_is_told_in_the_singular() -> None:
    with pytest.raises(CardIncompleteError, match="1 mandatory field is missing"):
        check_registration(RISK, "churn", card(2, team=None), SAFE)


@pytest.mark.parametrize(
    ("tier", "contents", "problem"),
    [
        (1, Contents(ArtifactFormat.PICKLE, code_by_value=True), "functions or classes are stored inside the pickle"),
        (2, Contents(ArtifactFormat.SKOPS, unreviewed_types=("evil.Type",)), "trusts evil.Type, which nobody reviewed"),
        (2, Contents(ArtifactFormat.UNKNOWN), "a format that nobody here knows"),
        (2, Contents(ArtifactFormat.PICKLE), "pickle runs code when it is loaded"),
    ],
)
def test_what_a_look_into_the_files_shows_counts(tier: int, contents: Contents, problem: str) -> None:
    zone = SANDBOX if tier < 2 else RISK
    with pytest.raises(FormatRefusedError) as caught:
        check_registration(zone, "churn", card(tier), SAFE, contents=contents)
    assert problem in caught.value.fields[0].problem
    check_registration(SANDBOX, "churn", ModelCard(owner="alice"), SAFE, contents=contents)


def test_what_runs_code_when_it_is_loaded_ends_at_tier_2() -> None:
    refused = {(found, tier) for found in ArtifactFormat for tier in Tier if not format_allowed(found, tier)}
    assert refused == {
        (found, tier)
        for found in (ArtifactFormat.PICKLE, ArtifactFormat.UNKNOWN)
        for tier in (Tier.MATERIAL, Tier.HIGH)
    }
