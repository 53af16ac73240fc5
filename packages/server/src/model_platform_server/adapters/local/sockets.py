"""Unix sockets: a folder with a short path that is ours alone, and small requests."""

from __future__ import annotations

import hashlib
import http.client
import os
import socket
import stat
from collections.abc import Mapping
from pathlib import Path

from model_platform_core.errors import TargetUnavailableError
from model_platform_server.adapters.local import files

_LONGEST_PATH = 100  # bytes: the system takes 107, macOS 103
_LONGEST_NAME = len("/0123456789abcdef.control")


def socket_folder(state_directory: Path) -> Path:
    """The folder for the sockets of a state directory, mode 0700 and owned by us; always the same one.

    It lies in the state directory, or, where the path would be too long for a socket, in /tmp. (Not in XDG_RUNTIME_DIR:
    that is removed when its user logs out, and runners live on. Not where TMPDIR says: that is another place tomorrow.)

    Raises
    ------
    TargetUnavailableError
        If somebody else made a folder there.
    """
    folder = state_directory / "sockets"
    if len(os.fsencode(folder)) + _LONGEST_NAME > _LONGEST_PATH:
        digest = hashlib.sha256(os.fsencode(state_directory)).hexdigest()[:12]
        folder = Path("/tmp") / f"mp-{os.getuid()}-{digest}"  # noqa: S108 - mode and owner are checked below
    files.private_folder(folder)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise TargetUnavailableError(
            f"The folder for sockets, {folder}, must be yours alone (mode 0700) and is not.", hint=f"rm -r {folder}"
        )
    return folder


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(str(self._path))
        except OSError:
            self.close()
            raise


def ask(path: Path, target: str, *, timeout: float = 5.0) -> tuple[int, str]:
    """Status and body of a GET over a Unix socket.

    Raises
    ------
    OSError
        If nobody answers there in time, or answers something else than HTTP.
    """
    return _exchange(_UnixConnection(path, timeout), "GET", target)


def post(address: str | Path, target: str, body: str, headers: Mapping[str, str], *, timeout: float) -> tuple[int, str]:
    """Status and body of a POST to `host:port`, or over a Unix socket.

    Raises
    ------
    OSError
        As for `ask`.
    """
    if isinstance(address, Path):
        return _exchange(_UnixConnection(address, timeout), "POST", target, body.encode(), headers)
    return _exchange(http.client.HTTPConnection(address, timeout=timeout), "POST", target, body.encode(), headers)


def _exchange(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    try:
        connection.request(method, target, body, dict(headers or {}))
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP answer: {type(error).__name__}") from error
    finally:
        connection.close()
