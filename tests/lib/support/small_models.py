"""Models that start in a moment: pairs of numbers in, one number for each out, numpy alone beneath them."""

from __future__ import annotations

import json
import tempfile
import textwrap
import uuid
from pathlib import Path

from model_platform.capture.environment import record_environment
from model_platform.capture.upload import list_files, upload
from model_platform.client import Client
from model_platform.display.progress import Progress
from model_platform_core.environments import EnvironmentRecord
from model_platform_core.lineage import Lineage
from model_platform_core.models import ModelVersion
from model_platform_core.refs import ModelRef
from model_platform_core.wire import RegisterVersion

SUM = "return rows.sum(axis=1)"
PAIR = [[1.0, 2.0]]

_PAIRS = json.dumps([{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}])
_SAMPLE = {"records": PAIR, "answers": [{"prediction": 3.0}], "dtypes": {"prediction": "float64"}}


def save_small(folder: Path, predict: str = SUM, *, load: str = "pass", padding: int = 0) -> Path:
    """An MLflow model directory; with a parity sample that says that 1 and 2 make 3.

    Parameters
    ----------
    predict, load
        Bodies in Python of what happens with `rows` (an array), and while the model is loaded.
    padding
        Bytes of a file beside it, for a model that is large to send.
    """
    for name in ("code", "model_platform"):
        (folder / name).mkdir(parents=True)
    source = "import os, sys, time, warnings\nimport numpy\n\nclass Model:\n    def __init__(self):\n"
    source += textwrap.indent(load, " " * 8) + "\n    def predict(self, rows):\n" + textwrap.indent(predict, " " * 8)
    (folder / "code" / "behaviour.py").write_text(source + "\n")
    (folder / "model.pkl").write_bytes(b"cbehaviour\nModel\n)R.")  # "call Model": what unpickling means
    flavors = {
        "sklearn": {"pickled_model": "model.pkl", "serialization_format": "pickle", "code": "code"},
        "python_function": {"predict_fn": "predict"},
    }
    (folder / "MLmodel").write_text(json.dumps({"flavors": flavors, "signature": {"inputs": _PAIRS}}))
    (folder / "model_platform" / "parity.json").write_text(json.dumps(_SAMPLE))
    if padding:
        (folder / "weights.bin").write_bytes(uuid.uuid4().bytes * (padding // 16))
    return folder


def publish_small(
    client: Client,
    name: str,
    predict: str = SUM,
    *,
    load: str = "pass",
    padding: int = 0,
    environment: EnvironmentRecord | None = None,
) -> ModelVersion:
    """Publish one, as the client publishes: announce, upload, finish, register with a key.

    Parameters
    ----------
    environment
        Where it was made; by default here.
    """
    ref = str(ModelRef.parse(name).within(client.zone))
    with tempfile.TemporaryDirectory() as temporary:
        folder = save_small(Path(temporary, "model"), predict, load=load, padding=padding)
        upload_id = upload(client, ref, folder, list_files(folder), Progress.silent())
    request = RegisterVersion(
        new=True, upload=upload_id, lineage=Lineage(environment=environment or record_environment({"numpy"}))
    )
    return client.register(ref, request, uuid.uuid4().hex)
