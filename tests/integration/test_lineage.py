"""Where a version came from: completed by its publisher alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

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
    register, pending = client.register, DataFingerprint(name="FRAME", rows=3, columns=1, pending=True)

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
