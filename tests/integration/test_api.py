"""The REST API of a real server: the document, the event stream, actors and walls, repeated and stale requests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from support.databases import on_every_database
from support.servers import RunningServer, running_server, wait_until

pytestmark = on_every_database

FRAME = pd.DataFrame({"a": [1.0, 2.0, 3.0]})


@pytest.fixture
def api(server: RunningServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def publish(mp: Any, name: str) -> None:
    mp.publish(LinearRegression().fit(FRAME, FRAME["a"]), name, data=FRAME, example=FRAME)


def as_actor(api: httpx.Client, server: RunningServer, name: str, zone: str) -> httpx.Client:
    """Somebody else with a zone of their own, and a client that speaks for them."""
    spec = {"owner": name, "limits": {"cpu": 1, "memory": 1 << 30, "endpoints": 5}}
    assert api.put(f"/zones/{zone}", json=spec).status_code == 200
    actor = {"name": name, "home_zone": zone, "roles": {zone: "developer"}}
    assert api.put(f"/actors/{name}", json=actor).status_code == 200
    token = api.post("/tokens", json={"actor": name, "name": "test"}).json()["token"]
    return server.client(token)


def stream(client: httpx.Client, last_id: int, count: int) -> list[dict[str, Any]]:
    """The next events of the stream after an id."""
    headers = {"Accept": "text/event-stream", "Last-Event-ID": str(last_id)}
    found: list[dict[str, Any]] = []
    with client.stream("GET", "/events", headers=headers) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                found.append(json.loads(line.removeprefix("data: ")))
                if len(found) == count:
                    return found
    return found


def test_the_document_names_every_route(api: httpx.Client) -> None:
    document = api.get("/openapi.json").json()
    assert document["openapi"].startswith("3.")
    for path in (
        "/api/v1/whoami",
        "/api/v1/zones/{zone}/preflight",
        "/api/v1/models/{model}/versions/{version}/card",
        "/api/v1/uploads/{upload}/files/{path}",
        "/api/v1/endpoints/{zone}/{name}/rollback",
        "/api/v1/environments",
        "/api/v1/environments/prune",
        "/api/v1/events",
        "/api/v1/tokens",
        "/healthz",
        "/readyz",
        "/metrics",
    ):
        assert path in document["paths"], path


def test_health_readiness_and_figures(server: RunningServer) -> None:
    assert httpx.get(f"{server.url}/healthz").text == "ok"
    ready = httpx.get(f"{server.url}/readyz").json()
    assert ready == {"ready": True, "database": True, "registry": True}
    assert httpx.get(f"{server.url}/metrics").status_code == 401
    figures = httpx.get(f"{server.url}/metrics", headers={"Authorization": f"Bearer {server.token}"}).text
    assert "mp_server_start_time_seconds" in figures
    assert "mp_registry_ready 1" in figures


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/models/nothing", 404, "model_not_found"),
        ("GET", "/models/a.b.c", 400, "invalid_name"),
        ("GET", "/endpoints/dev-alice/nothing", 404, "endpoint_not_found"),
        ("GET", "/zones/nowhere", 404, "zone_not_found"),
        ("GET", "/nothing", 404, "not_found"),
        ("POST", "/whoami", 405, "invalid_method"),
        ("GET", "/models?limit=0", 422, "invalid_request"),
        ("GET", "/models?cursor=nonsense", 400, "invalid_request"),
        ("DELETE", "/tokens/nothing", 404, "token_not_found"),
        ("GET", "/uploads/nothing", 404, "upload_not_found"),
    ],
)
def test_errors_are_problems_with_a_code(api: httpx.Client, method: str, path: str, status: int, code: str) -> None:
    answer = api.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


def test_a_deployment_is_asked_for_with_the_etag_that_was_read(mp: Any, api: httpx.Client) -> None:
    publish(mp, "tagged")
    path = "/endpoints/dev-alice/tagged"
    made = api.put(path, json={"version": "tagged:1"}, headers={"If-None-Match": "*"})
    assert made.status_code == 202
    wait_until(lambda: api.get(path).json()["status"]["observed_generation"] == 1, 60, "the deployment")
    again = api.put(path, json={"version": "tagged:1", "replicas": 2}, headers={"If-None-Match": "*"})
    assert (again.status_code, again.json()["code"]) == (412, "conflict_changed_since_read")
    stale = api.put(path, json={"version": "tagged:1", "replicas": 2}, headers={"If-Match": '"0000"'})
    assert stale.status_code == 412
    same = api.put(path, json={"version": "tagged:1"}, headers={"If-Match": made.headers["etag"]})
    assert same.json()["generation"] == 1
    assert api.post(f"{path}/stop").status_code == 202


def test_a_card_is_revised_by_the_revision_that_was_read(mp: Any, api: httpx.Client) -> None:
    publish(mp, "carded")
    path = "/models/carded/versions/1/card"
    read = api.get(path)
    card = read.json()["card"] | {"purpose": "Decide who is called first"}
    written = api.put(path, json=card, headers={"If-Match": read.headers["etag"]})
    assert (written.status_code, written.json()["revision"]) == (200, 2)
    stale = api.put(path, json=card, headers={"If-Match": read.headers["etag"]})
    assert (stale.status_code, stale.json()["code"]) == (412, "conflict_changed_since_read")
    assert api.get("/models/carded").json()["owner"] == "alice"
    wrong = api.put(path, json={"purpos": "x"})
    assert (wrong.status_code, wrong.json()["fields"][0]["field"]) == (422, "purpos")


def test_the_same_request_twice_makes_one_version(mp: Any, api: httpx.Client) -> None:
    publish(mp, "once")
    folder = {"MLmodel": b"flavors: {}\n"}
    files = [
        {"path": name, "size": len(data), "sha256": "sha256:" + hashlib.sha256(data).hexdigest()}
        for name, data in folder.items()
    ]
    upload = api.post("/uploads", json={"model": "once", "files": files}).json()["id"]
    for name, data in folder.items():
        assert api.put(f"/uploads/{upload}/files/{name}", content=data).status_code == 200
    assert api.post(f"/uploads/{upload}/finish").json()["complete"]
    headers = {"Idempotency-Key": "only-once"}
    first = api.post("/models/once/versions", json={"upload": upload}, headers=headers)
    again = api.post("/models/once/versions", json={"upload": upload}, headers=headers)
    assert (first.status_code, first.json()["version"]) == (201, 2)
    assert again.json()["version"] == 2
    other = api.post("/models/once/versions", json={"upload": upload, "description": "x"}, headers=headers)
    assert other.status_code == 409
    assert [one["version"] for one in api.get("/models/once/versions").json()["items"]] == [2, 1]


def test_events_are_told_in_order_and_resumed_without_loss(mp: Any, server: RunningServer, api: httpx.Client) -> None:
    start = api.get("/events", params={"limit": 1000}).json()["items"][-1]["id"]
    publish(mp, "told")
    first = stream(api, start, 2)
    assert [one["type"] for one in first] == ["model_registered", "version_registered"]
    assert first[1]["subject"] == "dev-alice.told"
    with server.client() as other:
        other.patch("/models/told", json={"description": "what it is"})
        second = stream(other, first[1]["id"], 1)
    assert second[0]["type"] == "model_changed"
    page = api.get("/events", params={"after": start}).json()["items"]
    assert [one["id"] for one in page] == [one["id"] for one in [*first, *second]]
    assert page == sorted(page, key=lambda one: one["id"])


def test_a_stream_is_resumed_after_a_restart_of_the_server(mp: Any, server: RunningServer, api: httpx.Client) -> None:
    """Whoever was cut off tells the last id that it has seen, and misses nothing."""
    publish(mp, "resumed")
    before = api.get("/events", params={"limit": 1000}).json()["items"][-1]["id"]
    api.patch("/models/resumed", json={"description": "the first words"})
    server.kill()
    server.start()
    with server.client() as later:
        later.patch("/models/resumed", json={"description": "other words"})
        told = stream(later, before, 2)
        assert [one["type"] for one in told] == ["model_changed", "model_changed"]
        assert [one["id"] for one in told] == sorted({one["id"] for one in told})
        assert later.get("/events", params={"after": before}).json()["items"] == told


def test_a_zone_is_a_wall(mp: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Another actor sees nothing of a zone and changes nothing in it; on the local target nobody deploys beside another."""
    with running_server(tmp_path_factory.mktemp("two")) as server, server.client() as alice:
        wait_until(server.ready, 120, "MLflow's start")
        address = {"server": server.url, "token": server.token}
        connection = mp.connect(**address)
        publish(mp, "secret")
        connection.close()
        last = alice.get("/events", params={"limit": 1000}).json()["items"][-1]["id"]
        with as_actor(alice, server, "ben", "dev-ben") as ben:
            assert ben.get("/whoami").json()["home_zone"] == "dev-ben"
            assert ben.get("/models").json()["items"] == []
            for path in (
                "/models/dev-alice.secret",
                "/models/dev-alice.secret/versions/1",
                "/models/dev-alice.secret/versions/1/files/MLmodel",
                "/models/dev-alice.secret/versions/1/card",
                "/zones/dev-alice",
                "/zones/dev-alice/usage",
                "/endpoints/dev-alice/secret",
            ):
                assert ben.get(path).status_code == 404, path
            assert ben.get("/environments").status_code == 403
            assert ben.post("/environments/prune").status_code == 403
            assert ben.put("/endpoints/dev-alice/x", json={"version": "secret:1"}).status_code == 403
            assert ben.post("/uploads", json={"model": "dev-alice.secret", "files": []}).status_code == 403
            assert ben.put("/actors/ben", json={"name": "ben", "roles": {"*": "platform-admin"}}).status_code == 403
            digests = alice.get("/models/secret/versions/1").json()["files"]
            started = ben.post("/uploads", json={"model": "mine", "files": digests}).json()
            assert set(started["received"].values()) <= {0}, "a digest is never enough to obtain bytes"
            seen = ben.get("/events", params={"after": 0, "limit": 1000}).json()["items"]
            assert {one["zone"] for one in seen} <= {"dev-ben"}
            refused = alice.put("/endpoints/dev-alice/secret", json={"version": "secret:1"})
            assert (refused.status_code, refused.json()["code"]) == (422, "unsupported_by_target")
            assert "isolation" in refused.json()["detail"]
            told = alice.get("/events", params={"after": last, "limit": 1000}).json()["items"]
            assert "actor_changed" in [one["type"] for one in told]
            in_use = alice.delete("/zones/dev-ben")
            assert (in_use.status_code, in_use.json()["code"]) == (409, "conflict_in_use")


def test_nothing_secret_is_readable_by_others(server: RunningServer) -> None:
    for name in ("token", "server.json", "endpoint-key.pem"):
        assert (server.state / name).stat().st_mode & 0o077 == 0, name
    assert server.state.stat().st_mode & 0o077 == 0
    log = Path(server.state / "logs" / "server.log").read_text()
    assert server.token not in log
