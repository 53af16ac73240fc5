"""The parity proof refuses what answers differently: another library, another order of columns, another byte."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from support.servers import RunningServer

FRAME = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": [40.0, 10.0, 30.0, 20.0]})


def linear(slope: float) -> LinearRegression:
    return LinearRegression().fit(FRAME, slope * FRAME["a"] + FRAME["b"])


def answered(mp: Any, name: str) -> list[float]:
    return [float(value) for value in mp.status(name).predict(FRAME)]


def failure_of(mp: Any, reference: str, name: str) -> Any:
    from model_platform_core.errors import FailedError

    with pytest.raises(FailedError) as failed:
        mp.deploy(reference)
    assert mp.status(name).state == "live"
    condition = mp.status(name).resource.status.condition("UpdateFailed")
    assert condition is not None
    assert condition.reason == failed.value.code
    return failed.value


def version_folder(server: RunningServer, name: str, version: int) -> Path:
    """Where the bytes of a version lie: the one that holds its MLmodel, in order of publishing."""
    with server.client() as api:
        model_id = api.get(f"/models/{name}/versions/{version}").json()["model_id"]
    return next((server.state / "artifacts").rglob(f"{model_id}/**/MLmodel")).parent


def test_another_library_version_is_not_switched_on(mp: Any, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The notebook's answer comes from a library that answers otherwise where the model is served."""
    import idna

    (project / "pricer.py").write_text(
        "import idna\n\n\nclass Pricer:\n    def predict(self, frame):\n"
        "        return frame['a'] * len(idna.encode('é.example'))\n"
    )
    sys.modules.pop("pricer", None)
    pricer = importlib.import_module("pricer")
    mp.publish(pricer.Pricer(), "price", data=FRAME, example=FRAME)
    mp.deploy("price")
    monkeypatch.setattr(idna, "encode", lambda text: text.encode("utf-8"))
    mp.publish(pricer.Pricer(), "price", data=FRAME, example=FRAME, new=True)
    error = failure_of(mp, "price:2", "price")
    assert error.code == "failed_parity"
    assert "4 of 4 rows" in error.message
    assert answered(mp, "price") == [15.0, 30.0, 45.0, 60.0]


def test_permuted_columns_are_not_switched_on(mp: Any, server: RunningServer) -> None:
    """Files of one model under the signature of another: columns arrive in an order that the model does not know."""
    mp.publish(linear(2.0), "order", data=FRAME, example=FRAME)
    mp.deploy("order")
    swapped = LinearRegression().fit(FRAME[["b", "a"]].to_numpy(), 2.0 * FRAME["a"] + FRAME["b"])

    class Swapped:
        """Answers by position, in the notebook with the columns as given there."""

        permute = True

        def predict(self, frame: pd.DataFrame) -> Any:
            import builtins

            in_notebook = getattr(builtins, "_in_the_notebook", False)
            return swapped.predict((frame[["b", "a"]] if in_notebook else frame).to_numpy())

    import builtins

    builtins._in_the_notebook = True  # type: ignore[attr-defined]
    try:
        mp.publish(Swapped(), "order", data=FRAME, example=FRAME)
    finally:
        del builtins._in_the_notebook  # type: ignore[attr-defined]
    error = failure_of(mp, "order:2", "order")
    assert error.code == "failed_parity"
    assert answered(mp, "order") == pytest.approx(list(linear(2.0).predict(FRAME)))


def test_a_changed_byte_is_not_served(mp: Any, server: RunningServer) -> None:
    mp.publish(linear(2.0), "bytes", data=FRAME, example=FRAME)
    mp.deploy("bytes")
    mp.publish(linear(3.0), "bytes", data=FRAME, example=FRAME)
    folder = version_folder(server, "bytes", 2)
    (model,) = [path for path in folder.iterdir() if path.name.startswith("model.")]
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.chmod(0o600)
    model.write_bytes(content)
    error = failure_of(mp, "bytes:2", "bytes")
    assert error.code == "failed_integrity"
    assert answered(mp, "bytes") == pytest.approx(list(linear(2.0).predict(FRAME)))


def test_a_model_that_disagrees_with_itself_is_marked(mp: Any) -> None:
    class Dice:
        def predict(self, frame: pd.DataFrame) -> Any:
            import numpy as np

            return np.random.default_rng().random(len(frame))

    mp.publish(Dice(), "dice", data=FRAME, example=FRAME)
    endpoint = mp.deploy("dice")
    parity = endpoint.resource.status.deployments[0].parity
    assert parity is not None
    assert not parity.deterministic
    assert parity.proven
    endpoint.stop()
