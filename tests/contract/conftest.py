"""The targets under test, and the models that are put on them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from model_platform_server.adapters.local.settings import Patience
from model_platform_server.ports import DeploymentTarget
from targets import models
from targets.harness import PATIENCE, Harness, LocalHarness, maintained
from targets.models import SavedModel


@pytest.fixture
def patience() -> Patience:
    """How long the target waits; tests of waiting have their own."""
    return PATIENCE


@pytest.fixture(params=["local"])
def harness(request: pytest.FixtureRequest, tmp_path: Path, patience: Patience) -> Iterator[Harness]:
    """Every kind of target, one after the other, each on a state of its own; nothing of it is left at the end."""
    made = {"local": LocalHarness}[request.param](tmp_path / "state", patience)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def target(harness: Harness) -> Iterator[DeploymentTarget]:
    """A target that is looked after, as a server does it."""
    with maintained(harness.target):
        yield harness.target


@pytest.fixture(scope="session")
def iris(tmp_path_factory: pytest.TempPathFactory) -> SavedModel:
    """A real scikit-learn model."""
    return models.iris(tmp_path_factory.mktemp("models") / "iris")


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> SavedModel:
    """A model that adds two numbers, and starts in a moment."""
    return models.small(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a test puts a model of its own; it is not there yet."""
    return tmp_path_factory.mktemp("models") / "model"
