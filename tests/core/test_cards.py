from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_platform_core.cards import (
    MEANINGS,
    REVIEW_MONTHS,
    CodeReference,
    DataReference,
    Metric,
    ModelCard,
    PersonalData,
    Resources,
    Tier,
    Training,
    mandatory_fields,
    missing_fields,
    option_for,
    parse_card,
)
from model_platform_core.errors import InvalidCardError
from support.complete_card import COMPLETE, DIGEST

digests = st.text(alphabet="0123456789abcdef", min_size=64, max_size=64).map("sha256:{}".format)
words = st.text(min_size=1, max_size=20).filter(lambda text: text.strip() == text)
texts = st.text(min_size=10, max_size=60).filter(lambda text: len(text.strip()) >= 10)
finite = st.floats(allow_nan=False, allow_infinity=False)
cards = st.builds(
    ModelCard,
    tier=st.sampled_from(Tier),
    owner=st.none() | words,
    purpose=st.none() | texts,
    pii=st.sampled_from(PersonalData),
    data=st.lists(st.builds(DataReference, name=words, sha256=digests, rows=st.none() | st.integers(0)), max_size=2),
    code=st.none() | st.builds(CodeReference, path=words, dirty=st.booleans()),
    training=st.none()
    | st.builds(
        Training, how=texts, parameters=st.dictionaries(words, st.none() | words | finite | st.booleans(), max_size=3)
    ),
    metrics=st.lists(st.builds(Metric, name=words, value=finite), max_size=3),
    resources=st.none() | st.builds(Resources, cpu=st.floats(0.01, 64), memory=st.integers(1, 1 << 50)),
    review_by=st.none() | st.dates(),
    fairness_slices=st.lists(words, max_size=2),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)


@given(cards)
def test_a_card_survives_being_written_and_read_with_its_digest(card: ModelCard) -> None:
    for text in (card.model_dump_json(), card.model_dump_json(exclude_defaults=True)):
        read = parse_card(json.loads(text))
        assert read == card
        assert read.digest() == card.digest()


@given(cards, cards)
def test_digests_are_equal_if_and_only_if_cards_are(one: ModelCard, other: ModelCard) -> None:
    assert (one.digest() == other.digest()) == (one == other)


def test_a_digest_is_the_same_in_every_process_and_stays_so() -> None:
    code = (
        f"import json, sys; from model_platform_core.cards import parse_card; print(parse_card({COMPLETE!r}).digest())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    turned = dict(reversed(COMPLETE.items()))
    assert ran.stdout.strip() == parse_card(COMPLETE).digest() == parse_card(turned).digest()
    # Approvals are bound to digests: a change of this line breaks those that were given.
    assert ModelCard(owner="alice").digest() == (
        "sha256:eed23b4b6baa35175fce2fbb2bebe954d3be5b517ffcb6e0292ad8d659e463dc"
    )


@given(st.dictionaries(st.sampled_from(sorted(ModelCard.model_fields)) | st.text(max_size=10), json_values, max_size=5))
def test_anything_that_is_no_card_is_refused_in_our_words(content: dict[str, Any]) -> None:
    try:
        assert parse_card(content).digest().startswith("sha256:")
    except InvalidCardError as error:
        refusal = error
    else:
        return
    assert refusal.fields
    assert all(field.field in refusal.message for field in refusal.fields)


@pytest.mark.parametrize("content", [None, [], "owner: alice", 3, [["owner", "alice"]]])
def test_what_maps_nothing_is_no_card(content: object) -> None:
    with pytest.raises(InvalidCardError, match="maps fields to values"):
        parse_card(content)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "-inf", "NaN"])
def test_a_figure_is_a_number(value: object) -> None:
    with pytest.raises(InvalidCardError, match=r"metrics\.0\.value"):
        parse_card({"metrics": [{"name": "auc", "value": value}]})
    with pytest.raises(InvalidCardError, match=r"training\.parameters\.alpha"):
        parse_card({"training": {"how": "gradient boosting", "parameters": {"alpha": float("nan")}}})


