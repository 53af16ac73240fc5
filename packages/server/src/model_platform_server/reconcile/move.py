"""A deployment moves from a borrowed environment into its own: proven first, then given the traffic."""

from __future__ import annotations

from model_platform_core.access import SYSTEM
from model_platform_core.deployments import DeploymentStatus, Endpoint
from model_platform_core.errors import FailedError
from model_platform_core.events import EventType, NewEvent
from model_platform_core.refs import ModelRef, VersionRef
from model_platform_server.ports import FirstBuild
from model_platform_server.reconcile.plans import version_of
from model_platform_server.reconcile.proof import parity_failure, prove_successor
from model_platform_server.reconcile.status import StatusWriter, failure_of
from model_platform_server.services.platform import Platform


def move(platform: Platform, endpoint: Endpoint, deployment: DeploymentStatus) -> DeploymentStatus:
    """Replay the sample in the model's own environment; what answers there as the notebook did gets the traffic.

    Otherwise everything goes on as before. Returns the deployment with the proof that holds now.

    Raises
    ------
    ModelPlatformError
        If it cannot be found out now.
    """
    target, ref, spec = platform.target, endpoint.ref, deployment.spec
    try:
        report = prove_successor(platform, endpoint, spec)
    except FailedError as error:
        target.refuse_successor(ref, spec.name, failure_of(error))
        return deployment
    if report is not None and not report.proven:
        libraries = target.libraries(ref, spec.name, successor=True)
        target.refuse_successor(ref, spec.name, parity_failure(version_of(platform, spec), report, libraries))
        return deployment
    target.take_over(ref, spec.name)
    event = StatusWriter(platform, endpoint).event(EventType.ENVIRONMENT_TAKEN_OVER, {"version": spec.version})
    platform.events.append([event])
    return deployment.model_copy(update={"parity": report})


def keep_digests(platform: Platform, deployment: DeploymentStatus, build: FirstBuild) -> None:
    """Write what a lock was first built of into the version's lineage: another server builds the same."""
    version = version_of(platform, deployment.spec)
    data: dict[str, object] = {"version": version.version, "data": [], "lock_sha256": build.lock_sha256}
    event = NewEvent(
        type=EventType.LINEAGE_COMPLETED, actor=SYSTEM.name, zone=version.zone, subject=version.full_name, data=data
    )
    platform.catalogue.keep_digests(VersionRef(ModelRef(version.zone, version.name), version.version), build, event)
    platform.changes.notify()
