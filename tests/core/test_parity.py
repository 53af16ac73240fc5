from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_platform_core.parity import SHOWN_DIFFERENCES, ParityReport, ParitySample, compare_answers

leaves = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=5,
)
rows = st.lists(st.dictionaries(st.sampled_from(["label", "score"]), values, min_size=1, max_size=2), max_size=5)
dtypes = st.dictionaries(
    st.sampled_from(["label", "score"]), st.sampled_from(["float64", "float32", "int64", "object"])
)


def compare(expected: Any, got: Any, dtype: str = "float64", *, deterministic: bool = True) -> ParityReport:
    sample = ParitySample(
        records=({},), answers=({"out": expected},), dtypes={"out": dtype}, deterministic=deterministic
    )
    return compare_answers(sample, [{"out": got}])


@given(rows, dtypes, st.booleans())
def test_the_same_answers_are_proven_also_after_a_journey_as_json(
    answers: list[dict[str, Any]], kinds: dict[str, str], deterministic: bool
) -> None:
    sample = ParitySample(records=(), answers=tuple(answers), dtypes=kinds, deterministic=deterministic)
    report = compare_answers(sample, json.loads(json.dumps(answers)))
    assert report.proven
    assert (report.rows, report.equal, report.largest_difference) == (len(answers), len(answers), 0.0)
    assert report.differences == ()


@given(rows, st.lists(values | st.dictionaries(st.text(max_size=3), values, max_size=2), max_size=6), dtypes)
def test_no_answer_breaks_the_comparison_and_the_report_can_be_kept(
    answers: list[dict[str, Any]], got: list[Any], kinds: dict[str, str]
) -> None:
    report = compare_answers(ParitySample(records=(), answers=tuple(answers), dtypes=kinds), got)
    assert 0 <= report.equal <= report.rows == len(answers)
    assert report.proven == (not report.differences)
    kept = json.dumps(report.model_dump(mode="json"), allow_nan=False)
    assert ParityReport.model_validate_json(kept) == report


@pytest.mark.parametrize(
    ("expected", "got", "dtype", "equal"),
    [
        (1.0, 1.0 + 0.9e-9, "float64", True),
        (1.0, 1.0 + 1.1e-9, "float64", False),
        (1e6, 1e6 + 0.9e-3, "float64", True),
        (0.0, 0.9e-12, "float64", True),
        (0.0, 1.1e-12, "float64", False),
        (1.0, 1.00009, "float32", True),
        (1.0, 1.00012, "float32", False),
        (0.0, 0.9e-6, "float32", True),
        (1.0, 1.009, "float16", True),
        (1.0, 1.0 + 1e-15, "int64", False),
        (3, 3, "int64", True),
        (3, 4, "int64", False),
        (3, 3.0, "int64", True),
        (9007199254740993, 9007199254740992, "int64", False),
        (10**400, 10**400, "object", True),
        (10**400, 10**400 + 1, "object", False),
        (1.5, 10**400, "float64", False),
        (10**400, 1.5, "float64", False),
        ("yes", "yes", "object", True),
        ("yes", "Yes", "object", False),
        (True, True, "bool", True),
        (True, 1, "bool", False),
        (1, True, "int64", False),
        (None, None, "float64", True),
        (None, 0.0, "float64", False),
        (0.0, None, "float64", False),
        ("1", 1, "object", False),
        ([1.0, 2.0], [1.0, 2.0 + 1e-10], "float64", True),
        ([1.0, 2.0], [2.0, 1.0], "float64", False),
        ([1.0, 2.0], [1.0], "float64", False),
        ([1.0], 1.0, "float64", False),
        ([[1, None], ["a"]], [[1, None], ["a"]], "object", True),
        (1e308, -1e308, "float64", False),
        (1.0, math.inf, "float64", False),
        (1.0, math.nan, "float64", False),
        ({"a": 1}, {"a": 1}, "object", True),
        ({"a": 1}, {"b": 1}, "object", False),
        ({"a": 1}, {"a": 1, "b": 1}, "object", False),
        ({"no": 0.1, "yes": [0.9]}, {"no": 0.1 + 1e-12, "yes": [0.9]}, "float64", True),
        ({"no": 0.1}, {"no": 0.2}, "float64", False),
        ([0.1], [0.1 + 1e-12], "object", True),
        ([0.1], [0.1 + 1e-6], "", False),
        ([0.1, 20_000], [0.1 + 1e-6, 20_000], "float32", True),
        ([0.1, 20_000], [0.1 + 1e-6, 20_001], "float32", False),
    ],
)
def test_answers_are_equal_within_the_tolerance_of_their_type(expected: Any, got: Any, dtype: str, equal: bool) -> None:
    report = compare(expected, got, dtype)
    assert report.proven is equal
    json.dumps(report.model_dump(mode="json"), allow_nan=False)