def test_everything_that_cannot_be_read_is_named_at_once() -> None:
    with pytest.raises(InvalidCardError) as caught:
        parse_card({"onwer": "alice", "tier": 9, "purpose": "short", "metrics": [{"name": "auc"}], "review_by": "soon"})
    named = {field.field for field in caught.value.fields}
    assert named == {"onwer", "tier", "purpose", "metrics.0.value", "review_by"}


def test_the_refusal_does_not_repeat_what_was_written() -> None:
    with pytest.raises(InvalidCardError) as caught:
        parse_card({"tier": "my secret password", "unknown": "my other secret"})
    assert "secret" not in caught.value.message + "".join(field.problem for field in caught.value.fields)


def test_owner_and_backup_are_two() -> None:
    with pytest.raises(InvalidCardError, match="card") as caught:
        parse_card({"owner": "alice", "backup_owner": " alice "})
    assert "somebody else" in caught.value.fields[0].problem


# ---------------------------------------------------------------- what a tier demands


def test_a_complete_card_is_complete_at_every_tier() -> None:
    card = parse_card(COMPLETE)
    for tier in Tier:
        assert missing_fields(card.model_copy(update={"tier": tier})) == []


@pytest.mark.parametrize(("tier", "count"), [(Tier.SANDBOX, 1), (Tier.LOW, 11), (Tier.MATERIAL, 17), (Tier.HIGH, 23)])
def test_an_empty_card_lacks_what_its_tier_demands(tier: Tier, count: int) -> None:
    problems = missing_fields(ModelCard(tier=tier))
    assert [problem.field for problem in problems] == list(mandatory_fields(tier))
    assert len(problems) == count
    assert all(problem.add and problem.problem == MEANINGS[problem.field] for problem in problems)


@pytest.mark.parametrize("field", mandatory_fields(Tier.HIGH))
def test_each_mandatory_field_is_missed_when_it_is_left_out(field: str) -> None:
    left = {name: value for name, value in COMPLETE.items() if name != field}
    assert [problem.field for problem in missing_fields(parse_card(left))] == [field]


def test_every_field_that_can_be_demanded_is_one_of_the_card_and_has_a_meaning() -> None:
    assert set(MEANINGS) <= set(ModelCard.model_fields)
    assert set(mandatory_fields(Tier.HIGH)) <= set(MEANINGS)
    assert set(REVIEW_MONTHS) == set(Tier)


def test_a_zone_may_demand_more_and_nothing_is_demanded_twice() -> None:
    assert [problem.field for problem in missing_fields(ModelCard(owner="alice"), ("owner", "team", "team"))] == [
        "team"
    ]


def test_the_line_to_add_a_field_is_said() -> None:
    assert option_for("for_whom") == '--for-whom "…"'
    assert option_for("data") == "--data X_train"


@pytest.mark.parametrize("code", [{"path": "a.py"}, {"path": "a.py", "commit": "a" * 40, "dirty": True}])
def test_code_is_committed_from_tier_2(code: dict[str, Any]) -> None:
    assert [p.field for p in missing_fields(parse_card({**COMPLETE, "code": code}))] == ["code"]
    assert missing_fields(parse_card({**COMPLETE, "tier": 1, "code": code})) == []


@pytest.mark.parametrize("kind", ["personal", "special-category"])
def test_personal_data_means_tier_3_and_a_legal_basis(kind: str) -> None:
    data = [{"name": "customers", "sha256": DIGEST}]
    assert missing_fields(parse_card({**COMPLETE, "pii": kind})) == []
    lower = parse_card({**COMPLETE, "pii": kind, "tier": 0, "data": data})
    assert [problem.field for problem in missing_fields(lower)] == ["tier", "data"]
    assert missing_fields(parse_card({"owner": "alice", "pii": "pseudonymised", "data": data})) == []


def test_a_card_is_a_value() -> None:
    card = parse_card(COMPLETE)
    assert card.review_by == dt.date(2026, 1, 31)
    with pytest.raises(ValueError, match="frozen"):
        card.owner = "mallory"  # type: ignore[misc]
