"""Rows of numbers and categories: compiled pipelines answer as their models do, unknown and missing values included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler

from published_models import agree, loaded, publish, quietly

SIZE = 200
ISLANDS, SEXES = ["Biscoe", "Dream", "Torgersen"], ["female", "male"]

_random = np.random.default_rng(11)
FULL = pd.DataFrame(
    {
        "island": _random.choice(ISLANDS, SIZE),
        "bill": _random.normal(44, 5, SIZE),
        "sex": _random.choice(SEXES, SIZE),
        "year": _random.integers(2007, 2010, SIZE),
        "mass": _random.normal(4000, 500, SIZE),
    }
)
HOLES = FULL.assign(
    bill=FULL["bill"].where(FULL.index % 7 != 0),
    sex=FULL["sex"].where(FULL.index % 11 != 0),
)
NUMBERS, TEXTS = ["bill", "year", "mass"], ["island", "sex"]
SPECIES = np.select([FULL["bill"] > 46, FULL["mass"] > 4000], ["Gentoo", "Adelie"], "Chinstrap")
MASS = FULL["bill"] * 30 + (FULL["sex"] == "male") * 500

ignore = {"handle_unknown": "ignore"}
coded = {"handle_unknown": "use_encoded_value", "unknown_value": -1}
impute_text = SimpleImputer(strategy="most_frequent")


def _scaled() -> Any:
    return make_pipeline(SimpleImputer(), StandardScaler())


def _quickstart(last: Any) -> Any:
    categories = make_pipeline(impute_text, OneHotEncoder(**ignore))
    columns = make_column_transformer(
        (_scaled(), make_column_selector(dtype_include="number")),
        (categories, make_column_selector(dtype_exclude="number")),
    )
    return make_pipeline(columns, last)


CASES: dict[str, tuple[Any, Any, Any, str]] = {
    "quickstart": (_quickstart(LogisticRegression(max_iter=500)), HOLES, SPECIES, "predict"),
    "quickstart-probabilities": (_quickstart(LogisticRegression(max_iter=500)), HOLES, SPECIES, "predict_proba"),
    "quickstart-forest": (_quickstart(RandomForestClassifier(20)), HOLES, SPECIES, "predict_proba"),
    "quickstart-number": (_quickstart(Ridge()), HOLES, MASS, "predict"),
    "refusing": (
        make_pipeline(make_column_transformer((OneHotEncoder(), TEXTS), (_scaled(), NUMBERS)), Ridge()),
        FULL,
        MASS,
        "predict",
    ),
    "missing-is-a-category": (
        make_pipeline(make_column_transformer((OneHotEncoder(**ignore), TEXTS), (_scaled(), ["bill"])), Ridge()),
        HOLES,
        MASS,
        "predict",
    ),
    "without-the-first": (
        make_pipeline(
            make_column_transformer(
                (OneHotEncoder(drop="first", sparse_output=False), ["island", "year"]), ("passthrough", ["mass"])
            ),
            StandardScaler(),
            Ridge(),
        ),
        FULL,
        MASS,
        "predict",
    ),
    "ordinal": (
        make_pipeline(
            make_column_transformer(
                (make_pipeline(impute_text, OrdinalEncoder(**coded)), TEXTS),
                (FunctionTransformer(), ["year"]),
                ("drop", ["mass"]),
                (SimpleImputer(), ["bill"]),
            ),
            RandomForestClassifier(20),
        ),
        HOLES,
        SPECIES,
        "predict",
    ),
    "ordinal-missing": (
        make_pipeline(
            make_column_transformer((OrdinalEncoder(**coded, encoded_missing_value=-2), TEXTS), remainder=_scaled()),
            RandomForestClassifier(20),
        ),
        HOLES,
        SPECIES,
        "predict_proba",
    ),
    "filled-with-a-word": (
        make_pipeline(
            make_column_transformer(
                (make_pipeline(SimpleImputer(strategy="constant", fill_value="?"), OneHotEncoder(**ignore)), TEXTS),
                (_scaled(), NUMBERS),
            ),
            LogisticRegression(max_iter=500),
        ),
        HOLES,
        SPECIES,
        "predict_proba",
    ),
}

numbers = st.floats(-1e6, 1e6, allow_nan=False) | st.sampled_from([0.0, -0.0, 44.0, 1e-300])
words = st.sampled_from([*ISLANDS, *SEXES, "", "?", "nan", "None", "DREAM", "żółć"]) | st.text(max_size=3)


def _rows(data: pd.DataFrame) -> Any:
    values: dict[str, Any] = {
        "island": words,
        "sex": words,
        "bill": numbers,
        "mass": numbers,
        "year": st.integers(2000, 2012),
    }
    columns = {name: value | st.none() if data[name].isna().any() else value for name, value in values.items()}
    row = st.fixed_dictionaries(columns).flatmap(lambda each: st.permutations(list(each.items())).map(dict))
    many = st.tuples(st.lists(row, min_size=1, max_size=6), st.sampled_from([1, 2, 7, 255, 257]))
    return many.map(lambda drawn: (drawn[0] * drawn[1])[: drawn[1]])


def _hold(predictor: Any, data: pd.DataFrame, *, exact: bool) -> None:
    @settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(rows=_rows(data))
    def holds(rows: list[Any]) -> None:
        agree(predictor, rows, exact=exact)

    holds()


@pytest.mark.parametrize("described", [True, False], ids=["described", "signature"])
@pytest.mark.parametrize("name", CASES)
def test_pipelines_on_mixed_rows(tmp_path: Path, name: str, described: bool) -> None:
    model, data, target, method = CASES[name]
    predictor = loaded(
        publish(tmp_path / "m", quietly(model.fit, data, target), data, method=method, described=described)
    )
    assert predictor.note == ""
    assert predictor.path == ("trees" if isinstance(model[-1], RandomForestClassifier) else "linear")
    row = {"sex": "male", "island": "Dream", "mass": 4100.0, "year": 2008, "bill": 45.0}
    assert agree(predictor, [row, row])
    if data is HOLES:
        assert agree(predictor, [{**row, "sex": None, "bill": None}])
    assert agree(predictor, [{**row, "island": "nowhere"}]) is (name not in ("refusing", "without-the-first"))
    _hold(predictor, data, exact=predictor.path == "trees")


@pytest.mark.parametrize("kind", ["object", "category", "string", "bool"])
def test_texts_in_every_dtype(tmp_path: Path, kind: str) -> None:
    model = _quickstart(LogisticRegression(max_iter=500))
    data = HOLES if kind != "bool" else FULL.assign(sex=FULL["sex"] == "male", island=FULL["island"].astype(object))
    if kind != "bool":
        data = data.assign(**{name: data[name].astype(kind) for name in TEXTS})
    if kind == "string":  # scikit-learn's SimpleImputer takes no pandas.NA
        columns = make_column_transformer((OneHotEncoder(**ignore), TEXTS), (_scaled(), NUMBERS))
        data, model = data.assign(sex=data["sex"].fillna("male")), make_pipeline(columns, Ridge())
        predictor = loaded(publish(tmp_path / "m", quietly(model.fit, data, MASS), data))
    else:
        predictor = loaded(publish(tmp_path / "m", quietly(model.fit, data, SPECIES), data))
    assert (predictor.path, predictor.note) == ("linear", "")
    row = {"sex": True if kind == "bool" else "male", "island": "Dream", "mass": 4100.0, "year": 2008, "bill": 45.0}
    assert agree(predictor, [row] * 3)
    if kind in ("object", "category"):
        assert agree(predictor, [row, {**row, "sex": None}])


def test_columns_are_taken_by_name_whatever_the_order_of_the_signature(tmp_path: Path) -> None:
    model = _quickstart(LogisticRegression(max_iter=500)).fit(HOLES, SPECIES)
    data = HOLES[["year", "sex", "mass", "bill", "island"]].assign(more=1.0)
    predictor = loaded(publish(tmp_path / "m", model, data))
    assert (predictor.path, predictor.note) == ("linear", "")
    assert agree(predictor, [{"island": "Dream", "more": 2.0, "sex": "male", "bill": 4.0, "year": 2007, "mass": 1.0}])
