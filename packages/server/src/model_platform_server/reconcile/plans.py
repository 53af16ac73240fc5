"""From an endpoint's deployment to what a target needs to run it."""

from __future__ import annotations

from model_platform_core.deployments import DeploymentSpec, Endpoint
from model_platform_core.errors import VersionNotFoundError
from model_platform_core.models import ModelVersion
from model_platform_core.refs import ModelRef, VersionRef
from model_platform_core.zones import ZoneKind
from model_platform_server.ports import RunnerPlan
from model_platform_server.services.platform import Platform


def version_of(platform: Platform, deployment: DeploymentSpec) -> ModelVersion:
    """The version that a deployment runs, by number: what its spec resolved.

    Raises
    ------
    VersionNotFoundError
        If it was deleted.
    """
    found = platform.catalogue.version(VersionRef(ModelRef.parse(deployment.model), deployment.version))
    if found is None or found.artifact_sha256 != deployment.artifact_sha256:
        raise VersionNotFoundError(f"{deployment.model} version {deployment.version} is not there any more.")
    return found


def runner_plan(platform: Platform, endpoint: Endpoint, deployment: DeploymentSpec) -> RunnerPlan:
    """Everything that a target needs to run the deployment."""
    version = version_of(platform, deployment)
    developing = platform.zone(endpoint.zone).spec.kind is ZoneKind.DEVELOPMENT
    return RunnerPlan(
        ref=endpoint.ref,
        deployment=deployment,
        directory=platform.catalogue.directory(version),
        files=version.files,
        environment=version.lineage.environment,
        access=deployment.access,
        public_keys=platform.keys.public_keys(),
        keep_output=developing and not version.card.may_be_personal,
    )
