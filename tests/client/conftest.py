"""Models to publish, and a server that is only there to fail in ways that a real one must not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


@pytest.fixture(scope="session")
def penguins() -> tuple[pd.DataFrame, pd.Series]:
    """Mixed types with missing values: features and species."""
    from palmerpenguins import load_penguins

    table = load_penguins()
    return table.drop(columns=["species", "year"]), table["species"]


@pytest.fixture(scope="session")
def classifier(penguins: tuple[pd.DataFrame, pd.Series]) -> Any:
    """A pipeline fitted on mixed types."""
    features, species = penguins
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    categories = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (categories, make_column_selector(dtype_exclude="number")),
    )
    return make_pipeline(columns, LogisticRegression(max_iter=1000)).fit(features, species)


@pytest.fixture(scope="session")
def on_array() -> tuple[Any, np.ndarray]:
    """A classifier fitted on an array, and the array."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(80, 3))
    return LogisticRegression().fit(rows, rows[:, 0] > 0), rows
