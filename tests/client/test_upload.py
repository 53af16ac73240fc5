"""Bytes on their way: resumed after a break, taken back after an interrupt. The server here only breaks and remembers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest

from model_platform.capture import upload as uploading
from model_platform.client import Client
from model_platform.config import Address
from model_platform.display.progress import Progress
from model_platform.rest import Access, Rest
from model_platform_core.errors import ServerUnavailableError


class Breaking(ThreadingHTTPServer):
    """Takes uploads; breaks the connection after so many bytes of the first requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: dict[str, bytes] = {}
        self.breaks: list[int] = []
        self.asked: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Breaking

    def _answer(self) -> None:
        received = {path: len(content) for path, content in self.server.received.items()}
        body = json.dumps({"id": "u1", "model": "z.m", "received": received}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _note(self) -> None:
        self.server.asked.append(f"{self.command} {self.path.removeprefix('/api/v1')}")

    def do_POST(self) -> None:
        self._note()
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer()

    def do_GET(self) -> None:
        self._note()
        self._answer()

    def do_DELETE(self) -> None:
        self._note()
        self._answer()

    def do_PUT(self) -> None:
        self._note()
        path = urlparse(self.path).path.rpartition("/files/")[2]
        offset = int(parse_qs(urlparse(self.path).query)["offset"][0])
        known = self.server.received.get(path, b"")
        assert len(known) == offset
        limit = self.server.breaks.pop(0) if self.server.breaks else None
        taken = b""
        while size := int(self.rfile.readline(), 16):
            taken += self.rfile.read(size)
            self.rfile.readline()
            if limit is not None and len(taken) >= limit:
                self.server.received[path] = known + taken[:limit]
                self.close_connection = True
                self.connection.close()
                return
        self.rfile.readline()
        self.server.received[path] = known + taken
        self._answer()

    def log_message(self, *_arguments: object) -> None: ...


@pytest.fixture
def server() -> Iterator[Breaking]:
    found = Breaking()
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.shutdown()
    found.server_close()
    thread.join()


@pytest.fixture
def client(server: Breaking, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr(uploading, "_PAUSE_SECONDS", 0.001)
    access = Access(f"http://127.0.0.1:{server.server_address[1]}", "mp_token")
    found = Client(Address(access.url, "test", zone="z"), Rest(lambda: access))
    yield found
    found.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model" / "data").mkdir(parents=True)
    (tmp_path / "model" / "data" / "weights.bin").write_bytes(bytes(range(256)) * 12_000)
    (tmp_path / "model" / "MLmodel").write_text("flavors: {}")
    (tmp_path / "model" / "empty").touch()
    return tmp_path / "model"


def send(client: Client, folder: Path) -> str:
    return uploading.upload(client, "z.m", folder, uploading.list_files(folder), Progress.silent())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_everything_arrives(server: Breaking, client: Client, folder: Path) -> None:
    assert send(client, folder) == "u1"
    assert server.received == contents(folder)
    assert server.asked[0] == "POST /uploads"
    assert server.asked[-1] == "POST /uploads/u1/finish"


def test_a_broken_connection_goes_on_where_it_stopped(server: Breaking, client: Client, folder: Path) -> None:
    server.breaks = [5, 1_000_000, 2_000_000]
    send(client, folder)
    assert server.received == contents(folder)
    offsets = [one for one in server.asked if "weights.bin" in one]
    assert offsets[0].endswith("offset=0")
    assert not offsets[1].endswith("offset=0")


def test_what_the_server_has_is_not_sent_again(server: Breaking, client: Client, folder: Path) -> None:
    server.received["data/weights.bin"] = (folder / "data" / "weights.bin").read_bytes()
    send(client, folder)
    assert not any("weights.bin" in one for one in server.asked)


def test_a_connection_that_stays_broken_is_told_and_nothing_is_left(
    server: Breaking, client: Client, folder: Path
) -> None:
    server.breaks = [0] * 100
    with pytest.raises(ServerUnavailableError, match="does not answer"):
        send(client, folder)
    assert server.asked[-1] == "DELETE /uploads/u1"


def test_an_interrupt_leaves_nothing(
    server: Breaking, client: Client, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "send_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        send(client, folder)
    assert server.asked[-1] == "DELETE /uploads/u1"


def test_links_do_not_lead_out_of_the_folder(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    assert [file.path for file in uploading.list_files(folder)] == ["MLmodel", "data/weights.bin", "empty"]


@pytest.fixture
def place(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the server of this user on this machine takes files."""
    monkeypatch.setattr(Rest, "uploads", tmp_path / "uploads")
    (tmp_path / "uploads" / "u1" / "given").mkdir(parents=True)
    return tmp_path / "uploads" / "u1" / "given"


def test_the_server_of_this_user_gets_the_files_themselves(
    server: Breaking, client: Client, folder: Path, place: Path
) -> None:
    uploading.upload(client, "z.m", folder, uploading.list_files(folder), Progress.silent(), ours=True)
    assert (place / "1").stat().st_ino == (folder / "data" / "weights.bin").stat().st_ino
    assert {one.name for one in place.iterdir()} == {"0", "1"}  # the empty one needs no bytes
    assert server.asked == ["POST /uploads", "POST /uploads/u1/finish"]


def test_a_file_that_may_still_change_is_sent(server: Breaking, client: Client, folder: Path, place: Path) -> None:
    (folder.parent / "of-the-user.bin").hardlink_to(folder / "data" / "weights.bin")
    uploading.upload(client, "z.m", folder, uploading.list_files(folder), Progress.silent(), ours=True)
    assert set(server.received) == {"data/weights.bin"}
    assert {one.name for one in place.iterdir()} == {"0"}


def test_files_that_are_not_ours_are_sent(server: Breaking, client: Client, folder: Path, place: Path) -> None:
    send(client, folder)
    assert server.received == contents(folder)
    assert list(place.iterdir()) == []


def test_where_no_link_can_be_the_bytes_are_sent(server: Breaking, client: Client, folder: Path, place: Path) -> None:
    place.rmdir()
    uploading.upload(client, "z.m", folder, uploading.list_files(folder), Progress.silent(), ours=True)
    assert server.received == {path: content for path, content in contents(folder).items() if content}
