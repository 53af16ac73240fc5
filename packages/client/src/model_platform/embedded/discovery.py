"""The discovery file: where the embedded server is, and the proof that whoever answers there is that server.

A dead server's port may be somebody else's by now. So before the token goes out on a connection, a challenge does: the
answer must be the HMAC-SHA256 over challenge and address, with a key that lies in the discovery file, readable by its
owner alone. Binding the address into it keeps an impostor from handing the challenge on to the real server.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import platform
import secrets
import stat
import subprocess
import sys
import time
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError

from model_platform_core.errors import InUseError
from model_platform_core.values import Observed
from model_platform_core.wire import Proof

DISCOVERY_FILE = "server.json"
TOKEN_FILE = "token"  # noqa: S105
FRESH_SECONDS = 60.0
_PROOF_SECONDS = 5.0
_PROOF_BYTES = 4096
_START_TOLERANCE = 2.0


class Discovery(Observed):
    """What the server says of itself.

    `started` tells its process apart from a later one of the same pid: on Linux `BOOT:TICKS`, the id of the boot and
    the clock ticks since then, for the wall clock can be set; elsewhere the seconds since the epoch. `uploads` is where
    it takes files that this user has laid there.
    """

    url: str
    pid: int
    started: str
    host: str
    version: str
    interpreter: str
    proof_key: str
    uploads: str | None = None


def read_discovery(state: Path) -> Discovery | None:
    """The discovery file of a state directory; None if there is none, or it cannot be read, or others could write it."""
    path = state / DISCOVERY_FILE
    try:
        mode = path.stat()
        if mode.st_uid != os.getuid() or stat.S_IMODE(mode.st_mode) & 0o077:
            return None
        return Discovery.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def check_host(state: Path, found: Discovery) -> None:
    """Nothing, or the refusal: two machines on one state directory would tear it apart.

    Raises
    ------
    InUseError
        If a server of another machine has been seen alive there in the last minute.
    """
    here = platform.node()
    if found.host == here:
        return
    age = time.time() - (state / DISCOVERY_FILE).stat().st_mtime
    if abs(age) < FRESH_SECONDS:
        raise InUseError(
            f"{state} is in use by a server on {found.host}; a state directory serves one machine at a time.",
            hint="stop it there with mp server stop, or set MP_HOME to a directory of this machine",
        )


def prove(found: Discovery) -> bool:
    """Whether the server of the discovery file is what answers at its address. Sends no secret."""
    try:
        with closing(connection_to(found)) as connection:
            return proves(connection, found)
    except (ValueError, HTTPException):  # no address at all
        return False


def connection_to(found: Discovery) -> HTTPConnection:
    """A connection to the address of the discovery file, not yet open; ValueError or HTTPException if that is none."""
    address = urlsplit(found.url)
    return HTTPConnection(address.hostname or "", address.port, timeout=_PROOF_SECONDS)


def proves(connection: HTTPConnection, found: Discovery) -> bool:
    """Whether the server of the discovery file is what answers on this connection. Sends no secret."""
    challenge = secrets.token_hex(32)
    try:
        connection.request("GET", f"/api/v1/proof?challenge={challenge}")
        with connection.getresponse() as answer:
            content = answer.read(_PROOF_BYTES)
            proof = Proof.model_validate_json(content).proof if answer.status == 200 else ""
    except (OSError, HTTPException, ValidationError):
        return False
    expected = hmac.new(found.proof_key.encode(), (challenge + found.url).encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(proof.encode(), expected.encode())


def is_running(found: Discovery) -> bool:
    """Whether the process of the discovery file lives: the same pid, the same start, on this machine."""
    if found.host != platform.node():
        return False
    if sys.platform == "linux":
        return _started(found.pid) == found.started
    began = _start_time(found.pid)
    try:
        return began is not None and abs(began - float(found.started)) <= _START_TOLERANCE
    except ValueError:
        return False


def _started(pid: int) -> str | None:
    """On Linux, what tells a process apart from others of that id; None if none of that id runs."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return None if fields[0] in "ZX" else f"{boot}:{fields[19]}"


def _start_time(pid: int) -> float | None:
    """Where there is no /proc: when a process began, in seconds since the epoch; None if there is none of that id."""
    shown = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
        env={"LC_ALL": "C", "PATH": os.defpath},
    )
    try:
        return time.mktime(time.strptime(shown.stdout.strip(), "%a %b %d %H:%M:%S %Y"))
    except ValueError:
        return None
