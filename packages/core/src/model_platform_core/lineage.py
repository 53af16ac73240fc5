"""Where a version came from: enough to make it again."""

from __future__ import annotations

from pydantic import Field

from model_platform_core.environments import EnvironmentRecord
from model_platform_core.values import Observed, Sha256


class DataFingerprint(Observed):
    """One data set by the digest of its full content; counts only, never rows."""

    name: str
    sha256: Sha256
    rows: int | None = None
    columns: int | None = None


class Lineage(Observed):
    """Notebook and its hash, git commit, data fingerprints, environment, parameters.

    `executed_cells` counts the cells as run, `parameters` are those of the estimator.
    """

    notebook: str | None = None
    notebook_sha256: Sha256 | None = None
    executed_cells: int | None = Field(None, ge=0)
    git_commit: str | None = None
    git_dirty: bool | None = None
    git_repository: str | None = None
    data: tuple[DataFingerprint, ...] = ()
    environment: EnvironmentRecord | None = None
    parameters: dict[str, str] = {}
