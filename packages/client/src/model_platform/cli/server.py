"""`mp server`: the private server of this machine."""

from __future__ import annotations

import click

from model_platform.cli.output import show
from model_platform.config import state_directory
from model_platform.display.card import STATES, Card, Inline, link
from model_platform.display.progress import Progress
from model_platform.embedded.discovery import Discovery, read_discovery
from model_platform.embedded.launcher import ensure, find, stop_all, terminate
from model_platform_core.deployments import EndpointState

_json = click.option("--json", "as_json", is_flag=True, help="print the data as JSON")


def server_card(seen: Discovery | None) -> Card:
    """The embedded server, as it is now."""
    rows: list[tuple[str, Inline]] = [("state", str(state_directory()))]
    if seen is not None:
        rows = [("url", link(seen.url)), ("version", seen.version), ("process", str(seen.pid)), *rows]
    return Card(
        kind="server",
        title="server",
        state=STATES[EndpointState.LIVE if seen else EndpointState.STOPPED],
        rows=tuple(rows),
        next=() if seen else ("mp server start",),
        data=(seen.model_dump(mode="json", exclude={"proof_key"}) if seen else {}) | {"running": seen is not None},
    )


@click.group()
def server() -> None:
    """The private server of this machine, which runs where no other is configured."""


@server.command()
@_json
def status(as_json: bool) -> None:
    """Whether it runs, and where."""
    running = find(state_directory())
    show(server_card(running.discovery if running else None), as_json=as_json)


@server.command()
@_json
def start(as_json: bool) -> None:
    """Start it, if it does not run."""
    with Progress("server") as progress:
        running = ensure(state_directory(), progress)
    show(server_card(running.discovery), as_json=as_json)


@server.command()
@click.option("--all", "everything", is_flag=True, help="also the gateway and every runner: endpoints stop answering")
@click.option("--yes", "-y", is_flag=True, help="do it without asking")
def stop(everything: bool, yes: bool) -> None:
    """Stop it. Endpoints go on answering, unless --all ends them too."""
    state = state_directory()
    if everything:
        if not yes:
            click.confirm("Every endpoint on this machine stops answering. Go on?", abort=True, err=True)
        stop_all(state)
        click.echo("server, gateway and runners are stopped")
        return
    found = read_discovery(state)
    stopped = terminate(found) if found else False
    click.echo("the server is stopped; endpoints go on answering" if stopped else "the server does not run")
