"""A change that fails leaves what is live exactly as it was: its version, its access, what a start brings back."""

from __future__ import annotations

from typing import Any

import httpx
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from model_platform_core.errors import FailedError, FormatRefusedError
from support.servers import RunningServer

FRAME = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [3.0, 1.0, 2.0]})


def publish_good(mp: Any, name: str) -> None:
    mp.publish(LinearRegression().fit(FRAME, FRAME["a"]), name, data=FRAME, example=FRAME, new=True)


def publish_broken(mp: Any, server: RunningServer, name: str, version: int) -> None:
    """A version whose bytes are changed after its registration: its runner refuses to start."""
    publish_good(mp, name)
    with server.client() as api:
        model_id = api.get(f"/models/{name}/versions/{version}").json()["model_id"]
    folder = next((server.state / "artifacts").rglob(f"{model_id}/**/MLmodel")).parent
    (model,) = [path for path in folder.iterdir() if path.name.startswith("model.")]
    model.chmod(0o600)
    model.write_bytes(model.read_bytes() + b"x")


def call(url: str, token: str | None = None) -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.post(url, json=[{"a": 1.0, "b": 1.0}], headers=headers, timeout=30).status_code


@pytest.fixture
def failed_opening(mp: Any, server: RunningServer) -> Any:
    """Version 1 is live with tokens; opening the endpoint with version 2 has failed."""
    name = "closed"
    with server.client() as api:
        there = api.get(f"/endpoints/dev-alice/{name}").status_code == 200
    if not there:
        publish_good(mp, name)
        mp.deploy(name)
        publish_broken(mp, server, name, 2)
        with pytest.raises(FailedError):
            mp.deploy(name, access="open")
    return mp.status(name)


def test_a_failed_opening_opens_nothing(mp: Any, failed_opening: Any) -> None:
    assert call(failed_opening.url) == 401
    assert call(failed_opening.url, failed_opening.token()) == 200
    mp.deploy("closed:1", replicas=1)
    assert call(failed_opening.url) == 401


def test_start_brings_back_what_was_live_not_what_failed(mp: Any, failed_opening: Any) -> None:
    mp.stop("closed")
    started = mp.start("closed")
    assert (started.state, started.version) == ("live", 1)
    assert call(started.url, started.token()) == 200
    assert call(started.url) == 401


def test_a_rollback_does_not_open_what_was_closed(mp: Any) -> None:
    publish_good(mp, "shut")
    opened = mp.deploy("shut", access="open")
    assert call(opened.url) == 200
    publish_good(mp, "shut")
    mp.deploy("shut", access="token")
    assert call(opened.url) == 401
    back = mp.rollback("shut")
    assert back.version == 1
    assert call(back.url) == 401
    assert call(back.url, back.token()) == 200
    back.stop()


def test_an_endpoint_made_anew_is_not_called_with_old_tokens(mp: Any) -> None:
    publish_good(mp, "reborn")
    first = mp.deploy("reborn")
    token = first.token()
    assert call(first.url, token) == 200
    mp.delete("reborn")
    second = mp.deploy("reborn")
    assert second.resource.generation == 1
    assert call(second.url, token) == 401
    assert call(second.url, second.token()) == 200
    second.stop()


def test_a_card_cannot_be_raised_above_what_the_format_allows(mp: Any, server: RunningServer) -> None:
    class Answering:
        def predict(self, frame: pd.DataFrame) -> Any:
            return frame["a"]

    mp.publish(Answering(), "pickled", data=FRAME, example=FRAME)
    with server.client() as api:
        card = api.get("/models/pickled/versions/1/card").json()["card"]
        filled = dict.fromkeys(
            (
                "purpose",
                "for_whom",
                "limitations",
                "licence",
                "intended_use",
                "out_of_scope",
                "materiality",
                "monitoring",
                "rollback_plan",
            ),
            "a sentence that says enough",
        )
        filled |= {"tier": 2, "owner": "alice", "backup_owner": "ben", "review_by": "2030-01-01"}
        filled |= {"metrics": [{"name": "auc", "value": 0.9}], "code": {"path": "a.py", "commit": "0" * 40}}
        answer = api.put("/models/pickled/versions/1/card", json=card | filled, headers={"If-Match": '"1"'})
    assert answer.status_code == 422
    assert answer.json()["code"] == FormatRefusedError.code
    assert answer.json()["fields"][0]["field"] == "format"
