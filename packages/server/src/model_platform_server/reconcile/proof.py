"""The parity proof: the sample kept at publish is replayed through the gateway, on a path of its own."""

from __future__ import annotations

import datetime as dt
import json
import secrets
from collections.abc import Mapping

from pydantic import ValidationError

from model_platform_core.access import SYSTEM
from model_platform_core.deployments import Access, DeploymentSpec, Endpoint, Failure
from model_platform_core.environments import EnvironmentRecord
from model_platform_core.errors import ParityFailedError
from model_platform_core.models import ModelVersion
from model_platform_core.parity import ParityReport, ParitySample, compare_answers
from model_platform_core.refs import EndpointRef
from model_platform_core.zones import Zone
from model_platform_server.ports import PARITY_PATH, RoutePlan
from model_platform_server.reconcile.plans import version_of
from model_platform_server.services.platform import Platform

_TOKEN_FOR = dt.timedelta(minutes=5)


def read_sample(platform: Platform, version: ModelVersion) -> ParitySample | None:
    """The parity sample of a version; None where none was kept (a plain MLflow client published it)."""
    path = platform.catalogue.directory(version) / PARITY_PATH
    if not path.is_file():
        return None
    try:
        return ParitySample.model_validate(json.loads(path.read_bytes()))
    except (ValueError, ValidationError):
        raise ParityFailedError(
            f"The parity sample of {version.name} version {version.version} cannot be read; publish the model again."
        ) from None


def prove(
    platform: Platform, endpoint: Endpoint, deployment: DeploymentSpec, weights: Mapping[str, int]
) -> ParityReport | None:
    """Replay the sample on a private path to this deployment and compare; None if there is no sample.

    Parameters
    ----------
    weights
        The traffic in force, which does not change here.
    """
    sample = read_sample(platform, version_of(platform, deployment))
    if sample is not None and sample.not_proven is not None:
        return ParityReport(rows=0, equal=0, not_proven=sample.not_proven)
    if sample is None or not sample.records:
        return None
    ref = endpoint.ref
    path = f"/.parity/{secrets.token_urlsafe(24)}"
    platform.target.route(RoutePlan(ref, weights, private={deployment.name: path}))
    answers = platform.target.call(path, sample.records, _token(platform, ref, deployment))
    return compare_answers(sample, answers)


def prove_successor(platform: Platform, endpoint: Endpoint, deployment: DeploymentSpec) -> ParityReport | None:
    """Replay the sample to runners in the model's own environment, which get no traffic yet; None if there is none."""
    sample = read_sample(platform, version_of(platform, deployment))
    if sample is None or not sample.records:
        return None
    ref, token = endpoint.ref, _token(platform, endpoint.ref, deployment)
    return compare_answers(sample, platform.target.call_successor(ref, deployment.name, sample.records, token))


def _token(platform: Platform, ref: EndpointRef, deployment: DeploymentSpec) -> str | None:
    if deployment.access is not Access.TOKEN:
        return None
    expires = platform.clock.now() + _TOKEN_FOR
    return platform.keys.sign_endpoint_token(str(ref), secrets.token_hex(8), SYSTEM.name, expires)


def words_of(report: ParityReport | None) -> str:
    """What the card says of the proof."""
    if report is None:
        return "no sample was kept at publish"
    if report.not_proven is not None:
        return f"not proven: {report.not_proven}"
    if not report.deterministic:
        return f"{report.rows} of {report.rows} answers of the same type; the model is not deterministic"
    return (
        f"{report.equal} of {report.rows} answers as in the notebook, largest difference {report.largest_difference:g}"
    )


def unproven_failure(zone: Zone, version: ModelVersion, report: ParityReport | None) -> Failure:
    """Why a zone does not take a version whose answers could not be compared."""
    why = words_of(report).removeprefix("not proven: ")
    message = (
        f"Zone {zone.name} deploys what is proven to answer as in the notebook; {version.name} version {version.version} "
        f"is not: {why}."
    )
    hint = f"%mp_publish model --name {version.name} --example rows   (rows that may be kept and shown)"
    return Failure(code=ParityFailedError.code, message=message, hint=hint)


def parity_failure(
    version: ModelVersion, report: ParityReport, libraries: Mapping[str, str], lacking: str | None = None
) -> Failure:
    """Why nothing was switched, and what to change.

    Parameters
    ----------
    libraries
        What serves, by import name.
    lacking
        What the model asked for and did not find, in one sentence.
    """
    wrong = report.rows - report.equal
    message = f"{wrong} of {report.rows} rows are answered differently than in the notebook."
    environment = version.lineage.environment
    differences = _differences(environment, libraries) if environment else []
    if lacking or differences:
        message += " " + " ".join([*([lacking] if lacking else []), *differences])
    else:
        message += " The libraries are the same; what the model reads beside its files may have changed since."
    return Failure(code=ParityFailedError.code, message=message, hint=f"%mp_publish model --name {version.name}")


_DISTRIBUTIONS = {"sklearn": "scikit-learn"}


def _differences(environment: EnvironmentRecord, libraries: Mapping[str, str]) -> list[str]:
    made_with = dict(line.partition("==")[::2] for line in environment.packages)
    found = []
    for module, serving in sorted(libraries.items()):
        name = _DISTRIBUTIONS.get(module, module)
        if (used := made_with.get(name)) and used != serving:
            found.append(f"The notebook used {name} {used}, the endpoint's environment holds {serving}.")
    return found
