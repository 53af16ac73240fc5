"""The main job, end to end: publish, deploy, call, a second version, back, stop."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from support.databases import on_every_database
from support.servers import RunningServer, wait_until

pytestmark = on_every_database

FRAME = pd.DataFrame({"age": [25, 40, 61, 33, 58, 47], "income": [1.5, 2.5, np.nan, 4.0, 3.5, 2.0]})


def fitted(flip: bool = False) -> Any:
    labels = np.array([0, 1, 1, 0, 1, 0])
    return LogisticRegression().fit(FRAME.fillna(0.0), 1 - labels if flip else labels)


class Imputing:
    """Answers from a frame with missing values."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def predict(self, frame: pd.DataFrame) -> Any:
        return self.model.predict(frame.fillna(0.0))


@pytest.fixture(scope="module")
def _published(server: RunningServer) -> dict[str, bool]:
    return {}


@pytest.fixture
def churn(mp: Any, _published: dict[str, bool]) -> Any:
    """An endpoint with two versions behind it in turn; version 2 is live."""
    if not _published:
        mp.publish(fitted(), "churn", data=FRAME.fillna(0.0), example=FRAME.fillna(0.0))
        mp.deploy("churn")
        mp.publish(fitted(flip=True), "churn", data=FRAME.fillna(0.0), example=FRAME.fillna(0.0))
        mp.deploy("churn")
        _published["yes"] = True
    return mp.status("churn")


def call(endpoint: Any, records: Any, **headers: str) -> httpx.Response:
    own = {"Authorization": f"Bearer {endpoint.token()}"}
    return httpx.post(endpoint.url, json=records, headers=own | headers, timeout=30)


def test_the_endpoint_answers_as_the_notebook_did(churn: Any) -> None:
    frame = FRAME.fillna(0.0)
    assert list(churn.predict(frame)) == list(fitted(flip=True).predict(frame))
    status = churn.status().resource.status
    assert status.state == "live"
    parity = next(one.parity for one in status.deployments if one.spec.version == 2)
    assert (parity.rows, parity.equal, parity.largest_difference) == (6, 6, 0.0)
    assert [step.state for step in status.progress] == ["done"] * 5


def test_curl_gets_an_answer_and_a_stranger_none(churn: Any) -> None:
    row = json.dumps([{"age": 40, "income": 2.5}])
    common = ["curl", "--silent", "-H", "Content-Type: application/json", "-d", row, churn.url]
    answer = subprocess.run([*common, "-H", f"Authorization: Bearer {churn.token()}"], capture_output=True, check=True)
    assert set(json.loads(answer.stdout)[0]) == {"prediction"}
    refused = subprocess.run(common, capture_output=True, check=True)
    assert json.loads(refused.stdout)["code"] == "unauthenticated"


def test_a_token_holds_for_its_endpoint_alone_and_until_it_is_revoked(
    mp: Any, server: RunningServer, churn: Any
) -> None:
    mp.deploy("churn", name="other")
    other = mp.status("other")
    assert call(other, [{"age": 1, "income": 1.0}]).status_code == 200
    foreign = {"Authorization": f"Bearer {churn.token()}"}
    assert httpx.post(other.url, json=[{"age": 1, "income": 1.0}], headers=foreign).status_code == 401
    with server.client() as api:
        made = api.post("/tokens", json={"endpoint": "dev-alice/other", "name": "app"}).json()
        ours = {"Authorization": f"Bearer {made['token']}"}
        assert httpx.post(other.url, json=[{"age": 1, "income": 1.0}], headers=ours).status_code == 200
        assert api.delete(f"/tokens/{made['id']}").json()["revoked"]
        listed = api.get("/tokens", params={"endpoint": "dev-alice/other"}).json()["items"]
        assert "token" not in listed[0]

    def refused() -> bool:
        return httpx.post(other.url, json=[{"age": 1, "income": 1.0}], headers=ours).status_code == 401

    wait_until(refused, 10, "the refusal of a revoked token")
    other.stop()


def test_rollback_goes_back_and_keeps_the_runner(churn: Any, mp: Any) -> None:
    before = list(churn.predict(FRAME.fillna(0.0)))
    mp.rollback("churn")
    assert list(churn.predict(FRAME.fillna(0.0))) == list(fitted().predict(FRAME.fillna(0.0)))
    mp.deploy("churn:2")
    assert list(churn.predict(FRAME.fillna(0.0))) == before


def test_deploying_what_is_live_changes_nothing(mp: Any, churn: Any) -> None:
    generation = mp.deploy("churn:2").resource.status.observed_generation
    assert mp.deploy("churn").resource.status.observed_generation == generation


