"""The discovery file: where the embedded server is, and the proof that whoever answers there is that server.

A dead server's port may be somebody else's by now. So before the token goes out, a challenge does: the answer must be
the HMAC-SHA256 over challenge and address, with a key that lies in the discovery file, readable by its owner alone.
Binding the address into it keeps an impostor from handing the challenge on to the real server.
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
from pathlib import Path

import httpx
from pydantic import ValidationError

from model_platform_core.errors import InUseError
from model_platform_core.values import Observed
from model_platform_core.wire import Proof

DISCOVERY_FILE = "server.json"
TOKEN_FILE = "token"  # noqa: S105
FRESH_SECONDS = 60.0
_PROOF_SECONDS = 5.0
_START_TOLERANCE = 2.0


class Discovery(Observed):
    """What the server says of itself: `start_time` is the process's, in seconds since the epoch."""

    url: str
    pid: int
    start_time: float
    host: str
    version: str
    interpreter: str
    proof_key: str


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
    challenge = secrets.token_hex(32)
    try:
        answer = httpx.get(
            f"{found.url}/api/v1/proof", params={"challenge": challenge}, timeout=_PROOF_SECONDS, trust_env=False
        )
        proof = Proof.model_validate_json(answer.content).proof if answer.status_code == 200 else ""
    except (httpx.HTTPError, httpx.InvalidURL, ValidationError):
        return False
    expected = hmac.new(found.proof_key.encode(), (challenge + found.url).encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(proof.encode(), expected.encode())


def is_running(found: Discovery) -> bool:
    """Whether the process of the discovery file lives: the same pid, started at the same time, on this machine."""
    if found.host != platform.node():
        return False
    started = _start_time(found.pid)
    return started is not None and abs(started - found.start_time) <= _START_TOLERANCE


def _start_time(pid: int) -> float | None:
    """When a process began, in seconds since the epoch; None if there is none of that id."""
    if sys.platform == "linux":
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            boot = next(line for line in Path("/proc/stat").read_text(encoding="utf-8").splitlines() if "btime" in line)
        except (OSError, StopIteration):
            return None
        if fields[0] == "Z":
            return None
        return int(boot.split()[1]) + int(fields[19]) / os.sysconf("SC_CLK_TCK")
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
