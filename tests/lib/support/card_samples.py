"""Values as a server would send them, for what only shows them."""

from __future__ import annotations

import datetime as dt
from typing import Any

from model_platform_core.cards import ModelCard, Tier
from model_platform_core.deployments import (
    STEPS,
    Condition,
    DeploymentSpec,
    DeploymentStatus,
    EndpointSpec,
    EndpointState,
    EndpointStatus,
    Failure,
    ProgressStep,
    StepState,
    TrafficSplit,
)
from model_platform_core.lineage import DataFingerprint, Lineage
from model_platform_core.models import ArtifactFormat, ModelVersion
from model_platform_core.parity import ParityDifference, ParityReport
from model_platform_core.signatures import Signature
from model_platform_core.wire import EndpointResource, ZoneUsage
from model_platform_core.zones import Amount, Zone, ZoneSpec

AT = dt.datetime(2026, 11, 21, 12, 0, tzinfo=dt.UTC)
SHA = "sha256:" + "9f2c41" + "0" * 58


def deployment(version: int, name: str | None = None) -> DeploymentSpec:
    return DeploymentSpec(
        name=name or f"v{version}-{version}", model="dev-alice.churn", version=version, artifact_sha256=SHA
    )


def endpoint(status: EndpointStatus, wanted: int = 3, generation: int = 1) -> EndpointResource:
    spec = deployment(wanted)
    return EndpointResource(
        zone="dev-alice",
        name="churn",
        spec=EndpointSpec(deployments=(spec,), traffic=TrafficSplit(weights={spec.name: 100})),
        status=status,
        generation=generation,
        etag="etag",
        created_at=AT,
        updated_at=AT,
    )


def live(version: int = 3, was: int | None = 2, **changes: Any) -> EndpointResource:
    report = ParityReport(rows=20, equal=20)
    running = [DeploymentStatus(spec=deployment(version), ready_replicas=1, parity=report)]
    if was:
        running.append(DeploymentStatus(spec=deployment(was), ready_replicas=1, warm_until=AT))
    status = EndpointStatus(
        state=EndpointState.LIVE,
        message=f"version {version} answers",
        observed_generation=1,
        traffic=TrafficSplit(weights={running[0].spec.name: 100}),
        deployments=tuple(running),
        history=(deployment(was),) if was else (),
        url="http://127.0.0.1:8800/dev-alice/churn",
    )
    return endpoint(status.model_copy(update=changes), wanted=version)


def steps(failed: str | None = None, running: str | None = None) -> tuple[ProgressStep, ...]:
    found, state = [], StepState.DONE
    for name in STEPS:
        if name in (failed, running):
            found.append(ProgressStep(name=name, state=StepState.FAILED if failed else StepState.RUNNING, seconds=5.8))
            state = StepState.WAITING
        else:
            found.append(ProgressStep(name=name, state=state, detail="cached" if name == "environment" else ""))
    return tuple(found)


def failed(was: int | None = None, *, step: str = "runner", parity: ParityReport | None = None) -> EndpointResource:
    failure = Failure(
        code="failed_import",
        message="The model's environment has no module named ortools.",
        hint="%mp_publish model --name churn",
        log_tail=("loading", "ModuleNotFoundError"),
    )
    wanted = DeploymentStatus(spec=deployment(3), failure=failure, parity=parity)
    others = (DeploymentStatus(spec=deployment(was), ready_replicas=1),) if was else ()
    return endpoint(
        EndpointStatus(
            state=EndpointState.LIVE if was else EndpointState.FAILED,
            message=failure.message,
            conditions=(Condition(type="UpdateFailed", status=True, message=failure.message, since=AT),),
            observed_generation=1,
            traffic=TrafficSplit(weights={others[0].spec.name: 100} if others else {}),
            deployments=(*others, wanted),
            progress=steps(failed=step),
            url="http://127.0.0.1:8800/dev-alice/churn",
            seconds=6.1,
        )
    )


PARITY = ParityReport(
    rows=20,
    equal=18,
    largest_difference=0.015,
    differences=(
        ParityDifference(
            row=7, output="prediction", notebook="0.512", endpoint="0.497", difference=0.015, allowed=1e-9
        ),
        ParityDifference(row=13, output="prediction", notebook="a", endpoint="b"),
    ),
)


def usage() -> ZoneUsage:
    limits = Amount(cpu=2, memory=4 << 30, endpoints=8)
    zone = Zone(name="dev-alice", spec=ZoneSpec(owner="alice", limits=limits))
    used = Amount(cpu=1, memory=410 << 20, endpoints=1)
    return ZoneUsage(zone=zone, used=used, left=limits)


def version(tier: Tier = Tier.SANDBOX, **card: Any) -> ModelVersion:
    return ModelVersion(
        zone="dev-alice",
        name="churn",
        version=3,
        artifact_sha256=SHA,
        size=5100,
        format=ArtifactFormat.SKOPS,
        card=ModelCard(tier=tier, owner="alice", **card),
        lineage=Lineage(data=(DataFingerprint(name="X_train", sha256=SHA, rows=2400, columns=17),)),
        signature=Signature(inputs=tuple({"type": "double", "name": f"x{n}"} for n in range(17))),
        published_by="alice",
        published_at=AT,
    )
