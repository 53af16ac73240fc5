"""Values that several concepts share: canonical JSON and digests, paths, specs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from model_platform_core.deployments import DeploymentSpec, DeploymentStatus, EndpointSpec, EndpointStatus, TrafficSplit
from model_platform_core.models import FileEntry, check_relative_path, manifest_digest
from model_platform_core.values import canonical_json, digest_of

DIGEST = "sha256:" + "0" * 64
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(json_values)
def test_canonical_json_is_the_same_for_the_same_value(value: Any) -> None:
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text


@given(st.dictionaries(st.text(), json_values), st.randoms())
def test_the_order_of_keys_does_not_matter(value: dict[str, Any], random: Any) -> None:
    keys = list(value)
    random.shuffle(keys)
    assert digest_of({key: value[key] for key in keys}) == digest_of(value)


@given(st.text())
def test_a_relative_path_stays_below_its_folder(path: str) -> None:
    try:
        check_relative_path(path)
    except ValueError:
        return
    assert not path.startswith("/")
    assert not {"..", ".", ""} & set(path.split("/"))


@pytest.mark.parametrize("path", ["", "/", "/a", "a//b", "a/", "./a", "a/..", "..", "a\\b", "a\x00", "x" * 501])
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(ValidationError):
        FileEntry(path=path, size=1, sha256=DIGEST)


def test_a_path_names_a_file_as_it_is() -> None:
    assert FileEntry(path=" a b ", size=1, sha256=DIGEST).path == " a b "


def test_a_manifest_is_known_by_paths_and_bytes_in_any_order() -> None:
    one, other = FileEntry(path="a", size=1, sha256=DIGEST), FileEntry(path="b", size=2, sha256=DIGEST)
    moved = FileEntry(path="c", size=2, sha256=DIGEST)
    changed = FileEntry(path="b", size=2, sha256="sha256:" + "1" * 64)
    assert manifest_digest([one, other]) == manifest_digest([other, one])
    assert len({manifest_digest(files) for files in ([one, other], [one, moved], [one, changed], [one])}) == 4


# ---------------------------------------------------------------- endpoints


def deployment(name: str, version: int = 1) -> DeploymentSpec:
    return DeploymentSpec(name=name, model="dev-alice.churn", version=version, artifact_sha256=DIGEST)


@pytest.mark.parametrize("weights", [{"a": 99}, {"a": 150, "b": -50}, {"a": 50, "b": 51}, {"a": 0}])
def test_weights_add_up_to_100(weights: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="add up to 100"):
        TrafficSplit(weights=weights)


def test_traffic_names_deployments_that_exist_and_names_differ() -> None:
    with pytest.raises(ValidationError, match="do not exist: b, c"):
        EndpointSpec(deployments=(deployment("a"),), traffic=TrafficSplit(weights={"a": 50, "c": 25, "b": 25}))
    with pytest.raises(ValidationError, match="same name"):
        EndpointSpec(deployments=(deployment("a"), deployment("a", 2)))


def test_live_is_what_gets_most_of_the_traffic() -> None:
    observed = tuple(DeploymentStatus(spec=deployment(name)) for name in ("a", "b"))
    status = EndpointStatus(deployments=observed, traffic=TrafficSplit(weights={"a": 10, "b": 90}))
    assert status.live() == deployment("b")
    assert EndpointStatus(deployments=observed).live() is None
    assert EndpointStatus(traffic=TrafficSplit(weights={"gone": 100})).live() is None
