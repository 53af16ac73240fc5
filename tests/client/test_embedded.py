"""Finding the private server: proof before the token, one start for several kernels, refusals in words."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import psutil
import pytest

import model_platform
from model_platform.client import Client
from model_platform.config import Address
from model_platform.display.progress import Progress
from model_platform.embedded import discovery, interpreter, launcher
from model_platform.embedded.discovery import prove, read_discovery
from model_platform_core.errors import (
    EnvironmentFailedError,
    InUseError,
    ServerUnavailableError,
    StorageUnavailableError,
    UnsupportedByTargetError,
)
from model_platform_server.adapters.local.processes import identity_of

KEY = "the key of the proof"


@contextmanager
def answering(prove_with: str | None) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A real HTTP server on a port of its own; it proves itself with a key, or not at all. Keeps the headers it got."""
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            seen.append(dict(self.headers.items()))
            query = parse_qs(urlparse(self.path).query)
            body: dict[str, Any] = {}
            if prove_with is not None and "challenge" in query:
                text = query["challenge"][0] + url
                body = {"proof": hmac.new(prove_with.encode(), text.encode(), hashlib.sha256).hexdigest()}
            content = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield url, seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def announce(state: Path, url: str, **changes: Any) -> Path:
    """A discovery file and a token, as a server of this process would have left them."""
    content = {
        "url": url,
        "pid": os.getpid(),
        "start_time": psutil.Process().create_time(),
        "started": identity_of(os.getpid()).started,
        "host": platform.node(),
        "version": model_platform.__version__,
        "interpreter": sys.executable,
        "proof_key": KEY,
    }
    path = state / discovery.DISCOVERY_FILE
    path.write_text(json.dumps(content | changes))
    path.chmod(0o600)
    (state / discovery.TOKEN_FILE).write_text("mp_secret\n")
    return path


def test_a_server_that_proves_itself_is_found(tmp_path: Path) -> None:
    with answering(KEY) as (url, _):
        announce(tmp_path, url)
        running = launcher.find(tmp_path)
    assert running is not None
    assert (running.discovery.url, running.token) == (url, "mp_secret")


@pytest.mark.parametrize("key", [None, "another key"])
def test_an_impostor_on_the_port_does_not_get_the_token(tmp_path: Path, key: str | None) -> None:
    with answering(key) as (url, seen):
        announce(tmp_path, url)
        assert launcher.find(tmp_path) is None
    assert seen
    assert not any("authorization" in {name.lower() for name in headers} for headers in seen)
    assert not any("mp_secret" in value for headers in seen for value in headers.values())


def test_a_connection_is_challenged_once_and_before_the_token(tmp_path: Path) -> None:
    with answering(KEY) as (url, seen):
        announce(tmp_path, url)
        client = Client.at(Address(None, "none"), tmp_path)
        for _ in range(3):
            client.rest.call("GET", "/whoami")
        client.close()
    # The proof when the server is looked for, the proof of the connection, the three requests.
    assert [headers.get("Authorization") for headers in seen] == [None, None, *["Bearer mp_secret"] * 3]


def test_a_proof_for_another_address_is_none(tmp_path: Path) -> None:
    with answering(KEY) as (url, _):
        announce(tmp_path, url.replace("127.0.0.1", "localhost"))
        found = read_discovery(tmp_path)
        assert found is not None
        assert not prove(found)


def test_a_process_that_is_another_one_by_now_is_not_asked(tmp_path: Path) -> None:
    with answering(KEY) as (url, seen):
        found = discovery.read_discovery(announce(tmp_path, url).parent)
        assert found is not None
        boot, ticks = found.started.split(":")
        for started in (f"{boot}:{int(ticks) - 1}", f"another-boot:{ticks}", ""):
            announce(tmp_path, url, started=started)
            assert launcher.find(tmp_path) is None
    assert seen == []


def test_a_clock_that_was_set_hides_no_server(tmp_path: Path) -> None:
    with answering(KEY) as (url, _):
        announce(tmp_path, url, start_time=psutil.Process().create_time() - 5)
        assert launcher.find(tmp_path) is not None


