"""What a model needs, by its record or its MLflow folder."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from model_platform_core.environments import EnvironmentRecord
from model_platform_core.errors import EnvironmentFailedError
from model_platform_server.adapters.local.requirements import Needs, needs_of
from model_platform_server.ports import RunnerPlan
from targets import models
from targets.models import plan

OWN = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def unknown(tmp_path: Path) -> RunnerPlan:
    """A plan for a model of which nobody recorded the environment."""
    return replace(plan(models.small(tmp_path / "model")), environment=None)


def _pyfunc(folder: Path, **more: str) -> None:
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": {"python_function": {}, "xgboost": {}}, **more}))


def test_a_record_is_taken_as_it_is(unknown: RunnerPlan) -> None:
    record = EnvironmentRecord(python="3.12.4", platform="linux", packages=("scikit-learn==1.5.0", "numpy==2.0.0"))
    needs = needs_of(replace(unknown, environment=record))
    assert needs == Needs("3.12", ("numpy==2.0.0", "scikit-learn==1.5.0"))
    assert needs.key == Needs("3.12", ("numpy==2.0.0", "scikit-learn==1.5.0")).key
    assert needs.key != Needs("3.11", ("numpy==2.0.0", "scikit-learn==1.5.0")).key


def test_a_folder_of_mlflow_is_read_and_scikit_learn_needs_no_mlflow(unknown: RunnerPlan) -> None:
    text = "# made by MLflow\nmlflow==3.1.0\nscikit-learn==1.5.0  # fitted with it\n\n-c constraints.txt\n"
    (unknown.directory / "requirements.txt").write_text(text)
    (unknown.directory / "python_env.yaml").write_text("python: 3.10.13\nbuild_dependencies: []\n")
    constraints = f"-c {unknown.directory}/constraints.txt"
    assert needs_of(unknown) == Needs("3.10", (constraints, "scikit-learn==1.5.0"))


def test_other_flavours_get_the_small_mlflow(unknown: RunnerPlan) -> None:
    _pyfunc(unknown.directory)
    (unknown.directory / "requirements.txt").write_text("mlflow==3.1.0\nxgboost==3.0.0\nnumpy==2.0.0\n")
    assert needs_of(unknown).lines == ("mlflow-skinny==3.1.0", "numpy==2.0.0", "pandas", "xgboost==3.0.0")


def test_other_flavours_whose_record_names_no_mlflow_get_that_which_saved_them(unknown: RunnerPlan) -> None:
    _pyfunc(unknown.directory, mlflow_version="3.2.0")
    record = EnvironmentRecord(python=OWN, platform="linux", packages=("numpy==2.0.0", "pandas==2.2.0"))
    found = needs_of(replace(unknown, environment=record))
    assert found.lines == ("mlflow-skinny==3.2.0", "numpy==2.0.0", "pandas==2.2.0")
    record = record.model_copy(update={"packages": ("mlflow_skinny==3.0.0", "numpy==2.0.0", "pandas==2.2.0")})
    assert "mlflow_skinny==3.0.0" in needs_of(replace(unknown, environment=record)).lines


def test_a_lock_is_taken_whole_where_it_has_what_loads_the_model(unknown: RunnerPlan) -> None:
    record = EnvironmentRecord(python="3.11.4", platform="linux", packages=("numpy==2.0.0",), locked=True)
    needs = needs_of(replace(unknown, environment=record))
    assert (needs.lines, needs.lock, needs.key) == (record.packages, record, record.lock_sha256[7:31])
    _pyfunc(unknown.directory, mlflow_version="3.2.0")
    assert needs_of(replace(unknown, environment=record)).lock is None
    record = record.model_copy(update={"packages": ("mlflow-skinny==3.2.0", "numpy==2.0.0")})
    assert needs_of(replace(unknown, environment=record)).lock == record


def test_conda_is_read_where_there_is_nothing_else(unknown: RunnerPlan) -> None:
    dependencies = ["python=3.11.5", "pip<=24", {"pip": ["scikit-learn==1.4.0"]}]
    (unknown.directory / "conda.yaml").write_text(yaml.safe_dump({"dependencies": dependencies}))
    assert needs_of(unknown) == Needs("3.11", ("scikit-learn==1.4.0",))


def test_without_a_word_on_python_it_is_ours(unknown: RunnerPlan) -> None:
    (unknown.directory / "requirements.txt").write_text("scikit-learn\n")
    assert needs_of(unknown).python == OWN


def test_a_folder_that_says_nothing_is_refused(unknown: RunnerPlan) -> None:
    with pytest.raises(EnvironmentFailedError, match="Nobody knows which packages"):
        needs_of(unknown)
    (unknown.directory / "MLmodel").write_text("a: b: c")
    with pytest.raises(EnvironmentFailedError, match="MLmodel cannot be read"):
        needs_of(unknown)
