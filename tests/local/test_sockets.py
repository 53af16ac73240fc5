"""The folder for sockets: short, and ours alone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_platform_core.errors import TargetUnavailableError
from model_platform_server.adapters.local.remains import stop_everything
from model_platform_server.adapters.local.sockets import ask, socket_folder
from targets.harness import REF, LocalHarness, bring_up
from targets.models import SavedModel, plan


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose path leaves room for a socket, wherever the tests keep their own."""
    with tempfile.TemporaryDirectory(prefix="mp-") as folder:
        yield Path(folder)


def test_it_lies_in_the_state_directory_where_that_is_short(short: Path) -> None:
    folder = socket_folder(short)
    assert folder == short / "sockets"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert socket_folder(short) == folder


def test_it_lies_elsewhere_where_that_is_long_and_goes_with_the_rest(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    folder = socket_folder(long)
    assert len(os.fsencode(folder)) < 60
    assert folder.stat().st_mode & 0o777 == 0o700
    assert socket_folder(long) == folder
    assert socket_folder(tmp_path / ("y" * 90)) != folder
    stop_everything(long)
    (tmp_path / ("y" * 90)).mkdir()
    stop_everything(tmp_path / ("y" * 90))
    assert not folder.exists()


def test_a_folder_that_others_may_open_is_refused(short: Path) -> None:
    (short / "sockets").mkdir(mode=0o755)
    (short / "sockets").chmod(0o755)
    with pytest.raises(TargetUnavailableError, match="0700"):
        socket_folder(short)


def test_a_link_in_its_place_is_refused(short: Path) -> None:
    (short / "elsewhere").mkdir(mode=0o700)
    (short / "sockets").symlink_to(short / "elsewhere")
    with pytest.raises(TargetUnavailableError, match="yours alone"):
        socket_folder(short)


def test_a_target_with_a_long_path_serves(tmp_path: Path, small: SavedModel) -> None:
    long = LocalHarness(tmp_path / ("z" * 90))
    try:
        bring_up(long.target, plan(small))
        assert long.target.call("/dev/churn", [[1, 2]], None) == [{"prediction": 3.0}]
        folder = socket_folder(long.state)
        assert (folder / "gateway.admin").is_socket()
    finally:
        long.end()
    assert not folder.exists()


def test_sockets_are_ours_alone(harness: LocalHarness, small: SavedModel) -> None:
    bring_up(harness.target, plan(small))
    found = [path for path in socket_folder(harness.state).iterdir() if path.is_socket()]
    assert len(found) == 5  # a runner has two, the gateway, whoever watches and a fork server one each
    assert {path.stat().st_mode & 0o777 for path in found} == {0o600}
    assert harness.processes(REF, "v1")


def test_nobody_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        ask(tmp_path / "none", "/ready")
