"""What a failed parity proof says."""

from __future__ import annotations

import datetime as dt

from model_platform_core.environments import EnvironmentRecord
from model_platform_core.lineage import Lineage
from model_platform_core.models import ModelVersion
from model_platform_core.parity import ParityReport
from model_platform_server.reconcile.proof import parity_failure, words_of

REPORT = ParityReport(rows=20, equal=18, largest_difference=0.015)


def version(*packages: str) -> ModelVersion:
    environment = EnvironmentRecord(python="3.11.7", platform="linux", packages=packages)
    return ModelVersion(
        zone="dev-alice",
        name="penguins",
        version=3,
        artifact_sha256="sha256:" + "0" * 64,
        lineage=Lineage(environment=environment),
        published_by="alice",
        published_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    )


def test_another_library_is_named_with_both_versions() -> None:
    libraries = {"sklearn": "1.6.0", "numpy": "2.0.0"}
    failure = parity_failure(version("scikit-learn==1.7.1", "numpy==2.0.0"), REPORT, libraries)
    assert failure.code == "failed_parity"
    assert failure.message == (
        "2 of 20 rows are answered differently than in the notebook. "
        "The notebook used scikit-learn 1.7.1, the endpoint's environment holds 1.6.0."
    )
    assert failure.hint == "%mp_publish model --name penguins"


def test_equal_libraries_point_elsewhere() -> None:
    failure = parity_failure(version("numpy==2.0.0"), REPORT, {"numpy": "2.0.0"})
    assert "libraries are the same" in failure.message


def test_the_proof_in_words() -> None:
    assert words_of(None) == "no sample was kept at publish"
    equal = ParityReport(rows=20, equal=20)
    assert words_of(equal) == "20 of 20 answers as in the notebook, largest difference 0"
    assert "not deterministic" in words_of(equal.model_copy(update={"deterministic": False}))
