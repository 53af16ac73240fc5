"""Who may call: the runner decides, by a key that it was given, and by the list of what was revoked."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from model_platform_core.deployments import Access
from model_platform_core.errors import ReadinessFailedError
from model_platform_server.ports import DeploymentTarget
from support.servers import wait_until
from targets.harness import REF, Harness, bring_up, settled
from targets.models import SavedModel, plan

Sign = Callable[..., str]


@pytest.fixture(scope="session")
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture(scope="session")
def keys(key: Ed25519PrivateKey) -> dict[str, str]:
    raw = key.public_key().public_bytes_raw()
    return {"k1": base64.urlsafe_b64encode(raw).decode().rstrip("=")}


@pytest.fixture(scope="session")
def sign(key: Ed25519PrivateKey) -> Sign:
    def signed(token_id: str, audience: str = "dev/churn", seconds: float = 600) -> str:
        claims = {"aud": audience, "jti": token_id, "sub": "bob", "exp": time.time() + seconds}
        return jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": "k1"})

    return signed


def _status(url: str, token: str | None = None) -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.post(url, json=[[1, 2]], headers=headers).status_code


def test_holders_of_a_token_may_call_until_it_is_revoked(
    target: DeploymentTarget, small: SavedModel, keys: dict[str, str], sign: Sign
) -> None:
    url = bring_up(target, plan(small, access=Access.TOKEN, keys=keys))
    token = sign("t1")
    assert _status(url) == 401
    assert _status(url, token) == 200
    assert _status(url, sign("t2", audience="dev/other")) == 401
    assert _status(url, sign("t3", seconds=-5)) == 401
    assert target.call("/dev/churn", [[1, 2]], token) == [{"prediction": 3.0}]
    with pytest.raises(ReadinessFailedError, match=r"401 \(unauthenticated\)") as refused:
        target.call("/dev/churn", [[1, 2]], "not-a-token")
    assert "not-a-token" not in str(refused.value)

    target.revoke(["t1"])
    wait_until(lambda: _status(url, token) == 401, what="the revoked token to be refused")
    assert _status(url, sign("t4")) == 200
    target.revoke([])
    wait_until(lambda: _status(url, token) == 200, what="the token to be accepted again")


def test_an_open_endpoint_asks_nobody(target: DeploymentTarget, small: SavedModel) -> None:
    assert _status(bring_up(target, plan(small))) == 200


def test_access_changes_under_a_running_deployment_and_stays_what_it_was_until_the_new_runner_is_ready(
    target: DeploymentTarget, harness: Harness, small: SavedModel, keys: dict[str, str], sign: Sign
) -> None:
    url = bring_up(target, plan(small))
    closed = plan(small, access=Access.TOKEN, keys=keys)
    target.run(closed)
    assert settled(target, closed).ready_replicas == 1
    wait_until(lambda: len(harness.runners(REF, "v1")) == 1, what="the end of the runner before")
    assert _status(url) == 401
    assert _status(url, sign("t5")) == 200
