"""Who may call: signed tokens for this endpoint alone, until they expire or are revoked."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
import pytest

ROW = [{"value": 1.5, "seconds": 0.0, "fail": False}]


@pytest.fixture(scope="module")
def revoked(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tmp_path_factory.mktemp("tokens") / "revoked.json"


@pytest.fixture(scope="module")
def guarded(launch: Any, models: Any, revoked: Any) -> Any:
    runner = launch(models["doubling"].directory, access="token", revoked_file=str(revoked))
    runner.wait_for_event("ready")
    return runner


def call(runner: Any, token: str | None, scheme: str = "Bearer") -> Any:
    headers = {} if token is None else {"authorization": f"{scheme} {token}"}
    return runner.calls.post("/", json=ROW, headers=headers)


def test_a_token_of_this_endpoint(guarded: Any, signer: Any) -> None:
    token = signer.token()
    assert [call(guarded, token).json() for _ in range(2)] == [[{"prediction": 3.0}]] * 2
    assert call(guarded, token, scheme="bearer").status_code == 200


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"seconds": -1}, "The token has expired: ask for a new one."),
        ({"aud": "dev-alice/other"}, "The token is not for this endpoint (dev-alice/churn)."),
        ({"aud": None}, "The token is not for this endpoint (dev-alice/churn)."),
        ({"jti": None}, "The token lacks a claim: exp, aud and jti are needed."),
        ({"exp": None}, "The token lacks a claim: exp, aud and jti are needed."),
        ({"exp": "tomorrow"}, "The token is not genuine: its form or signature is wrong."),
        ({"kid": "key-2"}, "The token was signed with a key that this endpoint does not know."),
    ],
)
def test_tokens_that_do_not_count(guarded: Any, signer: Any, changes: dict[str, Any], sentence: str) -> None:
    token = signer.token(**changes)
    answer = call(guarded, token)
    assert (answer.status_code, answer.json()) == (401, {"error": sentence, "code": "unauthenticated"})
    assert answer.headers["www-authenticate"].startswith('Bearer realm="dev-alice/churn", error="invalid_token"')
    assert token not in answer.text + str(answer.headers)


def test_no_token_and_things_that_are_none(guarded: Any, signer: Any) -> None:
    missing = call(guarded, None)
    assert missing.headers["www-authenticate"] == 'Bearer realm="dev-alice/churn"'
    foreign = type(signer)().token()
    unsigned = jwt.encode({"aud": "dev-alice/churn", "exp": time.time() + 60, "jti": "1"}, None, algorithm="none")
    symmetric = jwt.encode(
        {"aud": "dev-alice/churn", "exp": time.time() + 60, "jti": "1"},
        "k" * 32,
        algorithm="HS256",
        headers={"kid": "key-1"},
    )
    broken = signer.token()[:-4] + "AAAA"
    answers = [missing, *(call(guarded, each) for each in (foreign, unsigned, symmetric, broken, "x", "a.b.c"))]
    assert {answer.status_code for answer in answers} == {401}
    assert call(guarded, signer.token(), scheme="Basic").status_code == 401


def test_a_known_token_expires(guarded: Any, signer: Any) -> None:
    token = signer.token(seconds=1)
    assert call(guarded, token).status_code == 200
    deadline = time.monotonic() + 10
    while call(guarded, token).status_code == 200:
        assert time.monotonic() < deadline
    assert "expired" in call(guarded, token).json()["error"]


def test_a_token_is_revoked_and_the_file_may_be_broken_for_a_while(guarded: Any, signer: Any, revoked: Any) -> None:
    token, other = signer.token(jti="lost"), signer.token(jti="kept")
    assert call(guarded, token).status_code == 200
    revoked.write_text("[")
    assert call(guarded, token).status_code == 200
    revoked.write_text(json.dumps(["lost"]))
    deadline = time.monotonic() + 10
    while call(guarded, token).status_code == 200:
        assert time.monotonic() < deadline
    assert "revoked" in call(guarded, token).json()["error"]
    assert call(guarded, other).status_code == 200
    revoked.unlink()
    assert call(guarded, token).status_code == 401


def test_what_describes_the_interface_needs_no_token_and_what_answers_does(guarded: Any) -> None:
    calls = guarded.calls
    open_paths = ("/", "/schema", "/openapi.json", "/ping", "/v1/models/churn", "/v2", "/v2/models/churn")
    assert {path: calls.get(path).status_code for path in open_paths} == dict.fromkeys(open_paths, 200)
    guarded_paths = ("/", "/invocations", "/v1/models/churn:predict", "/v2/models/churn/infer")
    answers = {path: calls.post(path, json=[]).status_code for path in guarded_paths}
    assert answers == dict.fromkeys(guarded_paths, 401)
    assert calls.get("/metrics").status_code == 404


def test_tokens_reach_no_log(guarded: Any, signer: Any) -> None:
    token = signer.token()
    call(guarded, token)
    call(guarded, f"{token}x")
    assert guarded.calls.post("/", json=ROW, headers={"x-request-id": "mark", "authorization": f"Bearer {token}"})
    deadline = time.monotonic() + 10
    while "mark" not in guarded.log():
        assert time.monotonic() < deadline
    assert token[:30] not in guarded.log()
