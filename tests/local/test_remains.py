"""What a server leaves that was killed between two steps."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import httpx
import pytest

from model_platform_core.errors import StorageUnavailableError
from model_platform_server.adapters.local.files import replace
from model_platform_server.adapters.local.remains import stop_everything
from model_platform_server.adapters.local.target import LocalTarget
from model_platform_server.ports import RoutePlan
from support.servers import wait_until
from targets.harness import REF, LocalHarness, bring_up, maintained, settled
from targets.models import SavedModel, plan

PAIR = [[1, 2]]


def test_a_runner_whose_start_was_not_noted_is_taken_over(harness: LocalHarness, small: SavedModel) -> None:
    url = bring_up(harness.target, plan(small))
    before = harness.runners(REF, "v1")
    (file,) = harness.state.glob("deployments/*/*/*/*/runner.json")
    replace(file, json.dumps({**json.loads(file.read_text()), "process": None, "ready": False}))
    target = harness.another()
    with maintained(target):
        assert settled(target, plan(small)).restarts == 0
    assert harness.runners(REF, "v1") == before
    assert httpx.post(url, json=PAIR).status_code == 200


def test_a_folder_without_a_readable_plan_is_cleaned_with_its_processes(
    harness: LocalHarness, small: SavedModel
) -> None:
    bring_up(harness.target, plan(small))
    bring_up(harness.target, plan(small, "v2", version=2), route=False)
    (runner,) = harness.processes(REF, "v1")
    folder = harness.state / "deployments" / str(REF) / "v1"
    (folder / "plan.json").write_text("{")
    target = harness.another()
    target.maintain()
    assert not folder.exists()
    assert list(target.observe(REF)) == ["v2"]
    wait_until(lambda: not _runs(runner.pid))
    refusal = httpx.post(f"{target.gateway_url()}/{REF}", json=PAIR)
    assert refusal.status_code == 503


def _runs(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        return False


def test_files_of_the_gateway_that_were_lost_are_made_again(harness: LocalHarness, small: SavedModel) -> None:
    url = bring_up(harness.target, plan(small))
    port = harness.target.gateway_url()
    for name in ("rds.pb", "cds.pb", "routes.json"):
        (harness.state / "gateway" / name).write_text("")
    target = harness.another()
    with maintained(target):
        settled(target, plan(small))
        target.route(RoutePlan(REF, {"v1": 100}))
        assert httpx.post(url, json=PAIR).json() == [{"prediction": 3.0}]
        assert target.gateway_url() == port


def test_a_log_that_has_grown_is_rotated_and_read_on(harness: LocalHarness, small: SavedModel) -> None:
    url = bring_up(harness.target, plan(small))
    (log,) = harness.state.glob("deployments/*/*/*/*/runner.log")
    followed = harness.target.logs(REF, None, 1, True)
    assert '"ready"' in next(followed).text
    with log.open("ab") as file:
        file.write((b"x" * 1023 + b"\n") * (6 << 10))
    assert next(followed).text.startswith("x")
    harness.target.maintain()
    assert log.stat().st_size < 1 << 20
    assert log.with_name("runner.log.1").stat().st_size > 5 << 20
    httpx.post(url, json=PAIR)
    assert any('"call"' in line.text for line in followed)


def test_a_state_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageUnavailableError, match=f"{tmp_path}/file/state"):
        LocalTarget(tmp_path / "file" / "state")


def test_a_full_disk_is_told_and_leaves_nothing_half_made(small_disk: Path, small: SavedModel) -> None:
    target = LocalTarget(small_disk / "state")
    with pytest.raises(StorageUnavailableError, match="No space left"):
        target.prepare(plan(small), lambda _words: None)
    assert list((small_disk / "state" / "overlays").iterdir()) == []
    assert stop_everything(small_disk / "state") == 0


def test_what_runs_goes_on_while_the_disk_is_full_and_what_does_not_comes_back_when_it_is_not(
    small_disk: Path, tmp_path: Path, small: SavedModel
) -> None:
    """The state lies on the small disk, what is large beside it."""
    harness = LocalHarness(small_disk / "state")
    (small_disk / "state" / "overlays").rmdir()
    (tmp_path / "overlays").mkdir()
    (small_disk / "state" / "overlays").symlink_to(tmp_path / "overlays")
    try:
        url = bring_up(harness.target, plan(small))
        _fill(small_disk / "filler")
        assert httpx.post(url, json=PAIR).status_code == 200
        harness.kill_runner(REF, "v1")
        with maintained(harness.target):
            wait_until(lambda: harness.target.observe(REF)["v1"].ready_replicas == 0)
            assert httpx.post(url, json=PAIR).status_code == 503
            (small_disk / "filler").unlink()
            assert settled(harness.target, plan(small)).ready_replicas == 1
            assert httpx.post(url, json=PAIR).status_code == 200
    finally:
        harness.end()


def _fill(file: Path) -> None:
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as open_file:
        while True:
            open_file.write(b"x" * 1024)
