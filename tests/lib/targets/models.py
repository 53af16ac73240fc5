"""Models that the tests of targets deploy: a real one, and small ones that behave as a test needs it."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from model_platform_core.cards import Resources
from model_platform_core.deployments import Access, DeploymentSpec
from model_platform_core.environments import EnvironmentRecord
from model_platform_core.models import FileEntry, manifest_digest
from model_platform_core.refs import EndpointRef
from model_platform_server.ports import RunnerPlan

SUM = "return rows.sum(axis=1)"
_PAIRS = json.dumps([{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}])


@dataclass(frozen=True)
class SavedModel:
    """An MLflow model directory, and what a version of it is known by."""

    directory: Path
    packages: tuple[str, ...]

    @property
    def files(self) -> tuple[FileEntry, ...]:
        return tuple(
            FileEntry(
                path=path.relative_to(self.directory).as_posix(),
                size=path.stat().st_size,
                sha256=f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}",
            )
            for path in sorted(self.directory.rglob("*"))
            if path.is_file()
        )


def environment(packages: tuple[str, ...]) -> EnvironmentRecord:
    """This interpreter, as a notebook on this machine would record it."""
    return EnvironmentRecord(
        python=platform.python_version(),
        platform=f"{sys.platform}-{platform.machine()}",
        packages=packages,
        interpreter=sys.executable,
        host=platform.node(),
    )


def installed(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}=={metadata.version(name)}" for name in names)


def plan(
    model: SavedModel,
    name: str = "v1",
    *,
    ref: EndpointRef = EndpointRef("dev", "churn"),  # noqa: B008 - a frozen value
    version: int = 1,
    replicas: int = 1,
    cpu: float = 0.25,
    memory: int = 1 << 30,
    access: Access = Access.OPEN,
    keys: Mapping[str, str] | None = None,
) -> RunnerPlan:
    spec = DeploymentSpec(
        name=name,
        model=f"{ref.zone}.{ref.name}",
        version=version,
        artifact_sha256=manifest_digest(model.files),
        replicas=replicas,
        resources=Resources(cpu=cpu, memory=memory),
    )
    return RunnerPlan(ref, spec, model.directory, model.files, environment(model.packages), access, keys or {})


def iris(folder: Path) -> SavedModel:
    """A real classifier, saved as `mlflow.sklearn.save_model` does it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.sklearn
        from mlflow.models import infer_signature
        from sklearn.datasets import load_iris
        from sklearn.linear_model import LogisticRegression

        rows, species = load_iris(return_X_y=True, as_frame=True)
        model = LogisticRegression(max_iter=500).fit(rows, species)
        packages = installed("scikit-learn", "numpy", "pandas", "cloudpickle")
        mlflow.sklearn.save_model(
            model,
            folder,
            signature=infer_signature(rows, model.predict(rows)),
            pip_requirements=list(packages),
            serialization_format="cloudpickle",
        )
    return SavedModel(folder, packages)


def small(folder: Path, predict: str = SUM, *, load: str = "pass") -> SavedModel:
    """A model that starts in a moment: pairs of numbers in, one number for each out.

    Parameters
    ----------
    predict, load
        Bodies in Python of what happens with `rows` (an array), and while the model is loaded.
    """
    (folder / "code").mkdir(parents=True)
    source = f"""
        import os, sys, time
        import numpy

        class Model:
            def __init__(self):
                {load}

            def predict(self, rows):
                {predict}
    """
    (folder / "code" / "behaviour.py").write_text("\n".join(line[8:] for line in source.splitlines()))
    (folder / "model.pkl").write_bytes(b"cbehaviour\nModel\n)R.")  # "call Model": what unpickling means
    flavors = {
        "sklearn": {"pickled_model": "model.pkl", "serialization_format": "pickle", "code": "code"},
        "python_function": {"predict_fn": "predict"},
    }
    (folder / "MLmodel").write_text(json.dumps({"flavors": flavors, "signature": {"inputs": _PAIRS}}))
    return SavedModel(folder, installed("numpy"))
