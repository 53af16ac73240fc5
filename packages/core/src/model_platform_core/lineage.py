"""Where a version came from: enough to make it again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import Field

from model_platform_core.environments import EnvironmentRecord
from model_platform_core.errors import ConflictError
from model_platform_core.values import Observed, Sha256


class DataFingerprint(Observed):
    """One data set by the digest of its full content; counts and types only, never rows.

    Attributes
    ----------
    rows, columns, size
        What there is of each: `size` in bytes, of files and folders.
    types
        Column by column, what its values are.
    pending
        The digest is still being computed; a completed fingerprint follows.
    note
        Why there is no digest, where there is none and none follows.
    """

    name: str
    sha256: Sha256 | None = None
    rows: int | None = None
    columns: int | None = None
    size: int | None = None
    types: dict[str, str] = {}
    pending: bool = False
    note: str | None = None


class MlflowRun(Observed):
    """A run of the user's own MLflow, which a version is from; `tracking_uri` holds no credentials."""

    run_id: str
    name: str | None = None
    experiment: str | None = None
    tracking_uri: str


class Lineage(Observed):
    """Where a version came from: notebook, git commit, data, environment, parameters.

    Attributes
    ----------
    executed_cells
        How many cells had run, as counted at publish; they lie beside the model in `CELLS_FILE`.
    git_dirty
        Whether a cell or a module that the model uses differs from the commit; outputs and counters do not count.
    parameters
        Those of the estimator, and of the run.
    run
        The MLflow run that was active, or that the files are from.
    seeds
        What was drawn from what: by name of the parameter or of the generator.
    notes
        What could not be found out, and why: a gap here never stopped a publish.
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
    run: MlflowRun | None = None
    seeds: dict[str, int] = {}
    notes: tuple[str, ...] = ()

    @property
    def pending(self) -> tuple[str, ...]:
        """The parts that are still being found out, by name."""
        waiting = [one.name for one in self.data if one.pending]
        return (*waiting, *(["environment"] if self.environment and self.environment.pending else []))

    def completed(self, data: Iterable[DataFingerprint], environment: EnvironmentRecord | None) -> Lineage:
        """The lineage with parts that were pending; what was known stays as it is.

        A part that is already recorded just so is accepted again: an answer may get lost on its way.

        Raises
        ------
        ConflictError
            If a part was not pending, or is of something else than what was recorded.
        """
        recorded = {one.name: one for one in self.data}
        for one in data:
            _check_follows(recorded.get(one.name), one)
            recorded[one.name] = one
        if environment is not None:
            environment = _following(self.environment, environment)
        return self.model_copy(
            update={"data": tuple(recorded.values()), "environment": environment or self.environment}
        )

    def with_digests(self, platform: str, digests: Mapping[str, tuple[str, ...]], of: Sha256) -> Lineage:
        """The lineage with what indexes gave when the lock was first built; what is known of a platform stays.

        Parameters
        ----------
        of
            The lock's identity. Nothing is added to another lock than was built.
        """
        known = self.environment
        if known is None or not known.locked or known.lock_sha256 != of or platform in known.digests:
            return self
        after = known.model_copy(update={"digests": {**known.digests, platform: dict(digests)}})
        return self.model_copy(update={"environment": after})


def _check_follows(before: DataFingerprint | None, after: DataFingerprint) -> None:
    if before == after:
        return
    if before is None or not before.pending or after.pending:
        raise ConflictError(f"The fingerprint of {after.name} is not waited for; what is recorded stays.")
    if (before.rows, before.columns) != (after.rows, after.columns):
        raise ConflictError(f"The fingerprint of {after.name} is of data of another shape than was published.")


def _following(before: EnvironmentRecord | None, after: EnvironmentRecord) -> EnvironmentRecord:
    """The completed record; digests of builds are the server's, and hold for the very lock that was built."""
    same = before is not None and before.lock_sha256 == after.lock_sha256
    after = after.model_copy(update={"digests": before.digests if before is not None and same else {}})
    if before == after:
        return after
    if before is None or not before.pending or after.pending:
        raise ConflictError("The environment is not waited for; what is recorded stays.")
    if (before.python, before.platform) != (after.python, after.platform):
        raise ConflictError("The environment is of another Python or platform than was published.")
    if not set(before.packages) <= set(after.packages):
        raise ConflictError("The environment lacks packages that were recorded when the version was published.")
    if any(before.origin_of(package) != after.origin_of(package) for package in before.packages):
        raise ConflictError("The environment has packages from elsewhere than when the version was published.")
    return after


CELLS_FILE = "model_platform/lineage/cells.py"
"""The cells as they ran, in order, below the version's folder."""

PATCH_FILE = "model_platform/lineage/changes.patch"
"""What differs from the commit."""