def test_a_file_that_others_may_read_or_nobody_can_is_left_aside(tmp_path: Path) -> None:
    path = announce(tmp_path, "http://127.0.0.1:1")
    assert read_discovery(tmp_path) is not None
    path.chmod(0o644)
    assert read_discovery(tmp_path) is None
    path.chmod(0o600)
    path.write_text("{")
    assert read_discovery(tmp_path) is None


def test_a_state_directory_in_use_on_another_host_is_refused(tmp_path: Path) -> None:
    path = announce(tmp_path, "http://127.0.0.1:1", host="elsewhere")
    with pytest.raises(InUseError, match="in use by a server on elsewhere"):
        launcher.ensure(tmp_path, Progress.silent())
    long_ago = time.time() - 1000
    os.utime(path, (long_ago, long_ago))
    assert launcher.find(tmp_path) is None


# ---------------------------------------------------------------- starting

PROGRAM = """
import hashlib, hmac, http.server, json, os, platform, sys, pathlib, urllib.parse
from model_platform_server.adapters.local.processes import identity_of
state = pathlib.Path(sys.argv[sys.argv.index("--state") + 1])
(state / "starts").open("a").write("x")
(state / "environment").write_text(json.dumps(dict(os.environ)))
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
        text = query["challenge"][0] + url
        body = json.dumps({"proof": hmac.new(b"key", text.encode(), hashlib.sha256).hexdigest()}).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
url = f"http://127.0.0.1:{server.server_address[1]}"
(state / "token").write_text("mp_started")
content = {"url": url, "pid": os.getpid(), "started": identity_of(os.getpid()).started,
           "host": platform.node(), "version": VERSION, "interpreter": sys.executable, "proof_key": "key"}
beside = state / "new"
beside.write_text(json.dumps(content)); beside.chmod(0o600); beside.rename(state / "server.json")
server.serve_forever()
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A stand-in for the server, started as the real one is; its folder. Everything of it is ended at the end."""
    folder = tmp_path / "program"
    folder.mkdir()
    write_program(folder, PROGRAM, model_platform.__version__)
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nshift 2\nexec {sys.executable} "{folder}/server.py" "$@"\n')
    python.chmod(0o700)
    monkeypatch.setattr(launcher, "server_python", lambda _state, _progress: python)
    yield folder
    for state in tmp_path.glob("*/server.json"):
        found = read_discovery(state.parent)
        assert found is not None
        launcher.terminate(found)


def write_program(folder: Path, text: str, version: str) -> None:
    (folder / "server.py").write_text(f"VERSION = {version!r}\n{text}")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def test_it_is_started_detached_with_an_environment_of_its_own(
    program: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somewhere")
    monkeypatch.setenv("MP_TOKEN", "mp_secret")
    monkeypatch.setenv("MP_SERVER_OWNER", "alice")
    running = launcher.ensure(state, Progress.silent())
    assert running.token == "mp_started"
    process = psutil.Process(running.discovery.pid)
    assert os.getsid(process.pid) == process.pid
    environment = json.loads((state / "environment").read_text())
    assert environment["MP_SERVER_OWNER"] == "alice"
    assert not {"MLFLOW_TRACKING_URI", "MP_TOKEN", "PYTHONPATH"} & set(environment)
    assert launcher.ensure(state, Progress.silent()).discovery.pid == running.discovery.pid
    assert (state / "starts").read_text() == "x"


def test_two_kernels_at_once_start_one(program: Path, state: Path) -> None:
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(launcher.ensure(state, Progress.silent()).discovery.pid))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    assert (state / "starts").read_text() == "x"


def test_a_server_of_another_version_is_restarted(program: Path, state: Path) -> None:
    write_program(program, PROGRAM, "0.0.1")
    with pytest.raises(ServerUnavailableError, match=r"version 0\.0\.1"):
        launcher.ensure(state, Progress.silent())
    old = read_discovery(state)
    assert old is not None
    write_program(program, PROGRAM, model_platform.__version__)
    running = launcher.ensure(state, Progress.silent())
    assert running.discovery.version == model_platform.__version__
    assert running.discovery.pid != old.pid
    assert not discovery.is_running(old)


