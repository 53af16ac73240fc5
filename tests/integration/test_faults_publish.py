"""The server is killed while a version is published: what was acknowledged is there, and nothing is half there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from model_platform.client import Client
from model_platform_core.errors import ModelNotFoundError, StorageUnavailableError
from model_platform_core.models import FileEntry
from support.databases import DATABASES, fresh_database
from support.dying import program
from support.embedded import notebook
from support.servers import RunningServer, wait_until
from support.small_models import publish_small
from support.state import check_state

SERVER = "model_platform_server"
DATABASE_URL = "MP_SERVER_DATABASE_URL"


@pytest.fixture(scope="module", params=DATABASES)
def home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A state directory on which servers come and go, and their database: in there, or in PostgreSQL."""
    with contextlib.ExitStack() as stack:
        if request.param == "postgresql":
            url = stack.enter_context(fresh_database(request.getfixturevalue("postgresql")))
            # The client starts servers too: they inherit its environment.
            stack.enter_context(pytest.MonkeyPatch.context()).setenv(DATABASE_URL, url)
        server = RunningServer(tmp_path_factory.mktemp("home"))
        stack.callback(server.stop_all)
        yield server


def versions(client: Client) -> list[int]:
    try:
        return sorted(one.version for one in client.versions("churn"))
    except ModelNotFoundError:
        return []


def age(folder: Path) -> None:
    """Let everything in a folder be two days older."""
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, times=(path.stat().st_mtime - 2 * 86_400,) * 2)


@pytest.mark.parametrize(
    "place",
    [
        f"{SERVER}.services.publish:write_part:after:7",
        f"{SERVER}.adapters.files.uploads:FileUploads.finish:after",
        f"{SERVER}.adapters.mlflow.publishing:_Placement.put:after",
        f"{SERVER}.adapters.mlflow.registry:MlflowRegistry.register:after",
        f"{SERVER}.adapters.files.uploads:FileUploads.discard:before",
    ],
    ids=["within the upload", "uploaded", "files in place", "registered", "registered and remembered"],
)
def test_a_server_is_killed_while_a_version_is_published_and_the_client_brings_it_to_its_end(
    home: RunningServer, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """The client notices, starts the next server and asks again with the same key: there is one version."""
    home.start(program=program(place))
    with notebook(home.state, monkeypatch) as client:
        before = versions(client)
        made = publish_small(client, "churn", padding=5 << 20)
        assert home.ended() == "SIGKILL"
        assert versions(client) == [*before, made.version] == list(range(1, len(before) + 2))
        remains = check_state(home.state, os.environ.get(DATABASE_URL))
        assert bool(remains) == ("_Placement" in place), remains
        assert list((home.state / "uploads").iterdir()) == []
        age(home.state / "artifacts")


def test_what_a_killed_publish_has_left_is_removed_a_day_later(
    home: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that were in place before the version was, and an upload that nobody came back to."""
    with notebook(home.state, monkeypatch) as client:
        young = client.start_upload("churn", [FileEntry(path="MLmodel", size=9, sha256=f"sha256:{'0' * 64}")])
        old = client.start_upload("churn", [FileEntry(path="MLmodel", size=9, sha256=f"sha256:{'0' * 64}")])
    age(home.state / "uploads" / old.id)
    with notebook(home.state, monkeypatch) as client:
        wait_until(lambda: client.whoami().registry_ready, 60)
        wait_until(lambda: not check_state(home.state, os.environ.get(DATABASE_URL)), what="the removal of the files")
        assert [path.name for path in (home.state / "uploads").iterdir()] == [young.id]
        assert versions(client) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("full", ["uploads", "artifacts"])
def test_a_disk_that_fills_up_while_publishing_is_told_and_nothing_is_registered(
    tmp_path: Path, small_disk: Path, fill_small_disk: Callable[[], Path], monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    """When there is room again, the same publish goes through: nothing of the first one is in its way."""
    monkeypatch.delenv(DATABASE_URL, raising=False)
    server = RunningServer(tmp_path / "state")
    server.state.mkdir(mode=0o700)
    (small_disk / full).mkdir(mode=0o700)
    (server.state / full).symlink_to(small_disk / full, target_is_directory=True)
    try:
        server.start()
        with notebook(server.state, monkeypatch) as client:
            publish_small(client, "before")
            other = fill_small_disk()
            with pytest.raises(StorageUnavailableError, match=r"no room|full"):
                publish_small(client, "churn", padding=256 << 10)
            assert versions(client) == []
            other.unlink()
            assert publish_small(client, "churn", padding=256 << 10).version == 1
            assert check_state(server.state) == []
    finally:
        server.stop_all()
