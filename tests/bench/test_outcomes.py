"""Verdicts of the benchmarks: medians of quiet rounds, and no verdict where there were too few."""

from __future__ import annotations

import pytest
from bench.figures import FIGURES, Bound, Figure, at_least, at_most, below
from bench.outcomes import QUIET_BELOW, Measurement, Outcome, Verdict, compared, exact, outcome, side, verdict

RATE = Figure("rate", "serving", "a rate", "requests/s", at_least(15), at_least(20), "KServe", "ours / peer", "µs")
SPEED = Figure("speed", "publish", "a time", "s", at_least(12), at_least(25), "MLflow", "peer / ours")
LATENCY = Figure("p50", "serving", "p50", "µs", below(0.4), below(0.25), "KServe", "ours / peer", "µs")
TIME = Figure("time", "start", "a time", "ms", at_most(50), at_most(20))


def taken(*values: float, others: float = 0.0, cpu: float | None = None) -> list[Measurement]:
    return [Measurement(value, cpu, others) for value in values]


def found(ours: float, peer: float | None = None) -> Outcome:
    return outcome(taken(ours), None if peer is None else taken(peer), 1)


def test_a_side_is_the_median_and_the_range_of_its_quiet_rounds() -> None:
    measured = [*taken(10, 30, 20, cpu=5), *taken(1000, others=QUIET_BELOW + 0.01, cpu=99)]
    assert side(measured, 3) is not None
    assert vars(side(measured, 3)) == {"value": 20, "low": 10, "high": 30, "cpu": 5}


@pytest.mark.parametrize(("others", "counts"), [(0.0, True), (1 / 3, True), (0.34, False)])
def test_a_round_counts_unless_others_took_more_than_a_third_of_a_core(others: float, counts: bool) -> None:
    assert Measurement(1, None, others).quiet is counts


def test_too_few_quiet_rounds_are_not_measured_rather_than_missed() -> None:
    noisy = outcome([*taken(1, 1), *taken(1, 1, 1, others=2)], taken(1, 1, 1), 3)
    assert (noisy.ours, noisy.quiet, noisy.taken) == (None, 2, 5)
    assert compared(RATE, noisy) is None
    assert verdict(RATE, noisy) is Verdict.NOT_MEASURED
    assert verdict(RATE, Outcome()) is Verdict.NOT_MEASURED


@pytest.mark.parametrize(
    ("figure", "ours", "peer", "number", "expected"),
    [
        (RATE, 20.0, 1.0, 20, Verdict.AIM_MET),
        (RATE, 15.0, 1.0, 15, Verdict.MET),
        (RATE, 14.9, 1.0, 14.9, Verdict.MISSED),
        (SPEED, 0.2, 5.0, 25, Verdict.AIM_MET),
        (SPEED, 1.0, 5.0, 5, Verdict.MISSED),
        (LATENCY, 39.9, 100.0, 0.399, Verdict.MET),
        (LATENCY, 40.0, 100.0, 0.4, Verdict.MISSED),
        (TIME, 20.0, None, 20, Verdict.AIM_MET),
        (TIME, 50.0, None, 50, Verdict.MET),
        (TIME, 50.1, None, 50.1, Verdict.MISSED),
    ],
)
def test_verdicts(figure: Figure, ours: float, peer: float | None, number: float, expected: Verdict) -> None:
    assert compared(figure, found(ours, peer)) == pytest.approx(number)
    assert verdict(figure, found(ours, peer)) is expected


def test_what_is_only_shown_is_never_missed() -> None:
    shown = Figure("envoy", "serving", "through Envoy", "requests/s", None, at_least(10), "KServe", "ours / peer")
    assert verdict(shown, found(3, 1)) is Verdict.SHOWN
    assert verdict(shown, found(10, 1)) is Verdict.AIM_MET
    assert verdict(TIME, Outcome(trouble="no runner")) is Verdict.FAILED
    assert verdict(TIME, exact(3)) is Verdict.AIM_MET


def test_figures_are_named_once_and_aim_beyond_what_is_required() -> None:
    assert len({figure.key for figure in FIGURES}) == len(FIGURES)
    for figure in FIGURES:
        assert (figure.peer is None) == (figure.compared == "ours")
        if isinstance(figure.required, Bound) and isinstance(figure.aimed, Bound):
            assert figure.required.kept(figure.aimed.value), figure.key
