"""`mp doctor`: looks at the machine, the server and the gateway, and says what to do."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import click
import httpx

import model_platform
from model_platform.cli.output import show
from model_platform.client import Client, connect
from model_platform.config import Address, find_address, state_directory
from model_platform.display import words
from model_platform.display.card import Card, Column, Span, Table
from model_platform.embedded.launcher import find
from model_platform_core.errors import ModelPlatformError

_NEEDED_BYTES = 1 << 30
_GATEWAY_SECONDS = 5.0


@dataclass(frozen=True)
class Finding:
    """What was looked at, whether it is well, and what to do if not."""

    what: str
    well: bool
    said: str
    todo: str = ""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="print the data as JSON")
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Look at the machine, the server and the gateway, and say what to do. Starts nothing."""
    findings = list(examine())
    show(card_of(findings), as_json=as_json)
    if not all(finding.well for finding in findings):
        context.exit(1)


def card_of(findings: list[Finding]) -> Card:
    """The findings as a card."""
    troubles = [finding for finding in findings if not finding.well]
    rows = tuple(
        (
            Span("✓", "ok") if finding.well else Span("✕", "bad"),
            finding.what,
            f"{finding.said}{'; ' + finding.todo if finding.todo and not finding.well else ''}",
        )
        for finding in findings
    )
    return Card(
        kind="doctor",
        title="doctor",
        subtitle=f"{words.plural(len(troubles), 'thing')} to look at" if troubles else "all is well",
        table=Table((Column(""), Column("what"), Column("found")), rows),
        data={"findings": [vars(finding) for finding in findings]},
    )


def examine() -> Iterator[Finding]:
    """Every check, in the order in which things depend on one another."""
    yield _platform()
    yield Finding("python", sys.version_info >= (3, 11), platform.python_version(), "use Python 3.11 or later")
    try:
        address = find_address()
    except ModelPlatformError as error:
        yield Finding("configuration", False, error.message)
        return
    yield Finding("configuration", True, address.why)
    if address.server is None:
        yield from _embedded(state_directory())
        if find(state_directory()) is None:
            return
    yield from _server(address)


def _platform() -> Finding:
    system, machine = platform.system(), platform.machine()
    well = system == "Linux" or (system == "Darwin" and machine == "arm64")
    libc = " ".join(platform.libc_ver()) if system == "Linux" else ""
    return Finding(
        "machine",
        well,
        " ".join(part for part in (system, machine, libc) if part),
        "the local target runs on Linux (glibc 2.31 or later) and on macOS with Apple's processors; on Windows use WSL",
    )


def _embedded(state: Path) -> Iterator[Finding]:
    beside = find_spec("model_platform_server") is not None
    lock = files("model_platform").joinpath("data/server.lock").is_file()
    said = "installed beside this Python" if beside else "in an environment of its own, made when it is needed"
    yield Finding("server program", beside or lock, said, "pip install model-platform-server")
    folder = next(one for one in (state, *state.parents) if one.exists())
    yield Finding("state", os.access(folder, os.W_OK), f"{state}", "set MP_HOME to a directory that is yours")
    free = shutil.disk_usage(folder).free
    yield Finding(
        "disk", free > _NEEDED_BYTES, f"{words.size(free)} free", "make room: environments and models need it"
    )
    yield _checked("server", lambda: _running(state))


def _running(state: Path) -> str:
    running = find(state)
    if running is None:
        return "does not run; the first verb starts it"
    return f"{running.discovery.url}, process {running.discovery.pid}, version {running.discovery.version}"


def _server(address: Address) -> Iterator[Finding]:
    client = None
    try:
        client = connect()
        me = client.me
    except ModelPlatformError as error:
        yield Finding("connection", False, error.message, error.hint or "")
        return
    yield Finding("connection", True, f"{client.rest.url} as {me.actor}")
    yield Finding(
        "versions",
        me.server_version == model_platform.__version__ or address.server is not None,
        f"client {model_platform.__version__}, server {me.server_version}",
        "mp server stop; the next verb starts the right one",
    )
    yield Finding(
        "registry", me.registry_ready, "ready" if me.registry_ready else "still starting", "wait a few seconds"
    )
    for target in me.targets:
        missing = "; ".join(target.missing)
        yield Finding(
            f"target {target.target}", not missing, missing or "ready", "what is deployed elsewhere is not touched"
        )
    yield _gateway(client)


def _gateway(client: Client) -> Finding:
    url = client.me.gateway_url
    if not url:
        return Finding("gateway", False, "does not run", "the line on the target says why")
    try:
        httpx.get(url, timeout=_GATEWAY_SECONDS, trust_env=False)
    except httpx.HTTPError as error:
        return Finding(
            "gateway", False, f"{url} does not answer ({type(error).__name__})", "mp server stop, then any verb"
        )
    return Finding("gateway", True, f"{url} answers")


def _checked(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, look())
    except ModelPlatformError as error:
        return Finding(what, False, error.message, error.hint or "")