def test_a_difference_is_told_with_both_values_and_what_was_allowed() -> None:
    answers = tuple({"label": "a", "score": 0.5} for _ in range(4))
    sample = ParitySample(records=(), answers=answers, dtypes={"score": "float64"})
    got = [dict(answer) for answer in answers]
    got[2] = {"label": "b", "score": 0.75}
    report = compare_answers(sample, got)
    assert (report.rows, report.equal, report.largest_difference) == (4, 3, 0.25)
    assert not report.proven
    label, score = report.differences
    assert (label.row, label.output, label.notebook, label.endpoint, label.difference) == (2, "label", "a", "b", None)
    assert (score.row, score.notebook, score.endpoint, score.difference) == (2, "0.5", "0.75", 0.25)
    assert score.allowed == pytest.approx(0.5e-9 + 1e-12)


def test_the_largest_difference_within_the_tolerance_is_told_too() -> None:
    report = compare([1.0, 2.0], [1.0, 2.0 + 1e-10])
    assert report.proven
    assert report.largest_difference == pytest.approx(1e-10, rel=1e-5)


@pytest.mark.parametrize("got", [{}, {"label": "a"}, {"score": 1, "label": "a", "more": 1}, None, "a", ["a"], 3])
def test_other_outputs_are_a_difference(got: Any) -> None:
    sample = ParitySample(records=(), answers=({"label": "a", "score": 1},))
    report = compare_answers(sample, [got])
    assert not report.proven
    assert report.differences[0].output == "outputs"
    assert report.differences[0].notebook == "label, score"


def test_too_few_and_too_many_answers_are_a_difference() -> None:
    sample = ParitySample(records=(), answers=({"a": 1}, {"a": 2}))
    assert compare_answers(sample, [{"a": 1}]).equal == 1
    assert compare_answers(sample, []).equal == 0
    more = compare_answers(sample, [{"a": 1}, {"a": 2}, {"a": 3}])
    assert (more.proven, more.differences[0].output, more.differences[0].endpoint) == (False, "rows", "3")


def test_rows_in_another_order_are_a_difference() -> None:
    sample = ParitySample(records=(), answers=({"a": 1}, {"a": 2}), dtypes={"a": "int64"})
    assert compare_answers(sample, [{"a": 2}, {"a": 1}]).equal == 0


def test_few_differences_are_shown_and_long_values_are_cut() -> None:
    sample = ParitySample(records=(), answers=tuple({"a": "x" * 100} for _ in range(20)))
    report = compare_answers(sample, [{"a": "y" * 100}] * 20)
    assert report.equal == 0
    assert len(report.differences) == SHOWN_DIFFERENCES
    assert all(len(difference.notebook) == len(difference.endpoint) == 40 for difference in report.differences)


@pytest.mark.parametrize(
    ("expected", "got", "equal"),
    [(0.1, 0.9, True), (1, 2.5, True), ("a", "b", True), ("a", 1, False), ([1.0], [2.0], True), ([1.0], [1.0, 2.0], False),
     (True, 1, False), (None, 0.5, True), (0.5, None, True)],
)  # fmt: skip
def test_a_model_that_is_not_deterministic_is_compared_by_type_and_shape(expected: Any, got: Any, equal: bool) -> None:
    report = compare(expected, got, deterministic=False)
    assert report.proven is equal
    assert not report.deterministic
