"""Cards of several things: the endpoints of a zone, models, versions, a card's fields, the zone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from model_platform.display import words
from model_platform.display.card import STATES, Card, Column, Inline, Span, State, Table, code, link, quiet
from model_platform.display.endpoint_cards import data_of, usage_words
from model_platform_core.cards import OF_A_VERSION, ModelCard, mandatory_fields, missing_fields
from model_platform_core.deployments import EndpointState
from model_platform_core.meanings import MEANINGS
from model_platform_core.models import ModelVersion, RegisteredModel
from model_platform_core.wire import (
    CardRevision,
    EndpointMetrics,
    EndpointResource,
    EnvironmentInfo,
    EnvironmentState,
    WhoAmI,
    ZoneUsage,
)


def status_card(
    zone: str,
    resources: Sequence[EndpointResource],
    metrics: Mapping[str, EndpointMetrics],
    usage: ZoneUsage | None,
    now: dt.datetime,
) -> Card:
    """The endpoints of a zone."""
    columns = (
        Column("name"),
        Column("version", figures=True),
        Column("state"),
        Column("calls/s", figures=True),
        Column("p95", figures=True),
        Column("errors", figures=True),
        Column(""),
    )
    rows = tuple(_status_row(resource, metrics.get(resource.name)) for resource in resources)
    trouble = next(
        (one for one in resources if one.status.state in {EndpointState.FAILED, EndpointState.DEGRADED}), None
    )
    following: tuple[Inline, ...] = (code(f"%mp_logs {trouble.name}"),) if trouble else ()
    if not resources:
        following = (code("%mp_publish model --name churn --data X_train"), code("%mp_deploy churn"))
    return Card(
        kind="status",
        title=zone,
        subtitle=words.plural(len(resources), "endpoint"),
        aside=now.astimezone().strftime("%H:%M"),
        table=Table(columns, rows) if rows else None,
        message=() if rows else ("Nothing is deployed here yet.",),
        rows=(("zone", usage_words(usage)),) if usage else (),
        next=following,
        data={"zone": zone, "endpoints": [data_of(resource) for resource in resources]},
    )


def _status_row(resource: EndpointResource, metrics: EndpointMetrics | None) -> tuple[Inline, ...]:
    status, live = resource.status, resource.status.live()
    wanted = resource.spec.deployments[0].version if resource.spec.deployments else None
    version = str(live.version) if live else str(wanted or words.MISSING)
    if live and not resource.settled and wanted not in (None, live.version):
        version = f"{live.version} → {wanted}"
    measured = metrics if metrics is not None and live is not None and metrics.calls else None
    conditions = "; ".join(one.message.rstrip(".") for one in status.conditions if one.status)
    note = conditions if status.state is EndpointState.LIVE else status.message
    return (
        resource.name,
        version,
        _state(STATES[status.state]),
        words.rate(measured.calls_per_second) if measured else words.MISSING,
        words.milliseconds(measured.p95) if measured else words.MISSING,
        words.percent(measured.errors, measured.calls) if measured else words.MISSING,
        quiet(note),
    )


def environments_card(environments: Sequence[EnvironmentInfo], *, removed: bool) -> Card:
    """Environments of models: those there are, or those that were removed."""
    columns = (
        Column("environment"),
        Column("state"),
        Column("python"),
        Column("packages", figures=True),
        Column("size", figures=True),
        Column("used by"),
        Column(""),
    )
    rows = tuple(
        (
            one.key[:12],
            "removed" if removed else str(one.state),
            one.python,
            str(len(one.packages)),
            words.size(one.bytes) if one.bytes else words.MISSING,
            ", ".join(one.used_by) or words.MISSING,
            quiet(one.message),
        )
        for one in environments
    )
    unused = [one for one in environments if one.state is EnvironmentState.BUILT and not one.used_by]
    size = sum(one.bytes for one in environments)
    empty = "Every environment is used; nothing was removed." if removed else "No environment was built yet."
    return Card(
        kind="environments",
        title="environments",
        subtitle=f"{words.size(size)}{' removed' if removed else ''}" if size else "",
        table=Table(columns, rows) if rows else None,
        message=() if rows else (empty,),
        next=(code("%mp_env prune"),) if unused and not removed else (),
        data={"environments": [one.model_dump(mode="json") for one in environments], "removed": removed},
    )


def _state(state: State) -> Inline:
    return [Span(state.glyph, state.look), f" {state.word}"]


def models_card(models: Sequence[RegisteredModel], query: str | None, home: str | None) -> Card:
    """Registered models."""
    columns = (
        Column("name"),
        Column("newest", figures=True),
        Column("aliases"),
        Column("tier", figures=True),
        Column("owner"),
    )
    rows = tuple(
        (
            model.name if model.zone == home else model.full_name,
            str(model.newest_version or words.MISSING),
            ", ".join(f"{alias} → {version}" for alias, version in sorted(model.aliases.items())),
            words.MISSING if model.tier is None else str(int(model.tier)),
            model.owner or words.MISSING,
        )
        for model in models
    )
    empty = f"No model has {query!r} in its name." if query else "No model is registered yet."
    first = rows[0][0] if rows else ""
    following: tuple[Inline, ...] = (code(f"%mp_card {first}"), code(f"%mp_deploy {first}"))
    return Card(
        kind="models",
        title="models",
        subtitle=str(len(models)) if models else "",
        table=Table(columns, rows) if rows else None,
        message=() if rows else (empty,),
        next=following if rows else (code("%mp_publish model --name churn --data X_train"),),
        data={"models": [model.model_dump(mode="json") for model in models]},
    )


def card_card(
    version: ModelVersion, revision: CardRevision, also: Sequence[str] = (), before: ModelVersion | None = None
) -> Card:
    """The model card of a version: every field that is filled, and what is missing for its tier.

    What it says of the model as the version `before` said it is marked.
    """
    card = _with_fingerprints(revision.card, version)
    missing = {problem.field for problem in missing_fields(card, also)}
    count = len(mandatory_fields(card.tier, also))
    rows: list[tuple[str, Inline]] = [("tier", f"{int(card.tier)} · {count - len(missing)} of {count} fields filled")]
    rows += [(name, _marked(name, text, card, before)) for name, text in _filled(card)]
    rows += [(name, [quiet(f"{words.MISSING} {MEANINGS.get(name, '')}")]) for name in sorted(missing)]
    return Card(
        kind="card",
        title=version.name,
        subtitle=f"version {version.version}, card",
        aside=f"revision {revision.revision} by {revision.by}, {revision.at.date().isoformat()}",
        rows=tuple(rows),
        next=(
            code(f'%mp_card {version.name}:{version.version} --purpose "…"'),
            code(f"%mp_deploy {version.name}:{version.version}"),
        ),
        data=revision.model_dump(mode="json") | {"model": version.full_name, "version": version.version},
    )


def _with_fingerprints(card: ModelCard, version: ModelVersion) -> ModelCard:
    """The card with digests of data that became known after it was written."""
    known = {one.name: one.sha256 for one in version.lineage.data}
    data = [one.model_copy(update={"sha256": one.sha256 or known.get(one.name)}) for one in card.data]
    return card.model_copy(update={"data": tuple(data)})


def _marked(name: str, text: str, card: ModelCard, before: ModelVersion | None) -> Inline:
    if before is None or name in OF_A_VERSION or getattr(card, name) != getattr(before.card, name):
        return text
    return [f"{text} ", quiet(f"(as in version {before.version})")]


def _filled(card: ModelCard) -> list[tuple[str, str]]:
    """The fields that hold something, in words."""
    found: list[tuple[str, str]] = []
    for name, value in card.model_dump(mode="json", exclude_defaults=True).items():
        if name != "tier" and value:
            known = _IN_WORDS.get(name)
            found.append((name, known(card) if known else _plain(value)))
    return found


def _plain(value: Any) -> str:
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)


def _data(card: ModelCard) -> str:
    return "\n".join(
        "  ".join(
            part
            for part in (
                one.name,
                f"{words.number(one.rows)} × {words.number(one.columns)}" if one.rows and one.columns else "",
                words.digest(one.sha256) if one.sha256 else "not fingerprinted",
                one.legal_basis or "",
            )
            if part
        )
        for one in card.data
    )


def _code(card: ModelCard) -> str:
    found = card.code
    if found is None:
        return ""
    commit = f" · git {found.commit[:7]}" if found.commit else ""
    return f"{found.path}{commit}{', with changes not committed' if found.dirty else ''}"


def _training(card: ModelCard) -> str:
    found = card.training
    if found is None:
        return ""
    parameters = words.plural(len(found.parameters), "parameter")
    seed = f", seed {found.seed}" if found.seed is not None else ""
    return f"{found.how} ({parameters}{seed})"


def _metrics(card: ModelCard) -> str:
    return "\n".join(f"{one.name} {one.value:.4g}{f' on {one.dataset}' if one.dataset else ''}" for one in card.metrics)


def _resources(card: ModelCard) -> str:
    found = card.resources
    if found is None:
        return ""
    return f"{words.cores(found.cpu)} CPU, {words.gibibytes(found.memory)} GiB for one runner"


_IN_WORDS: Mapping[str, Callable[[ModelCard], str]] = {
    "data": _data,
    "code": _code,
    "training": _training,
    "metrics": _metrics,
    "resources": _resources,
}


def zone_card(me: WhoAmI, zone: str, usage: ZoneUsage | None, server: str, why: str, others: Sequence[str]) -> Card:
    """Where one is: the zone, the server and why it was chosen."""
    rows: list[tuple[str, Inline]] = [("who", f"{me.actor} ({me.kind})")]
    if usage is not None:
        limits, used = usage.zone.spec.limits, usage.used
        rows.append(("room", usage_words(usage).partition(": ")[2]))
        rows.append(("endpoints", f"{used.endpoints} of {limits.endpoints}"))
        rows.append(("asks", _asks(usage)))
    rows.append(("server", [link(server), f"  version {me.server_version}"]))
    rows.append(("because", why))
    rows.append(("gateway", me.gateway_url))
    if others:
        rows.append(("others", ", ".join(others)))
    return Card(
        kind="zone",
        title=zone,
        subtitle=str(usage.zone.spec.kind) + " zone" if usage else "zone",
        rows=tuple(rows),
        next=(code("%mp_status"), code("%mp_models")),
        data={"zone": zone, "server": server, "why": why, "usage": usage and usage.model_dump(mode="json")},
    )


def _asks(usage: ZoneUsage) -> str:
    spec = usage.zone.spec
    if not spec.minimum_tier and not spec.mandatory_fields:
        return "for nothing more than an owner (tier 0)"
    more = f", and {', '.join(spec.mandatory_fields)}" if spec.mandatory_fields else ""
    return f"for what tier {int(spec.minimum_tier)} demands{more}"
