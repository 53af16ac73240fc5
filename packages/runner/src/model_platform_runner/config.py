"""The configuration that a runner is started with: one JSON file."""

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from model_platform_runner.errors import StartError


@dataclass(frozen=True)
class Limits:
    """What one runner takes on: bytes of a body, rows of a call, seconds of a call, calls at once."""

    body_bytes: int = 16 * 1024 * 1024
    rows: int = 10_000
    seconds: float = 30.0
    concurrent: int = 1024


@dataclass(frozen=True)
class Address:
    """Where calls are taken over TCP, as in a pod."""

    host: str
    port: int


@dataclass(frozen=True)
class Config:
    """Whose version is served, from where, on which sockets, for whom.

    With ``keep_output`` the journal gets what the model prints; it may repeat rows, so it is for data of nobody only. The
    ``supervisor`` listens for datagrams there and is sent the runner's id when it is ready.
    """

    zone: str
    endpoint: str
    model: str
    version: str
    deployment: str
    runner_id: str
    model_directory: Path
    files: dict[str, str]
    socket: Path | Address
    control_socket: Path
    access: Literal["token", "open"]
    audience: str
    public_keys: dict[str, str]
    revoked_file: Path | None
    url: str
    limits: Limits = field(default_factory=Limits)
    keep_output: bool = False
    supervisor: Path | None = None


def read_config(path: Path) -> Config:
    """Read the configuration.

    Raises
    ------
    StartError
        ``failed_start``: the file cannot be read, or a key is missing, unknown or not what it should be.
    """
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _wrong(f"{path} cannot be read ({type(error).__name__})") from error
    if not isinstance(document, dict):
        raise _wrong("it is not a JSON object")
    _check_keys(document, Config, "")
    limits = document.get("limits", {})
    _check_keys(limits, Limits, "limits.")
    if document["access"] not in ("token", "open"):
        raise _wrong("access is neither token nor open")
    revoked, supervisor = document["revoked_file"], document.get("supervisor")
    return Config(
        **{
            **document,
            "version": str(document["version"]),
            "model_directory": Path(document["model_directory"]),
            "socket": _place(document["socket"]),
            "control_socket": Path(document["control_socket"]),
            "revoked_file": None if revoked is None else Path(revoked),
            "supervisor": None if supervisor is None else Path(supervisor),
            "url": document["url"].rstrip("/"),
            "limits": Limits(**limits),
        }
    )


def _place(text: str) -> Path | Address:
    """A path, or `tcp:HOST:PORT`."""
    if not text.startswith("tcp:"):
        return Path(text)
    host, _, port = text.removeprefix("tcp:").rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise _wrong(f"socket is {text!r}, and an address is written tcp:HOST:PORT")
    return Address(host.strip("[]"), int(port))


def _check_keys(document: dict[str, Any], kind: type, prefix: str) -> None:
    known = {each.name for each in fields(kind)}
    optional = known if kind is Limits else {"limits", "keep_output", "supervisor"}
    if missing := sorted(known - optional - document.keys()):
        raise _wrong(f"{prefix}{missing[0]} is missing")
    if unknown := sorted(document.keys() - known):
        raise _wrong(f"{prefix}{unknown[0]} is not a known key")


def _wrong(what: str) -> StartError:
    return StartError("failed_start", f"The runner's configuration is not usable: {what}.")
