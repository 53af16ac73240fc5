"""`mp zone`, `mp token` and `mp actor`."""

from __future__ import annotations

import click

from model_platform import actions
from model_platform.cli.connection import client
from model_platform.cli.output import show, show_json
from model_platform.config import remember_zone
from model_platform.display.card import Card, Column, Table
from model_platform_core.access import ActorKind
from model_platform_core.errors import InvalidError
from model_platform_core.wire import ActorInfo, ActorRequest, TokenRequest

_json = click.option("--json", "as_json", is_flag=True, help="print the data as JSON")


@click.group(invoke_without_command=True)
@click.pass_context
@_json
def zone(context: click.Context, as_json: bool) -> None:
    """The zone and the server that are used, and why."""
    if context.invoked_subcommand is None:
        show(actions.zone(client(), None).card(), as_json=as_json)


@zone.command("list")
@_json
def zone_list(as_json: bool) -> None:
    """The zones that you may see."""
    zones = client().zones()
    rows = tuple((one.name, str(one.spec.kind), one.spec.owner, str(int(one.spec.minimum_tier))) for one in zones)
    columns = (Column("zone"), Column("kind"), Column("owner"), Column("takes tier", figures=True))
    data = {"zones": [one.model_dump(mode="json") for one in zones]}
    show(
        Card(kind="zones", title="zones", subtitle=str(len(zones)), table=Table(columns, rows), data=data),
        as_json=as_json,
    )


@zone.command("use")
@click.argument("name")
@_json
def zone_use(name: str, as_json: bool) -> None:
    """Mean this zone from now on, in every notebook and terminal of yours."""
    found = actions.zone(client(), name)
    path = remember_zone(name)
    show(found.card(), as_json=as_json)
    if not as_json:
        click.echo(f"remembered in {path}")


@click.group()
def token() -> None:
    """Tokens: for the platform, and for calling one endpoint. Their secret is shown once."""


@token.command("create")
@click.option("--name", default="token", help="what it is for")
@click.option("--for", "actor", help="another person or service; for administrators")
@click.option("--days", type=float, help="until it expires")
@_json
def token_create(name: str, actor: str | None, days: float | None, as_json: bool) -> None:
    """A token for the platform itself: what MP_TOKEN holds."""
    created = client().create_token(TokenRequest(name=name, actor=actor, days=days))
    show_json(created.model_dump(mode="json")) if as_json else click.echo(created.token)


@token.command("endpoint")
@click.argument("endpoint")
@click.option("--name", default="application", help="what it is for")
@click.option("--days", type=float, help="until it expires, a year by default")
@_json
def token_endpoint(endpoint: str, name: str, days: float | None, as_json: bool) -> None:
    """A token that calls one endpoint and nothing else."""
    request = TokenRequest(name=name, endpoint=str(client().endpoint_ref(endpoint)), days=days)
    created = client().create_token(request)
    show_json(created.model_dump(mode="json")) if as_json else click.echo(created.token)


@token.command("list")
@click.option("--endpoint", help="those that call this endpoint")
@_json
def token_list(endpoint: str | None, as_json: bool) -> None:
    """Tokens without their secrets."""
    found = client().tokens(str(client().endpoint_ref(endpoint)) if endpoint else None)
    rows = tuple(
        (
            one.id,
            one.name,
            one.endpoint or one.actor,
            one.created_at.date().isoformat(),
            one.expires_at.date().isoformat() if one.expires_at else "never",
            "revoked" if one.revoked else "valid",
        )
        for one in found
    )
    columns = tuple(Column(name) for name in ("id", "name", "for", "made", "expires", ""))
    data = {"tokens": [one.model_dump(mode="json") for one in found]}
    table = Table(columns, rows) if rows else None
    show(Card(kind="tokens", title="tokens", subtitle=str(len(found)), table=table, data=data), as_json=as_json)


@token.command("revoke")
@click.argument("token_id", metavar="ID")
@click.option("--yes", "-y", is_flag=True, help="do it without asking")
def token_revoke(token_id: str, yes: bool) -> None:
    """Revoke a token: whoever uses it is refused from now on."""
    if not yes:
        click.confirm(f"Whoever uses token {token_id} is refused from now on. Go on?", abort=True, err=True)
    client().revoke_token(token_id)
    click.echo(f"{token_id} is revoked")


@click.group()
def actor() -> None:
    """People and services that the server knows; for administrators."""


@actor.command("list")
@_json
def actor_list(as_json: bool) -> None:
    """Everybody the server knows."""
    _show_actors(client().actors(), as_json=as_json)


@actor.command("put")
@click.argument("name")
@click.option("--service", is_flag=True, help="a service, not a person")
@click.option("--home-zone", help="where names without a zone are meant")
@click.option("--role", "roles", multiple=True, metavar="ZONE=ROLE", help="what it may do where; * is every zone")
@_json
def actor_put(name: str, service: bool, home_zone: str | None, roles: tuple[str, ...], as_json: bool) -> None:
    """Create or change a person or a service. Its roles are those given here and no others."""
    given = {}
    for text in roles:
        where, equals, role = text.partition("=")
        if not equals:
            raise InvalidError(f"{text!r} is no role in a zone.", hint="--role project-crm=developer")
        given[where] = role
    kind = ActorKind.SERVICE if service else ActorKind.PERSON
    _show_actors(
        [client().put_actor(ActorRequest(name=name, kind=kind, home_zone=home_zone, roles=given))], as_json=as_json
    )


def _show_actors(found: list[ActorInfo], *, as_json: bool) -> None:
    rows = tuple(
        (
            one.name,
            str(one.kind),
            one.home_zone or "",
            ", ".join(f"{where}: {role}" for where, role in sorted(one.roles.items())),
        )
        for one in found
    )
    columns = tuple(Column(name) for name in ("name", "kind", "home zone", "roles"))
    data = {"actors": [one.model_dump(mode="json") for one in found]}
    show(
        Card(kind="actors", title="actors", subtitle=str(len(found)), table=Table(columns, rows), data=data),
        as_json=as_json,
    )