def test_a_server_that_dies_tells_why(program: Path, state: Path) -> None:
    write_program(program, 'print("the disk is full"); raise SystemExit(3)', "")
    with pytest.raises(ServerUnavailableError, match="ended with status 3") as caught:
        launcher.ensure(state, Progress.silent())
    assert "the disk is full" in caught.value.message
    assert caught.value.hint == f"its log: {state / 'start.log'}"


def test_the_client_finds_a_server_again_that_has_moved(program: Path, state: Path) -> None:
    client = Client.at(Address(None, "none"), state)
    first = client.rest.url
    found = read_discovery(state)
    assert found is not None
    launcher.terminate(found)
    (state / "server.json").unlink()
    client.rest.call("GET", "/proof", params={"challenge": "00"})
    assert client.rest.url != first
    client.close()


def test_a_state_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageUnavailableError, match="cannot be written"):
        launcher.ensure(tmp_path / "file" / "state", Progress.silent())


def test_an_unsupported_platform_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "sys", type("sys", (), {"platform": "win32"}))
    with pytest.raises(UnsupportedByTargetError, match="does not run on"):
        launcher.ensure(tmp_path / "state", Progress.silent())


def test_stop_all_asks_the_servers_own_program(program: Path, state: Path) -> None:
    launcher.ensure(state, Progress.silent())
    write_program(program, 'import json; json.dump(sys.argv[1:], (state / "asked").open("w"))', "")
    text = (program / "server.py").read_text()
    (program / "server.py").write_text(
        "import pathlib, sys\nstate = pathlib.Path(sys.argv[sys.argv.index('--state') + 1])\n" + text
    )
    found = read_discovery(state)
    assert found is not None
    (state / "server.json").write_text(
        found.model_copy(update={"interpreter": str(program / "python")}).model_dump_json()
    )
    launcher.stop_all(state)
    assert json.loads((state / "asked").read_text()) == ["stop", "--all", "--state", str(state)]


# ---------------------------------------------------------------- an environment of its own

UV = """#!/bin/sh
echo "$*" >> "$0.asked"
[ -e "$0.broken" ] && [ "$1" = pip ] && { echo "no network" >&2; exit 2; }
for last; do :; done
[ "$1" = venv ] && mkdir -p "$last/bin" && touch "$last/pyvenv.cfg" "$last/bin/python"
exit 0
"""


def test_an_environment_is_made_once_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv = tmp_path / "uv"
    uv.write_text(UV)
    uv.chmod(0o700)
    monkeypatch.setattr(interpreter, "find_uv_bin", lambda: str(uv))
    monkeypatch.setattr(interpreter, "_installed_here", lambda: False)
    asked = uv.with_name("uv.asked")
    broken = uv.with_name("uv.broken")
    broken.touch()
    with pytest.raises(EnvironmentFailedError, match="no network") as caught:
        interpreter.server_python(tmp_path / "state", Progress.silent())
    assert caught.value.hint == "run the cell again; it goes on where it stopped"
    broken.unlink()
    python = interpreter.server_python(tmp_path / "state", Progress.silent())
    assert python.exists()
    assert interpreter.server_python(tmp_path / "state", Progress.silent()) == python
    first = [line.split()[:2] for line in asked.read_text().splitlines()]
    assert first == [["venv", "--quiet"], ["pip", "install"], ["pip", "install"], ["pip", "install"]]
    locked, own = asked.read_text().splitlines()[-2:]
    assert "--require-hashes -r" in locked
    assert "--no-deps" in own


def test_nothing_heavy_is_imported_with_the_package() -> None:
    program = "import model_platform, sys; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"mlflow", "pandas", "numpy", "httpx", "pydantic", "IPython", "ipywidgets", "click", "yaml"}
    names = subprocess.run(
        [sys.executable, "-c", "import model_platform as mp; print(*(getattr(mp, n).__name__ for n in mp.__all__))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "publish" in names.stdout.split()


def test_the_verbs_need_neither_mlflow_nor_pandas_to_look_around() -> None:
    program = "import model_platform as mp, sys; mp.status; mp.publish; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"mlflow", "pandas", "numpy", "IPython", "ipywidgets", "sklearn"}
