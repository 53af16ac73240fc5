"""Real runners on real sockets, serving real models that MLflow saved."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

WAIT_SECONDS = 60.0
CODE = Path(__file__).parent / "code"
ZONE, ENDPOINT, VERSION = "dev-alice", "churn", "3"
URL = f"http://127.0.0.1:8800/{ZONE}/{ENDPOINT}"


# ---------------------------------------------------------------- tokens


@dataclass
class Signer:
    """The platform's part: signs endpoint tokens."""

    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    kid: str = "key-1"

    def public_keys(self) -> dict[str, str]:
        return {self.kid: base64.urlsafe_b64encode(self.key.public_key().public_bytes_raw()).decode().rstrip("=")}

    def token(self, seconds: float = 3600, kid: str | None = None, **claims: Any) -> str:
        all_claims = {"aud": f"{ZONE}/{ENDPOINT}", "exp": time.time() + seconds, "jti": "token-1"} | claims
        given = {name: value for name, value in all_claims.items() if value is not None}
        return jwt.encode(given, self.key, algorithm="EdDSA", headers={"kid": kid or self.kid})


@pytest.fixture(scope="session")
def signer() -> Signer:
    return Signer()


# ---------------------------------------------------------------- runners


@dataclass
class Runner:
    """A runner's process, its two sockets and what it has told."""

    process: subprocess.Popen[bytes]
    config: dict[str, Any]
    journal: Path
    calls: httpx.Client
    control: httpx.Client

    def log(self) -> str:
        """All that it has written, on whatever descriptor."""
        return self.journal.read_text()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.journal.read_text().splitlines() if line.startswith("{")]

    def wait_for_event(self, *names: str) -> dict[str, Any]:
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            ended = self.process.poll() is not None
            for event in self.events():
                if event["event"] in names:
                    return event
            assert not ended, self.journal.read_text()
            time.sleep(0.02)
        raise AssertionError(f"no {names} in time:\n{self.journal.read_text()}")

    def metric(self, name: str) -> float:
        """The value of a metric, summed over its own labels."""
        lines = [line for line in self.control.get("/metrics").text.splitlines() if line.startswith(name)]
        assert lines, name
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_SECONDS)

    def close(self) -> None:
        self.calls.close()
        self.control.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(WAIT_SECONDS / 4)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def digests(directory: Path) -> dict[str, str]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {
        path.relative_to(directory).as_posix(): f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in files
    }


Launch = Callable[..., Runner]


@pytest.fixture(scope="session")
def sockets() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="mp-runner-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def launch(sockets: Path, signer: Signer) -> Iterator[Launch]:
    """Start a runner; all are ended with the session. ``command`` is what stands before the configuration's path."""
    runners: list[Runner] = []

    def start(
        directory: Path, *, command: list[str] | None = None, environment: dict[str, str] | None = None, **changes: Any
    ) -> Runner:
        folder = sockets / str(len(runners))
        folder.mkdir()
        config = {
            "zone": ZONE,
            "endpoint": ENDPOINT,
            "model": f"{ZONE}.churn",
            "version": VERSION,
            "deployment": "churn-3",
            "runner_id": f"runner-{len(runners)}",
            "model_directory": str(directory),
            "files": digests(directory),
            "socket": str(folder / "calls"),
            "control_socket": str(folder / "control"),
            "access": "open",
            "audience": f"{ZONE}/{ENDPOINT}",
            "public_keys": signer.public_keys(),
            "revoked_file": None,
            "limits": {},
            "url": URL,
        } | changes
        (folder / "config.json").write_text(json.dumps(config))
        with (folder / "journal").open("wb") as journal:
            process = subprocess.Popen(
                [*(command or [sys.executable, "-m", "model_platform_runner"]), str(folder / "config.json")],
                stderr=journal,
                stdout=journal,
                cwd=folder,
                env=environment or {**os.environ, "OMP_NUM_THREADS": "1"},
            )
        runner = Runner(
            process,
            config,
            folder / "journal",
            httpx.Client(transport=httpx.HTTPTransport(uds=config["socket"]), base_url="http://churn", timeout=30),
            httpx.Client(
                transport=httpx.HTTPTransport(uds=config["control_socket"]), base_url="http://churn", timeout=30
            ),
        )
        runners.append(runner)
        return runner

    yield start
    for runner in runners:
        runner.process.terminate()
    for runner in runners:
        runner.close()


