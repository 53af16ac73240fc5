"""Where a version came from: completed by its publisher alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from model_platform.capture.fingerprint import fingerprint
from model_platform.capture.table import as_table
from model_platform_core.lineage import DataFingerprint, Lineage
from model_platform_core.wire import RegisterVersion
from support.servers import RunningServer

FRAME = pd.DataFrame({"a": [1.0, 2.0, 3.0]})


@pytest.fixture
def api(server: RunningServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def test_only_the_publisher_completes_and_only_what_was_pending(
    mp: Any, api: httpx.Client, server: RunningServer, monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    client = type(mp.connect())
    register, pending = client.register, DataFingerprint(name="later", rows=3, columns=1, pending=True)

    def register_pending(self: Any, model: str, request: RegisterVersion, key: str) -> Any:
        return register(self, model, request.model_copy(update={"lineage": Lineage(data=(pending,))}), key)

    monkeypatch.setattr(client, "register", register_pending)
    mp.publish(LinearRegression().fit(FRAME, FRAME["a"]), "waited", data=FRAME, example=FRAME)
    zone = api.get("/whoami").json()["home_zone"]
    path = f"/models/{zone}.waited/versions/1/lineage"
    done = pending.model_copy(update={"sha256": "sha256:" + "a" * 64, "pending": False}).model_dump(mode="json")

    actor = {"name": "eve", "home_zone": zone, "roles": {zone: "developer"}}
    assert api.put("/actors/eve", json=actor).status_code == 200
    token = api.post("/tokens", json={"actor": "eve", "name": "test"}).json()["token"]
    with server.client(token) as eve:
        refused = eve.patch(path, json={"data": [done]})
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")

    answer = api.patch(path, json={"data": [done]})
    assert answer.status_code == 200
    assert answer.json()["lineage"]["data"] == [done]
    again = api.patch(path, json={"data": [done | {"sha256": "sha256:" + "b" * 64}]})
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    assert api.get(f"/models/{zone}.waited/versions/1").json()["lineage"]["data"] == [done]


SLOW = """
import hashlib, sys, threading
from types import SimpleNamespace
import numpy as np
from sklearn.linear_model import LinearRegression
import model_platform as mp
from model_platform.capture import completing, fingerprint, publish

gate, Digest = threading.Event(), hashlib.sha256


class Held:
    def __init__(self):
        self.digest = Digest()

    def update(self, piece):
        gate.wait()
        self.digest.update(piece)

    def hexdigest(self):
        return self.digest.hexdigest()


fingerprint.hashlib = SimpleNamespace(sha256=Held)
fingerprint.PATIENCE_SECONDS = publish.PATIENCE_SECONDS = completing._AT_EXIT_SECONDS = 0.2
rows = np.arange(200_000.0).reshape(-1, 2)
model = LinearRegression().fit(rows[:10], rows[:10, 0])
print(mp.publish(model, sys.argv[1], data=rows, pii="none"))
rows[:] = 0
if sys.argv[2] == "goes-on":
    gate.set()
"""


@pytest.mark.parametrize(
    ("name", "then"), [("goes-on", "goes-on"), ("is-ended", "ends")], ids=["it-is-completed", "it-is-given-up"]
)
def test_a_fingerprint_that_takes_long_follows_or_is_given_up_at_the_end(
    server: RunningServer, api: httpx.Client, project: Path, name: str, then: str
) -> None:
    (project / "train.py").write_text(SLOW)
    told = subprocess.run(
        [sys.executable, "train.py", name, then],
        env={**os.environ, "MP_HOME": str(server.state), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    ).stdout
    assert "its fingerprint follows" in told
    lineage = api.get(f"/models/{name}/versions/1").json()["lineage"]
    (found,) = lineage["data"]
    assert (found["name"], found["rows"], found["pending"]) == ("rows", 100_000, False)
    if then == "goes-on":
        rows = np.arange(200_000.0).reshape(-1, 2)  # as they were when the model was published
        assert found["sha256"] == fingerprint("rows", rows, as_table(rows, "--data")).sha256
    else:
        assert (found["sha256"], found["note"]) == (None, "the session ended before its digest was computed")
    assert lineage["notebook"] == "train.py"
    cells = api.get(f"/models/{name}/versions/1/files/model_platform/lineage/cells.py").text
    assert "model = LinearRegression()" in cells
