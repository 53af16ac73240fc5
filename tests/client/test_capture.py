"""What publish finds out about a model, and how it is saved: real models, saved and loaded with the real MLflow."""

from __future__ import annotations

import json
import random
import sys
import textwrap
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from model_platform.capture.publish import PARITY_FILE, Order, check_metrics
from model_platform.capture.quiet import import_mlflow
from model_platform.capture.subject import examine
from model_platform.capture.table import as_table
from model_platform.capture.trial import try_out
from model_platform.capture.variable import variable
from model_platform_core.errors import InvalidInputError, InvalidModelError
from model_platform_core.parity import ParitySample, compare_answers
from model_platform_core.reviewed_types import REVIEWED_TYPES


def captured(
    folder: Path, model: Any, *, answers: str | None = None, personal: bool = False, **given: Any
) -> dict[str, Any]:
    """Capture and save; the MLmodel file. `personal`: the card does not say that there is no personal data."""
    order = Order(model, "m", answers=answers, **given)
    variable(order)(personal).write(folder)
    return yaml.safe_load((folder / "MLmodel").read_text())


def loaded(folder: Path, rows: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return import_mlflow("mlflow.pyfunc").load_model(str(folder)).predict(rows)


def behaviour(document: dict[str, Any]) -> dict[str, Any]:
    return document["metadata"]["model_platform"]


# ---------------------------------------------------------------- flavours and formats


def test_a_pipeline_on_mixed_types(
    tmp_path: Path, classifier: Any, penguins: tuple[pd.DataFrame, pd.Series], capfd: pytest.CaptureFixture[str]
) -> None:
    features, _ = penguins
    document = captured(tmp_path / "m", classifier, data=features, example=features[:20])
    assert document["flavors"]["sklearn"]["serialization_format"] == "skops"
    assert (tmp_path / "m" / "model.skops").is_file()
    columns = {column["name"]: column for column in json.loads(document["signature"]["inputs"])}
    assert columns["island"] == {"type": "string", "name": "island", "required": True}
    assert columns["bill_length_mm"] == {"type": "double", "name": "bill_length_mm", "required": False}
    found = behaviour(document)
    assert found["answers"] == "predict"
    assert found["rows_independent"] is found["deterministic"] is True
    assert found["inputs"]["sex"] == {"values": ["female", "male"]}
    assert found["inputs"]["body_mass_g"] == {"minimum": 2700, "maximum": 6300}
    assert found["example"][0]["island"] == "Torgersen"
    assert (found["answer_kind"], found["output_names"], found["classes"]) == ("array", None, None)
    assert loaded(tmp_path / "m", features).tolist() == classifier.predict(features).tolist()
    assert capfd.readouterr() == ("", "")


def test_the_parity_sample_is_what_was_answered(
    tmp_path: Path, classifier: Any, penguins: tuple[pd.DataFrame, pd.Series]
) -> None:
    features, _ = penguins
    captured(tmp_path / "m", classifier, data=features, answers="predict_proba")
    sample = ParitySample.model_validate_json((tmp_path / "m" / PARITY_FILE).read_bytes())
    assert len(sample.records) == len(sample.answers) == 20
    assert sample.records[3] == {
        "island": "Torgersen",
        "bill_length_mm": None,
        "bill_depth_mm": None,
        "flipper_length_mm": None,
        "body_mass_g": None,
        "sex": None,
    }
    assert set(sample.answers[0]) == {"Adelie", "Chinstrap", "Gentoo"}
    assert sample.dtypes == dict.fromkeys(["Adelie", "Chinstrap", "Gentoo"], "float64")
    again = classifier.predict_proba(pd.DataFrame(list(sample.records)))
    answers = [dict(zip(classifier.classes_, row, strict=True)) for row in again.tolist()]
    assert compare_answers(sample, answers).proven


def test_without_an_example_nothing_observed_is_shown(
    tmp_path: Path, classifier: Any, penguins: tuple[pd.DataFrame, pd.Series]
) -> None:
    features = penguins[0]
    assert behaviour(captured(tmp_path / "m", classifier, data=features))["example"] is None
    document = captured(tmp_path / "p", classifier, data=features, personal=True)
    sample = ParitySample.model_validate(json.loads((tmp_path / "p" / PARITY_FILE).read_text()))
    assert behaviour(document)["example"] == [sample.records[0]]
    assert len(sample.records) == 20
    assert set(sample.records[0]) == set(features)
    made = pd.DataFrame(list(sample.records))
    assert pd.merge(made, features, on=["bill_length_mm", "bill_depth_mm", "body_mass_g"]).empty
    assert set(made["island"]) <= set(features["island"])
    answers = [{"prediction": one} for one in classifier.predict(made.astype(features.dtypes))]
    assert compare_answers(sample, answers).proven


def test_a_model_that_refuses_made_up_rows_is_not_proven_and_says_why(tmp_path: Path) -> None:
    class Choosy:
        def predict(self, frame: pd.DataFrame) -> list[int]:
            if not frame["name"].str.startswith("Zaphod").all():
                raise ValueError("Zaphod Beeblebrox is not among these")
            return [1] * len(frame)

    rows = pd.DataFrame({"name": [f"Zaphod {number}" for number in range(50)]})
    document = captured(tmp_path / "m", Choosy(), data=rows, personal=True)
    sample = ParitySample.model_validate(json.loads((tmp_path / "m" / PARITY_FILE).read_text()))
    assert (sample.records, sample.not_proven) == ((), "the model refuses made-up rows (ValueError)")
    assert behaviour(document)["example"] is None


def test_a_forest_is_saved_by_the_reviewed_types(tmp_path: Path, on_array: tuple[Any, np.ndarray]) -> None:
    rows = on_array[1]
    model = RandomForestClassifier(5, random_state=0).fit(rows, rows[:, 0] > 0)
    document = captured(tmp_path / "m", model, data=rows, answers="predict_proba")
    assert document["flavors"]["sklearn"]["serialization_format"] == "skops"
    assert "sklearn.tree._tree.Tree" in REVIEWED_TYPES
    assert behaviour(document)["classes"] == behaviour(document)["output_names"] == ["False", "True"]
    np.testing.assert_array_equal(loaded(tmp_path / "m", rows), model.predict_proba(rows))


def test_what_skops_cannot_hold_is_pickled(tmp_path: Path) -> None:
    model = make_pipeline(FunctionTransformer(lambda rows: rows * 2), LinearRegression())
    rows = pd.DataFrame({"x": [1.0, 2.0, 3.0]})
    model.fit(rows, [2.0, 4.0, 6.0])
    document = captured(tmp_path / "m", model, data=rows)
    assert document["flavors"]["sklearn"]["serialization_format"] == "cloudpickle"
    np.testing.assert_allclose(loaded(tmp_path / "m", rows), [2.0, 4.0, 6.0])


def test_requirements_are_what_the_model_imports(tmp_path: Path, on_array: tuple[Any, np.ndarray]) -> None:
    captured(tmp_path / "m", on_array[0], data=on_array[1])
    names = {line.partition("==")[0] for line in (tmp_path / "m" / "requirements.txt").read_text().splitlines()}
    assert names == {"mlflow", "numpy", "scikit-learn", "skops"}


def test_dates_and_categories(tmp_path: Path) -> None:
    rows = pd.DataFrame(
        {
            "at": pd.to_datetime(["2026-01-01", "2026-01-02"] * 10),
            "kind": pd.Categorical(["a", "b"] * 10),
            "n": range(20),
        }
    )

    class ByDay:
        def predict(self, rows: pd.DataFrame) -> pd.Series:
            return rows["at"].dt.day + (rows["kind"] == "a") + rows["n"]

    document = captured(tmp_path / "m", ByDay(), data=rows)
    assert [one["type"] for one in json.loads(document["signature"]["inputs"])] == ["datetime", "string", "long"]
    assert behaviour(document)["answer_kind"] == "series"
    sample = ParitySample.model_validate_json((tmp_path / "m" / PARITY_FILE).read_bytes())
    assert sample.records[1] == {"at": "2026-01-02T00:00:00Z", "kind": "b", "n": 1}
    assert sample.answers[1] == {"prediction": 3}


def test_missing_values_in_a_gradient_boosting(tmp_path: Path) -> None:
    rows = pd.DataFrame({"x": [1.0, np.nan, 3.0] * 10})
    model = HistGradientBoostingRegressor(max_iter=3).fit(rows, range(30))
    document = captured(tmp_path / "m", model, data=rows)
    assert document["flavors"]["sklearn"]["serialization_format"] == "skops"
    assert json.loads(document["signature"]["inputs"]) == [{"type": "double", "name": "x", "required": False}]


# ---------------------------------------------------------------- functions and foreign objects


def test_a_function_of_records(tmp_path: Path) -> None:
    def route(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{"stops": sorted(row["stops"].split()), "cost": row["distance"] * 2} for row in rows]

    example = [{"stops": "b a", "distance": 2.5}, {"stops": "c", "distance": 1.0}]
    document = captured(tmp_path / "m", route, example=example)
    assert behaviour(document)["answer_kind"] == "records"
    assert loaded(tmp_path / "m", pd.DataFrame(example)) == [
        {"stops": ["a", "b"], "cost": 5.0},
        {"stops": ["c"], "cost": 2.0},
    ]


def test_a_function_of_an_array(tmp_path: Path) -> None:
    def total(rows: np.ndarray) -> np.ndarray:
        return rows.sum(axis=1)

    captured(tmp_path / "m", total, example=np.ones((3, 2)))
    assert loaded(tmp_path / "m", np.ones((2, 2))).tolist() == [2.0, 2.0]


def test_an_object_with_another_method(tmp_path: Path) -> None:
    class Planner:
        def solve(self, rows: pd.DataFrame) -> np.ndarray:
            return rows["demand"].to_numpy() * 2

    document = captured(tmp_path / "m", Planner(), answers="solve", example=pd.DataFrame({"demand": [1.0, 2.0]}))
    assert behaviour(document)["answers"] == "solve"
    assert loaded(tmp_path / "m", pd.DataFrame({"demand": [4.0]})).tolist() == [8.0]


def test_code_of_the_users_own_files_travels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "helper_of_prep.py").write_text("FACTOR = 3\n")
    (tmp_path / "prep_for_test.py").write_text(
        textwrap.dedent(
            """
            import helper_of_prep

            class Scaled:
                def predict(self, rows):
                    return rows["x"] * helper_of_prep.FACTOR
            """
        )
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    import prep_for_test

    captured(tmp_path / "m", prep_for_test.Scaled(), example=pd.DataFrame({"x": [1.0, 2.0]}))
    monkeypatch.undo()
    for name in ("prep_for_test", "helper_of_prep"):
        del sys.modules[name]
    before = list(sys.path)
    assert list(loaded(tmp_path / "m", pd.DataFrame({"x": [2.0]}))) == [6.0]
    sys.path[:] = before
    assert sys.modules.pop("prep_for_test").__file__ == str(tmp_path / "m" / "code" / "prep_for_test.py")
    del sys.modules["helper_of_prep"]


# ---------------------------------------------------------------- what is refused


def test_an_object_without_the_method_is_told_what_it_has() -> None:
    class Sorter:
        def rank(self) -> None: ...
        def transform(self, rows: Any) -> Any: ...

    with pytest.raises(InvalidModelError, match=r"has no method predict\. It has transform") as caught:
        examine(Sorter())
    assert caught.value.hint == "add --answers transform"
    with pytest.raises(InvalidModelError, match=r"type dict has no method predict\. It has clear, copy"):
        examine({})
    with pytest.raises(InvalidModelError, match="LogisticRegression is a class, not a model"):
        examine(LogisticRegression)


def test_an_estimator_that_was_never_fitted() -> None:
    with pytest.raises(InvalidModelError, match="has not been fitted"):
        examine(LogisticRegression())


def test_rows_that_the_model_cannot_answer(classifier: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"cannot answer the rows given \(ValueError: .*Give rows"):
        try_out(examine(classifier), as_table(pd.DataFrame({"other": [1]}), "--example"))
    with pytest.raises(InvalidInputError, match="are empty"):
        try_out(examine(classifier), as_table(pd.DataFrame({"other": []}), "--example"))


def test_data_and_example_must_have_the_same_columns(classifier: Any, penguins: tuple[pd.DataFrame, pd.Series]) -> None:
    features, species = penguins
    with pytest.raises(InvalidInputError, match="different columns: species only in --data"):
        variable(Order(classifier, "m", data=features.assign(species=species), example=features))(False)


def test_metrics_are_figures() -> None:
    assert check_metrics({"auc": np.float64(0.9)}) == {"auc": 0.9}
    assert check_metrics(pd.Series({"auc": 0.9})) == {"auc": 0.9}
    for wrong, said in [
        ({"auc": "good"}, "is a str, not a figure"),
        ({"auc": float("nan")}, "is nan"),
        (3, "is a int"),
    ]:
        with pytest.raises(InvalidInputError, match=said):
            check_metrics(wrong)


# ---------------------------------------------------------------- asking in several ways


def test_a_model_that_disagrees_with_itself() -> None:
    class Dice:
        def predict(self, rows: pd.DataFrame) -> list[float]:
            return [random.random() for _ in range(len(rows))]

    found = try_out(examine(Dice()), as_table(pd.DataFrame({"x": range(5)}), "--data"))
    assert (found.deterministic, found.rows_independent) == (False, False)
    assert not found.parity_sample().deterministic


def test_a_model_that_looks_at_the_other_rows() -> None:
    class AgainstTheRest:
        def predict(self, rows: pd.DataFrame) -> pd.Series:
            return rows["x"] - rows["x"].mean()

    class ByPlace:
        def predict(self, rows: pd.DataFrame) -> list[int]:
            return list(range(len(rows)))

    for model in (AgainstTheRest(), ByPlace()):
        found = try_out(examine(model), as_table(pd.DataFrame({"x": [1.0, 2.0, 4.0]}), "--data"))
        assert (found.deterministic, found.rows_independent) == (True, False)


def test_one_row_shows_nothing_about_independence(on_array: tuple[Any, np.ndarray]) -> None:
    assert not try_out(examine(on_array[0]), as_table(on_array[1][:1], "--data")).rows_independent
    assert try_out(examine(on_array[0]), as_table(on_array[1][:2], "--data")).rows_independent


def test_what_a_statsmodels_file_holds_is_told_unless_nothing_of_it_is_personal(tmp_path: Path) -> None:
    from statsmodels.formula.api import ols

    frame = pd.DataFrame({"rent": [1.0, 2.0, 4.0], "age": [1.0, 2.0, 3.0], "name": ["Beeblebrox", "b", "c"]})
    model = ols("rent ~ age", frame).fit()
    told = []
    for personal in (True, False):
        folder = tmp_path / str(personal)
        variable(Order(model, "m", example=frame[["age"]]))(personal).write(folder)
        assert any(b"Beeblebrox" in path.read_bytes() for path in folder.rglob("*") if path.is_file())
        described = yaml.safe_load((folder / "MLmodel").read_text())
        told.append(described["metadata"]["model_platform"]["storage"]["because"])
    assert told == [
        "statsmodels knows no other; it holds the whole table that it was fitted on, also columns that it does not use",
        "statsmodels knows no other",
    ]