# ---------------------------------------------------------------- models


@dataclass(frozen=True)
class Saved:
    """A model as it was saved, and the object itself, whose answers a runner's must equal."""

    directory: Path
    model: Any
    data: Any


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Saved]:
    """Each kind of model, saved once."""
    with warnings.catch_warnings(record=True):  # what MLflow and its dependencies say meanwhile is not ours
        warnings.simplefilter("ignore")
        return _saved_models(tmp_path_factory.mktemp("models"))


def _saved_models(folder: Path) -> dict[str, Saved]:
    import mlflow.pyfunc
    import mlflow.sklearn
    import numpy as np
    import pandas as pd
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    sys.path.insert(0, str(CODE))
    import machines
    import talkative

    def save(name: str, model: Any, data: Any, signature: Any, *, flavor: str = "sklearn", **options: Any) -> Saved:
        published = {"schema": 1, "answers": "predict", "rows_independent": True} | options.pop("published", {})
        options |= {"signature": signature, "metadata": {"model_platform": published}, "pip_requirements": ["numpy"]}
        if flavor == "sklearn":
            options.setdefault("serialization_format", "cloudpickle")
            mlflow.sklearn.save_model(model, folder / name, **options)
        else:
            mlflow.pyfunc.save_model(folder / name, python_model=model, **options)
        return Saved(folder / name, model, data)

    random = np.random.default_rng(7)
    size = 200
    mixed = pd.DataFrame(
        {
            "island": random.choice(["Biscoe", "Dream", "Torgersen"], size),
            "bill": random.normal(44, 5, size),
            "sex": random.choice(["female", "male"], size),
            "year": random.integers(2007, 2010, size),
        }
    )
    labels = np.where(mixed["bill"] > 44, "Gentoo", "Adelie")
    mixed.loc[::7, "bill"] = np.nan
    mixed.loc[::11, "sex"] = np.nan
    pipeline = make_pipeline(
        make_column_transformer(
            (
                make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")),
                ["island", "sex"],
            ),
            (make_pipeline(SimpleImputer(), StandardScaler()), ["bill", "year"]),
        ),
        LogisticRegression(),
    ).fit(mixed, labels)
    seen = {"island": {"values": ["Biscoe", "Dream", "Torgersen"]}, "bill": {"minimum": 30, "maximum": 60}}

    numeric = pd.DataFrame(random.normal(size=(size, 3)), columns=["a", "b", "c"])
    classes = (numeric["a"] + numeric["b"] > 0).astype(int)
    on_frame = LogisticRegression().fit(numeric, classes)
    on_array = LogisticRegression().fit(numeric.to_numpy(), classes)

    rows = pd.DataFrame({"value": [1.0], "seconds": [0.0], "fail": [False]})
    talk = pd.DataFrame({"text": ["hello"]})
    every_type = Schema(
        [
            ColSpec("string", "text"),
            ColSpec("double", "number", required=False),
            ColSpec("long", "count", required=False),
            ColSpec("boolean", "flag", required=False),
            ColSpec("datetime", "moment", required=False),
        ]
    )
    return {
        "mixed": save(
            "mixed",
            pipeline,
            mixed,
            infer_signature(mixed, pipeline.predict(mixed)),
            serialization_format="skops",
            skops_trusted_types=["numpy.dtype"],
            published={"inputs": seen},
        ),
        "frame": save(
            "frame",
            on_frame,
            numeric,
            infer_signature(numeric, on_frame.predict_proba(numeric)),
            published={"answers": "predict_proba", "classes": ["stays", "leaves"]},
        ),
        "array": save(
            "array",
            on_array,
            numeric.to_numpy(),
            infer_signature(numeric.to_numpy(), on_array.predict(numeric.to_numpy())),
        ),
        "doubling": save(
            "doubling",
            machines.Doubling(),
            rows,
            infer_signature(rows, np.array([2.0])),
            published={"example": [{"value": 1.0, "seconds": 0.0, "fail": False}]},
            code_paths=[str(CODE / "machines.py")],
        ),
        "counting": save(
            "counting",
            machines.Counting(),
            rows,
            infer_signature(rows, np.array([0])),
            published={"rows_independent": False},
            code_paths=[str(CODE / "machines.py")],
        ),
        "talkative": save(
            "talkative",
            talkative.Talkative(),
            talk,
            ModelSignature(every_type, params=ParamSchema([ParamSpec("mood", "string", "calm")])),
            flavor="pyfunc",
            published={"rows_independent": False},
            code_paths=[str(CODE / "talkative.py")],
        ),
    }


