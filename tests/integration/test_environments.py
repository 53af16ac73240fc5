"""The kernel's environment, the server's and the model's stay apart: with libraries from years ago, nothing moves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from uv import find_uv_bin

from support.private import bare_environment, private_server, run

REPOSITORY = Path(__file__).resolve().parents[2]
OLD = ("pandas==1.5.3", "numpy==1.23.5", "scikit-learn==1.2.2")
IMPORTED = {"numpy": "numpy", "pandas": "pandas", "sklearn": "scikit-learn"}
TRAIN = """
import json
import sys

import pandas
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import model_platform as mp

X = pandas.read_csv("customers.csv", parse_dates=["since"])
numbers = make_pipeline(SimpleImputer(), StandardScaler())
words = make_pipeline(SimpleImputer(strategy="constant", fill_value="?"), OneHotEncoder(handle_unknown="ignore"))
columns = make_column_transformer((numbers, ["age", "income"]), (words, ["plan"]))
model = make_pipeline(columns, LogisticRegression()).fit(X, ["stays", "leaves", "leaves"] * 10)

published = mp.publish(model, "churn", data=X, example=X[:10], answers="predict_proba")
endpoint = mp.deploy("churn")
json.dump(
    {
        "published": published.details.model_dump(mode="json"),
        "state": endpoint.state,
        "card": str(endpoint),
        "endpoint": endpoint.predict(X).tolist(),
        "notebook": model.predict_proba(X).tolist(),
    },
    sys.stdout,
)
"""


CUSTOMERS = """age,income,plan,since
20,1.5,basic,2020-01-31
30,,pro,2021-02-28
40,3.5,,2022-03-31
50,2.0,basic,2023-04-30
60,5.5,pro,2024-05-31
70,,pro,2025-06-30
"""


@dataclass(frozen=True)
class Kernel:
    """A virtual environment with old libraries: its packages before and after ours were added."""

    python: Path
    before: dict[str, str]
    after: dict[str, str]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    """Old libraries, and then what a kernel needs, as `pip install` of the two distributions gives it."""
    folder = tmp_path_factory.mktemp("kernel") / "venv"
    python = folder / "bin" / "python"
    uv("venv", "--python", "3.11", folder)
    uv("pip", "install", "--python", python, *OLD)
    before = packages(python)
    uv("pip", "install", "--python", python, REPOSITORY / "packages" / "core", REPOSITORY / "packages" / "client")
    return Kernel(python, before, packages(python))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, kernel: Kernel) -> Iterator[tuple[Path, dict[str, str]]]:
    """The state directory of the kernel's user, and the environment that names it."""
    state = tmp_path_factory.mktemp("home")
    with private_server(state, kernel.python.parent) as environment:
        yield state, environment


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, kernel: Kernel, home: tuple[Path, dict[str, str]]
) -> dict[str, Any]:
    """What a bare `python train.py` has told of its publishing and deploying."""
    folder = tmp_path_factory.mktemp("job")
    (folder / "train.py").write_text(TRAIN)
    head, _, rows = CUSTOMERS.partition("\n")
    (folder / "customers.csv").write_text(f"{head}\n{rows * 5}")
    done = run([kernel.python, "train.py"], home[1], folder)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def uv(*arguments: str | Path) -> str:
    done = run([find_uv_bin(), *arguments], bare_environment())
    assert done.returncode == 0, done.stderr
    return done.stdout


def packages(python: Path) -> dict[str, str]:
    found = json.loads(uv("pip", "list", "--python", python, "--format", "json"))
    return {package["name"]: package["version"] for package in found}


def test_what_a_kernel_needs_moves_none_of_its_libraries(kernel: Kernel) -> None:
    assert {name: kernel.after[name] for name in kernel.before} == kernel.before
    assert {f"{name}=={kernel.before[name]}" for name in ("numpy", "pandas", "scikit-learn")} == set(OLD)
    assert {name for name in kernel.after if name.startswith("model-platform")} == {
        "model-platform",
        "model-platform-core",
    }


def test_a_bare_script_publishes_and_deploys_from_there(trained: dict[str, Any]) -> None:
    assert trained["state"] == "live"
    assert trained["endpoint"] == [pytest.approx(row) for row in trained["notebook"]]
    assert "10 of 10 answers as in the notebook, largest difference" in trained["card"]
    assert set(OLD) < set(trained["published"]["lineage"]["environment"]["packages"])


def test_the_server_runs_in_an_environment_made_from_the_lock(
    trained: dict[str, Any], home: tuple[Path, dict[str, str]]
) -> None:
    state, _ = home
    python = Path(json.loads((state / "server.json").read_text())["interpreter"])
    assert python.is_relative_to(state / "environments")
    lock = (REPOSITORY / "packages/client/src/model_platform/data/server.lock").read_text()
    installed = packages(python)
    assert installed["mlflow"] == "3.17.2"
    assert f"\nscikit-learn=={installed['scikit-learn']}" in lock
    assert {name for name in installed if name.startswith("model-platform")} == {
        "model-platform-core",
        "model-platform-runner",
        "model-platform-server",
    }
    assert not list(state.glob("environments/*.partial"))


def test_the_runner_is_laid_over_the_libraries_that_made_the_model(
    trained: dict[str, Any], kernel: Kernel, home: tuple[Path, dict[str, str]]
) -> None:
    state, _ = home
    (log,) = state.glob("local/deployments/*/churn/*/*/runner.log")
    (ready,) = (line for line in map(json.loads, log.read_text().splitlines()) if line["event"] == "ready")
    libraries = ready["libraries"]
    assert {f"{ours}=={libraries[theirs]}" for theirs, ours in IMPORTED.items()} == set(OLD)
    assert psutil.Process(ready["pid"]).cmdline()[0] == str(kernel.python)
    assert packages(kernel.python) == kernel.after
    assert not list((state / "local" / "environments").glob("*/bin"))