def test_an_alias_that_moves_moves_nothing(mp: Any, server: RunningServer, churn: Any) -> None:
    with server.client() as api:
        assert api.put("/models/churn/aliases/champion", json={"version": 2}).status_code == 200
        mp.deploy("churn@champion")
        assert api.put("/models/churn/aliases/champion", json={"version": 1}).status_code == 200
        spec = api.get("/endpoints/dev-alice/churn").json()["spec"]
        assert [one["version"] for one in spec["deployments"]] == [2]
        assert api.get("/models/churn/versions/@champion").json()["version"] == 1


def test_stop_and_start(mp: Any, churn: Any) -> None:
    token, url = churn.token(), churn.url
    mp.stop("churn")
    stopped = httpx.post(url, json=[{"age": 1, "income": 1.0}], headers={"Authorization": f"Bearer {token}"})
    assert stopped.status_code in (404, 503)
    assert "error" in stopped.json()
    assert mp.status("churn").state == "stopped"
    mp.start("churn")
    assert call(churn, [{"age": 1, "income": 1.0}]).status_code == 200
    assert mp.status("churn").url == url


def test_open_access_is_chosen_and_taken_back(mp: Any, churn: Any) -> None:
    mp.deploy("churn", name="open-one", access="open")
    url = mp.status("open-one").url
    assert httpx.post(url, json=[{"age": 1, "income": 1.0}]).status_code == 200
    mp.deploy("churn", name="open-one", access="token")
    assert httpx.post(url, json=[{"age": 1, "income": 1.0}]).status_code == 401
    mp.stop("open-one")


def test_a_breaking_version_is_refused_with_the_difference(mp: Any, churn: Any) -> None:
    from model_platform_core.errors import BreakingChangeError

    wider = FRAME.fillna(0.0).assign(tenure=[1, 2, 3, 4, 5, 6])
    mp.publish(LogisticRegression().fit(wider, [0, 1, 1, 0, 1, 0]), "churn", data=wider, example=wider)
    with pytest.raises(BreakingChangeError) as refused:
        mp.deploy("churn:3")
    assert "input tenure (long) is new and required" in refused.value.message
    assert call(churn, [{"age": 1, "income": 1.0}]).status_code == 200
    mp.deploy("churn:3", breaking=True)
    assert call(churn, [{"age": 1, "income": 1.0}]).status_code == 422
    mp.rollback("churn")
    assert call(churn, [{"age": 1, "income": 1.0}]).status_code == 200


def test_what_is_in_use_is_not_deleted(server: RunningServer, churn: Any) -> None:
    with server.client() as api:
        answer = api.delete("/models/churn/versions/2")
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict_in_use")
        assert "churn" in answer.json()["detail"]


def test_a_version_can_be_loaded_in_the_kernel(mp: Any, churn: Any) -> None:
    loaded = mp.load("churn:1")
    assert list(loaded.predict(FRAME.fillna(0.0))) == list(fitted().predict(FRAME.fillna(0.0)))


def test_missing_values_travel(mp: Any) -> None:
    mp.publish(Imputing(fitted()), "imputing", data=FRAME, example=FRAME)
    endpoint = mp.deploy("imputing")
    assert list(endpoint.predict(FRAME)) == list(Imputing(fitted()).predict(FRAME))
    assert call(endpoint, [{"age": 40, "income": None}]).status_code == 200
    refused = call(endpoint, [{"age": None, "income": 1.0}])
    assert refused.status_code == 422
    assert "age" in refused.json()["error"]
    endpoint.stop()


def test_the_quota_is_told_with_what_to_stop(mp: Any, server: RunningServer, churn: Any) -> None:
    from model_platform_core.errors import ExceedsQuotaError

    with pytest.raises(ExceedsQuotaError) as refused:
        mp.deploy("churn:2", name="greedy", cpu=512.0)
    assert "CPU cores" in refused.value.message
    assert refused.value.hint == "%mp_stop churn"
    with server.client() as api:
        assert api.get("/endpoints/dev-alice/greedy").status_code == 404


def test_delete_ends_everything_of_an_endpoint(mp: Any, server: RunningServer, churn: Any) -> None:
    mp.deploy("churn:2", name="gone")
    url = mp.status("gone").url
    with server.client() as api:
        assert api.delete("/endpoints/dev-alice/gone").status_code == 204
        assert api.get("/endpoints/dev-alice/gone").status_code == 404

    def away() -> bool:
        return httpx.post(url, json=[]).status_code == 404 and not list((server.state / "local").rglob("gone/*/*"))

    wait_until(away, 20, "the end of the endpoint")