@pytest.fixture(scope="session")
def served(models: dict[str, Saved], launch: Launch) -> Callable[[str], Runner]:
    """One runner per model for all tests that leave it as it was."""
    running: dict[str, Runner] = {}

    def serve(name: str) -> Runner:
        if name not in running:
            running[name] = launch(models[name].directory)
            running[name].wait_for_event("ready")
        return running[name]

    return serve


@pytest.fixture(scope="session")
def described(tmp_path_factory: pytest.TempPathFactory, launch: Launch) -> Callable[[str], tuple[Any, Any, list[str]]]:
    """Runners of models whose rows are described beside the signature: calls, the row of the example, what is told."""
    sys.path.insert(0, str(CODE))
    import machines

    folder = tmp_path_factory.mktemp("described")
    running: dict[str, Runner] = {}
    tensor = {"type": "tensor", "name": "image", "tensor-spec": {"dtype": "float32", "shape": [-1, 2, 3]}}
    weight = {"type": "tensor", "name": "weight", "tensor-spec": {"dtype": "int16", "shape": [-1]}}
    kinds: dict[str, tuple[list[dict[str, Any]], dict[str, Any], Any, list[str]]] = {
        "texts": (
            [{"type": "string"}],
            {"form": "series", "columns": {"": {"dtype": "str", "nullable": True}}, "name": "comment"},
            "text",
            ["A list; each row is one string (may be null)."],
        ),
        "images": (
            [{**tensor, "name": None}],
            {"form": "array", "columns": {"": {"missing": "nan"}}},
            [[0.5] * 3] * 2,
            ["each row is a nested list", "2 × 3", "number or null"],
        ),
        "arrays": (
            [tensor, weight],
            {"form": "arrays", "columns": {"image": {}, "weight": {}}},
            {"image": [[0.5] * 3] * 2, "weight": 1},
            ["object of nested lists", "2 × 3", "one value", "whole number"],
        ),
        "days": (
            [{"type": "datetime", "name": "day", "required": True}, {"type": "integer", "name": "n", "required": True}],
            {
                "form": "frame",
                "columns": {"day": {"dtype": "datetime64[ns, Europe/Berlin]"}, "n": {"dtype": "uint8"}},
                "index": ["day"],
            },
            {"day": "2024-01-31T12:00:00Z", "n": 1},
            ["The index of the rows; Taken in the time zone Europe/Berlin"],
        ),
    }

    def serve(kind: str) -> tuple[Any, Any, list[str]]:
        inputs, rows, row, said = kinds[kind]
        if kind not in running:
            directory = folder / kind
            directory.mkdir()
            shutil.copytree(CODE, directory / "code", ignore=shutil.ignore_patterns("__pycache__"))
            (directory / "model.pkl").write_bytes(pickle.dumps(machines.Constant()))
            given = [{key: value for key, value in each.items() if value is not None} for each in inputs]
            document = {
                "flavors": {"sklearn": {"pickled_model": "model.pkl", "code": "code"}},
                "signature": {"inputs": json.dumps(given)},
                "metadata": {"model_platform": {"schema": 1, "rows_independent": True, "rows": rows}},
            }
            (directory / "MLmodel").write_text(yaml.safe_dump(document))
            running[kind] = launch(directory)
            running[kind].wait_for_event("ready")
        return running[kind].calls, row, said

    return serve
