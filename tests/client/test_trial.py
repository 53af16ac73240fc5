"""What asking the model shows: whether it needs its index, what a list of arrays holds, what no caller could send."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from model_platform.capture.subject import examine
from model_platform.capture.table import as_table
from model_platform.capture.trial import Trial, try_out
from model_platform_core.errors import InvalidInputError

FRAME = pd.DataFrame({"a": [3.0, 1.0, 2.0]}, index=pd.date_range("2026-01-01", periods=3, name="day"))


def tried(model: Any, rows: Any, answers: str | None = None) -> Trial:
    return try_out(examine(model, answers), as_table(rows, "--example"))


def test_an_index_that_changes_the_answer_belongs_to_a_row() -> None:
    trial = tried(lambda rows: rows["a"] + np.asarray(rows.index.day), FRAME)
    assert trial.sample.records()[0] == {"day": "2026-01-01T00:00:00Z", "a": 3.0}
    assert trial.rows_independent


def test_an_index_without_which_the_model_fails_belongs_to_a_row() -> None:
    def by_weekday(rows: pd.Series) -> Any:
        return [rows.index.day_name()[at] for at in range(len(rows))]

    assert tried(by_weekday, FRAME["a"]).sample.records()[0] == {"day": "2026-01-01T00:00:00Z", "a": 3.0}


def test_an_index_that_only_numbers_the_rows_is_not_asked_for() -> None:
    trial = tried(lambda rows: rows["a"] * 2, FRAME.set_index(pd.Index([17, 4, 9])))
    assert trial.sample.records() == [{"a": 3.0}, {"a": 1.0}, {"a": 2.0}]


def test_as_many_outputs_as_rows_are_told_from_a_line_for_each_row() -> None:
    rows = np.arange(6.0).reshape(3, 2)

    def outputs(given: Any) -> Any:
        return [given[:, 0], given[:, 1], given[:, 0] * 2]

    def lines(given: Any) -> Any:
        return [np.array([row[0], row[1], 0.0]) for row in given]

    assert tried(outputs, rows).answers.records[2] == {"output_0": 4.0, "output_1": 5.0, "output_2": 8.0}
    trial = tried(lines, rows)
    assert trial.answers.records[2] == {"prediction": [4.0, 5.0, 0.0]}
    assert trial.answers.kind == "list"
    assert trial.rows_independent


@pytest.mark.parametrize(
    "rows",
    [
        pd.DataFrame({"x": [1.0, np.inf]}),
        pd.Series([1.0, -np.inf], name="x"),
        np.array([[1.0], [np.inf]]),
        {"x": np.array([1.0, np.inf])},
        [1.0, float("inf")],
    ],
)
def test_infinity_is_told_since_no_json_holds_it(rows: Any) -> None:
    with pytest.raises(InvalidInputError, match="holds infinity"):
        tried(lambda given: [0] * 2, rows)


def test_scores_are_named_by_class_and_those_of_pairs_are_not() -> None:
    features = np.random.default_rng(0).normal(size=(30, 2))
    labels = np.repeat(["a", "b", "c"], 10)
    by_class = SVC(decision_function_shape="ovr").fit(features, labels)
    assert list(tried(by_class, features, "decision_function").answers.records[0]) == ["a", "b", "c"]
    of_pairs = SVC(decision_function_shape="ovo").fit(features, labels)
    assert list(tried(of_pairs, features, "decision_function").answers.records[0]) == ["prediction"]


def test_probabilities_of_several_outputs_are_named_by_each_ones_classes() -> None:
    features = np.random.default_rng(0).normal(size=(20, 2))
    targets = np.column_stack([np.repeat([0, 1], 10), np.repeat(["x", "y", "z", "x"], 5)])
    trial = tried(DecisionTreeClassifier().fit(features, targets), features, "predict_proba")
    assert [list(one) for one in trial.answers.records[0].values()] == [["0", "1"], ["x", "y", "z"]]
    assert trial.parity_sample().dtypes == {"output_0": "float64", "output_1": "float64"}


FORTY = pd.DataFrame({"x": [None if at % 7 == 3 else float(at * at % 41) for at in range(40)]})


@pytest.mark.parametrize(
    "model",
    [
        lambda rows: rows["x"].rank(),
        lambda rows: rows["x"].fillna(rows["x"].mean()),
        lambda rows: rows["x"].fillna(0).cumsum(),
        lambda rows: rows["x"].fillna(0) + (len(rows) == 1),
        lambda rows: rows["x"].fillna(0) * (len(rows) > 15),
        lambda rows: rows["x"].fillna(0) - rows["x"].iloc[0],
        lambda rows: rows["x"].fillna(0) / rows["x"].max(),
    ],
)
def test_a_model_that_looks_at_other_rows_is_found_out(model: Any) -> None:
    assert not tried(model, FORTY).rows_independent
    assert tried(lambda rows: rows["x"].fillna(0) * 2, FORTY).rows_independent
