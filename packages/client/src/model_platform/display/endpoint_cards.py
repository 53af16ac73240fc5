"""Cards of an endpoint: on its way, live, failed, at rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model_platform.display import words
from model_platform.display.card import (
    STATES,
    Card,
    Column,
    Details,
    Inline,
    Step,
    Table,
    code,
    link,
    quiet,
)
from model_platform_core.deployments import Access, DeploymentStatus, EndpointState, StepState
from model_platform_core.parity import ParityReport
from model_platform_core.wire import EndpointMetrics, EndpointResource, ZoneUsage

_WHAT_FAILED = {
    "quota": "The zone has no room.",
    "environment": "The environment could not be made.",
    "runner": "The runner did not start.",
    "parity": "The answers are not those of the notebook.",
    "traffic": "The traffic could not be switched.",
}
_CONDITIONS = {"EnvironmentBorrowed": "runs in"}
_LANGUAGES = {"curl": "curl", "python": "Python", "java": "Java", "javascript": "JavaScript"}


def data_of(resource: EndpointResource) -> dict[str, Any]:
    """The resource as JSON for renderers of our own."""
    return resource.model_dump(mode="json")


def wanted_version(resource: EndpointResource) -> int | None:
    """The version that the newest spec asks for."""
    return resource.spec.deployments[0].version if resource.spec.deployments else None


def failed_deployment(resource: EndpointResource) -> DeploymentStatus | None:
    """What the newest spec asked for, if it did not come up."""
    if not resource.settled or not resource.spec.deployments:
        return None
    found = resource.status.deployment(resource.spec.deployments[0].name)
    return found if found is not None and found.failure is not None else None


def progress_card(resource: EndpointResource, seconds: float) -> Card:
    """A deployment on its way."""
    live = resource.status.live()
    wanted = wanted_version(resource)
    now = f"version {live.version} answers every call until parity is proven" if live else "nothing answers yet"
    stay = f"version {live.version} stays" if live else "the endpoint is taken back"
    return Card(
        kind="deploying",
        title=resource.name,
        subtitle=f"version {wanted}",
        state=STATES[EndpointState.UPDATING if live else EndpointState.STARTING],
        aside=words.seconds(seconds),
        steps=_steps(resource),
        rows=(("now", now), ("stop", f"interrupt the kernel; {stay}")),
        data=data_of(resource),
    )


def given_up_card(resource: EndpointResource, *, existed: bool) -> Card:
    """A deployment that was interrupted, and taken back."""
    live = resource.status.live()
    meanwhile = f"version {live.version} still answers" if live else "nothing answers"
    if not existed:
        meanwhile = "there is no endpoint, as before"
    return Card(
        kind="given-up",
        title=resource.name,
        subtitle=f"version {wanted_version(resource)} was taken back",
        rows=(("meanwhile", meanwhile),),
        next=(code(f"%mp_deploy {resource.name}"),),
        data=data_of(resource),
    )


def failure_card(resource: EndpointResource, failed: DeploymentStatus) -> Card:
    """What failed, why in a sentence, the line to change, and what answers meanwhile."""
    failure = failed.failure
    assert failure is not None
    live = resource.status.live()
    step = next((one.name for one in resource.status.progress if one.state is StepState.FAILED), "runner")
    meanwhile = f"version {live.version} still answers" if live else "no version answered before: its URL gives 404"
    if live and resource.status.state is EndpointState.FAILED:
        meanwhile = f"version {live.version} does not answer either"
    change: list[tuple[str, Inline]] = [("change", code(failure.hint))] if failure.hint else []
    log = "\n".join(failure.log_tail)
    return Card(
        kind="failed",
        title=resource.name,
        subtitle=f"version {failed.spec.version} was not deployed",
        state=STATES[resource.status.state],
        aside=f"after {words.seconds(resource.status.seconds)}" if resource.status.seconds is not None else "",
        steps=_steps(resource),
        message=(_WHAT_FAILED.get(step, "It did not come up."), failure.message),
        table=_parity_table(failed.parity),
        rows=(*change, ("meanwhile", meanwhile)),
        details=(
            (Details(f"Log of the start, {words.plural(len(failure.log_tail), 'line')}", log, in_plain=True),)
            if log
            else ()
        ),
        data=data_of(resource),
    )


def endpoint_card(
    resource: EndpointResource,
    usage: ZoneUsage | None = None,
    snippets: Mapping[str, str] | None = None,
    metrics: EndpointMetrics | None = None,
    seconds: float | None = None,
) -> Card:
    """An endpoint as it stands: what answers, where, for whom, and how to go back."""
    status, live = resource.status, resource.status.live()
    earlier = status.history[0] if status.history else None
    rows: list[tuple[str, Inline]] = []
    said = status.message if live is None else ""
    if live is not None:
        was = quiet(f"   (was {earlier.version})") if earlier else ""
        rows.append(("version", [str(live.version), was]))
        rows.append(("parity", _parity_words(status.deployment(live.name))))
    elif said:
        rows.append(("now", said))
    if live is not None and status.url:
        rows.append(("url", [link(status.url), quiet("   open it in a browser: fields, limits, a working call")]))
        rows.append(("call it", code(_short_call(resource, status.url))))
        rows.append(("who", _who(resource)))
    if metrics is not None:
        rows.append(("calls", _metrics_words(metrics)))
    rows += [
        (_CONDITIONS.get(condition.type, "but"), condition.message)
        for condition in status.conditions
        if condition.status and condition.message and condition.message != said
    ]
    if usage is not None:
        rows.append(("zone", usage_words(usage)))
    if live is not None and earlier is not None:
        rows.append(("back", _back(resource)))
    return Card(
        kind="endpoint",
        title=resource.name,
        state=STATES[status.state],
        aside=words.seconds(seconds) if seconds is not None else "",
        rows=tuple(row for row in rows if row[1]),
        details=_snippet_details(snippets or {}),
        next=_next(resource),
        data=data_of(resource),
    )


def usage_words(usage: ZoneUsage) -> str:
    """`dev-alice: 1 of 2 CPU, 0.4 of 4 GiB in use`."""
    limits, used = usage.zone.spec.limits, usage.used
    cpu = f"{words.cores(used.cpu)} of {words.cores(limits.cpu)} CPU"
    memory = f"{words.gibibytes(used.memory)} of {words.gibibytes(limits.memory)} GiB"
    return f"{usage.zone.name}: {cpu}, {memory} in use"


def _steps(resource: EndpointResource) -> tuple[Step, ...]:
    def detail(step: Any) -> str:
        long = step.seconds is not None and step.seconds >= 0.1 and step.state is not StepState.WAITING
        took = words.seconds(step.seconds) if long else ""
        short = step.detail if step.name == "environment" or step.state is StepState.RUNNING else ""
        return " ".join(part for part in (short, took) if part)

    return tuple(Step(step.name, step.state, detail(step)) for step in resource.status.progress)


def _parity_words(deployment: DeploymentStatus | None) -> str:
    report = deployment.parity if deployment else None
    if report is None:
        return "not proven: no sample was kept at publish"
    if report.not_proven is not None:
        return f"not proven: {report.not_proven}"
    if not report.deterministic:
        return f"{report.equal} of {report.rows} answers of the same type; the model is not deterministic"
    return (
        f"{report.equal} of {report.rows} answers as in the notebook, largest difference {report.largest_difference:g}"
    )


def _parity_table(report: ParityReport | None) -> Table | None:
    if report is None or report.proven or not report.differences:
        return None
    columns = (
        Column("row", figures=True),
        Column("notebook"),
        Column("endpoint"),
        Column("difference", figures=True),
        Column("allowed"),
    )
    rows: list[tuple[Inline, ...]] = [
        (
            str(one.row),
            f"{one.output} {one.notebook}" if one.output != "prediction" else one.notebook,
            one.endpoint,
            words.MISSING if one.difference is None else f"{one.difference:g}",
            "" if one.allowed is None else f"{one.allowed:g}",
        )
        for one in report.differences
    ]
    more = report.rows - report.equal - len({one.row for one in report.differences})
    if more > 0:
        rows.append((quiet(f"{more} more"), quiet("differ too"), "", "", ""))
    if report.equal:
        rows.append((quiet(f"{report.equal} more"), quiet("the same"), quiet("the same"), quiet("0"), ""))
    return Table(columns, tuple(rows))


def _short_call(resource: EndpointResource, url: str) -> str:
    token = "-H 'Authorization: Bearer …' " if resource.spec.access is Access.TOKEN else ""
    return f"curl {token}-H 'Content-Type: application/json' -d '[{{…}}]' {url}"


def _who(resource: EndpointResource) -> Inline:
    if resource.spec.access is Access.OPEN:
        return "whoever reaches the address, without a token"
    return ["holders of a token; ", code(f"mp token endpoint {resource.name}"), " prints one"]


def _back(resource: EndpointResource) -> Inline:
    earlier = resource.status.history[0]
    kept = resource.status.deployment(earlier.name)
    warm = "stays warm for an hour" if kept is not None and kept.warm_until else "starts again"
    return [code(f"%mp_rollback {resource.name}"), quiet(f"  (version {earlier.version} {warm})")]


def _metrics_words(metrics: EndpointMetrics) -> str:
    if not metrics.calls:
        return "none yet"
    failed = words.percent(metrics.errors, metrics.calls)
    p95 = words.milliseconds(metrics.p95)
    return f"{words.number(metrics.calls)} so far, {words.rate(metrics.calls_per_second)} a second · p95 {p95} · errors {failed}"


def _snippet_details(snippets: Mapping[str, str]) -> tuple[Details, ...]:
    known = [name for name in _LANGUAGES if name in snippets]
    if not known:
        return ()
    names = ", ".join(_LANGUAGES[name] for name in known)
    text = "\n\n".join(snippets[name].rstrip() for name in known)
    return (Details(f"Call it from {names}", text),)


def _next(resource: EndpointResource) -> tuple[Inline, ...]:
    state, name = resource.status.state, resource.name
    if state is EndpointState.LIVE:
        return (code(f"%mp_predict {name} X_test[:5]"), code(f"%mp_status {name}"))
    if state is EndpointState.STOPPED:
        return (code(f"%mp_start {name}"),)
    return (code(f"%mp_logs {name}"),)
