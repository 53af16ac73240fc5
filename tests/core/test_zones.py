from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from model_platform_core.errors import ExceedsQuotaError
from model_platform_core.zones import Amount, Zone, ZoneSpec, check_fits

GIB = 1 << 30
amounts = st.builds(
    Amount,
    cpu=st.integers(0, 640).map(lambda tenths: tenths / 10),
    memory=st.integers(0, 1 << 45),
    gpu=st.integers(0, 8),
    endpoints=st.integers(0, 50),
)


def zone(limits: Amount) -> Zone:
    return Zone(name="dev-alice", spec=ZoneSpec(owner="carol", limits=limits))


@given(amounts, amounts)
def test_what_is_exactly_left_fits(used: Amount, needed: Amount) -> None:
    check_fits(zone(used + needed), used, needed)


@given(amounts, amounts, amounts)
def test_what_fits_is_what_the_limits_leave(limits: Amount, used: Amount, needed: Amount) -> None:
    total = used + needed
    over = [name for name in Amount.model_fields if getattr(total, name) > getattr(limits, name) + 1e-9]
    if not over:
        check_fits(zone(limits), used, needed)
        return
    with pytest.raises(ExceedsQuotaError) as caught:
        check_fits(zone(limits), used, needed)
    assert [problem.field for problem in caught.value.fields] == over


@given(st.integers(1, 200))
def test_many_small_shares_fill_a_zone_exactly(count: int) -> None:
    used = Amount()
    for _ in range(count):
        check_fits(zone(Amount(cpu=count / 10)), used, Amount(cpu=0.1))
        used += Amount(cpu=0.1)


def test_the_refusal_says_what_is_needed_what_is_left_and_what_to_stop() -> None:
    limits = Amount(cpu=2, memory=4 * GIB, endpoints=3)
    used = Amount(cpu=1.75, memory=GIB // 2, endpoints=2)
    with pytest.raises(ExceedsQuotaError) as caught:
        check_fits(zone(limits), used, Amount(cpu=0.5, memory=5 * GIB, endpoints=1), ["old", "older"])
    assert caught.value.message == (
        "Zone dev-alice has no room: needs 0.5 CPU cores, 0.25 of 2 left; needs 5 GiB of memory, 3.5 of 4 left."
    )
    assert caught.value.hint == "%mp_stop old"
    with pytest.raises(ExceedsQuotaError) as caught:
        check_fits(zone(Amount()), Amount(cpu=3), Amount(gpu=1))
    assert "needs 1 GPUs, 0 of 0 left" in caught.value.message
    assert caught.value.hint == "ask carol to resize dev-alice"


@pytest.mark.parametrize(
    "limits", [{"cpu": -1}, {"cpu": float("inf")}, {"cpu": float("nan")}, {"memory": 1.5}, {"disk": 1}, {"gpu": -1}]
)
def test_an_amount_is_finite_and_not_negative(limits: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Amount.model_validate(limits)


def test_a_zone_demands_fields_that_a_card_has() -> None:
    with pytest.raises(ValidationError, match="no field colour, size"):
        ZoneSpec(owner="carol", limits=Amount(), mandatory_fields=("team", "colour", "size"))
