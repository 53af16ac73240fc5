"""A local target, and what of it no other target has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from targets import models
from targets.harness import LocalHarness
from targets.models import SavedModel


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[LocalHarness]:
    """A local target on a state of its own; nothing of it is left at the end."""
    made = LocalHarness(tmp_path / "state")
    try:
        yield made
    finally:
        made.end()


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> SavedModel:
    """A model that adds two numbers, and starts in a moment."""
    return models.small(tmp_path_factory.mktemp("models") / "small")
