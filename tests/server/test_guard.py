"""The door: names under which the server may be addressed, pages that may call it, tokens, and answers without them."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from model_platform_core.access import Actor
from model_platform_server.guard import Guard

ALICE = Actor(name="alice", home_zone="dev-alice")


async def _echo(scope: Any, receive: Any, send: Any) -> None:
    actor = scope.get("actor")
    body = actor.name.encode() if actor else b"nobody"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


@contextlib.contextmanager
def _acting_as(_actor: Actor) -> Iterator[None]:
    yield


@pytest.fixture
def client() -> httpx.AsyncClient:
    guard = Guard(
        _echo,  # type: ignore[arg-type]
        actor_of=lambda token: ALICE if token == "right" else None,
        acting_as=_acting_as,
        allowed_hosts=["models.example"],
        allowed_origins=["https://lab.example"],
    )
    transport = httpx.ASGITransport(guard)  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000")


def _get(client: httpx.AsyncClient, path: str = "/api/v1/whoami", **headers: str) -> httpx.Response:
    import asyncio

    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return asyncio.run(client.get(path, headers=named))


RIGHT = "Bearer right"
BASIC = "Basic " + base64.b64encode(b"anybody:right").decode()


@pytest.mark.parametrize("authorization", [RIGHT, BASIC, "bearer right"])
def test_a_token_says_who_calls(client: httpx.AsyncClient, authorization: str) -> None:
    answer = _get(client, authorization=authorization)
    assert (answer.status_code, answer.text) == (200, "alice")
    assert answer.headers["x-model-platform-version"]


@pytest.mark.parametrize("authorization", ["", "Bearer wrong", "Bearer", "Basic !!!", "Basic " + RIGHT, "Digest x"])
def test_without_a_right_token_nothing_is_answered(client: httpx.AsyncClient, authorization: str) -> None:
    answer = _get(client, authorization=authorization)
    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthenticated"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "wrong" not in answer.text


def test_mlflow_clients_get_their_own_shape_of_refusal(client: httpx.AsyncClient) -> None:
    answer = _get(client, "/mlflow/api/2.0/mlflow/experiments/search")
    assert answer.status_code == 401
    assert answer.json()["error_code"] == "UNAUTHENTICATED"
    assert "MLFLOW_TRACKING_TOKEN" in answer.json()["message"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/api/v1/proof"])
def test_machines_ask_without_a_token(client: httpx.AsyncClient, path: str) -> None:
    assert _get(client, path).text == "nobody"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", ""])
def test_an_unknown_name_is_refused(client: httpx.AsyncClient, host: str) -> None:
    answer = _get(client, host=host, authorization=RIGHT)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize("host", ["localhost:8000", "[::1]:8000", "models.example", "MODELS.example:443"])
def test_a_known_name_is_served(client: httpx.AsyncClient, host: str) -> None:
    assert _get(client, host=host, authorization=RIGHT).status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:8000", 200),
        ("https://lab.example", 200),
        ("https://evil.example", 403),
        ("http://127.0.0.1:9999", 403),
        ("null", 403),
    ],
)
def test_pages_of_others_may_not_call(client: httpx.AsyncClient, origin: str, status: int) -> None:
    assert _get(client, origin=origin, authorization=RIGHT).status_code == status


def test_a_request_id_is_kept_if_it_is_harmless(client: httpx.AsyncClient) -> None:
    assert _get(client, "/healthz", x_request_id="abc-1").headers["x-request-id"] == "abc-1"
    assert _get(client, "/healthz", x_request_id="a b<script>").headers["x-request-id"] != "a b<script>"
