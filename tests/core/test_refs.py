from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_platform_core.errors import InvalidNameError, InvalidReferenceError
from model_platform_core.refs import (
    ALIAS_PATTERN,
    ENDPOINT_PATTERN,
    MODEL_PATTERN,
    ZONE_PATTERN,
    EndpointRef,
    ModelRef,
    VersionRef,
    check_name,
    endpoint_name_for,
)

zones = st.from_regex(ZONE_PATTERN.removesuffix("$"), fullmatch=True)
endpoints = st.from_regex(ENDPOINT_PATTERN.removesuffix("$"), fullmatch=True)
models = st.from_regex(MODEL_PATTERN.removesuffix("$"), fullmatch=True)
aliases = st.from_regex(ALIAS_PATTERN.removesuffix("$"), fullmatch=True)
model_refs = st.builds(ModelRef, st.none() | zones, models)
version_refs = st.one_of(
    st.builds(VersionRef, model_refs),
    st.builds(VersionRef, model_refs, version=st.integers(1, 999_999_999)),
    st.builds(VersionRef, model_refs, alias=aliases),
)
endpoint_refs = st.builds(EndpointRef, st.none() | zones, endpoints)


@given(model_refs)
def test_a_model_reads_back_as_it_is_written(ref: ModelRef) -> None:
    assert ModelRef.parse(str(ref)) == ref


@given(version_refs)
def test_a_version_reads_back_as_it_is_written(ref: VersionRef) -> None:
    assert VersionRef.parse(str(ref)) == ref
    assert VersionRef.parse(f"  {ref}\n") == ref


@given(endpoint_refs)
def test_an_endpoint_reads_back_as_it_is_written(ref: EndpointRef) -> None:
    assert EndpointRef.parse(str(ref)) == ref


@given(st.text() | st.text(alphabet="ab.:@/-_1 \n\u0661é"))
def test_any_other_text_is_refused_in_our_words(text: str) -> None:
    for kind in (ModelRef, VersionRef, EndpointRef):
        try:
            ref = kind.parse(text)
        except (InvalidNameError, InvalidReferenceError):
            continue
        assert str(ref) == text.strip()


@given(models)
def test_every_model_has_a_legal_endpoint_name(name: str) -> None:
    endpoint = endpoint_name_for(name)
    assert check_name("endpoint", endpoint) == endpoint
    assert len(endpoint) <= 30


def test_references_are_read() -> None:
    assert VersionRef.parse("dev-alice.churn:3") == VersionRef(ModelRef("dev-alice", "churn"), version=3)
    assert VersionRef.parse("churn@champion") == VersionRef(ModelRef(None, "churn"), alias="champion")
    assert VersionRef.parse("churn") == VersionRef(ModelRef(None, "churn"))
    assert EndpointRef.parse("risk/pd") == EndpointRef("risk", "pd")
    assert endpoint_name_for("Churn_Model") == "churn-model"


def test_a_zone_is_filled_in_where_it_was_left_out() -> None:
    assert str(VersionRef.parse("churn:3").within("dev-alice")) == "dev-alice.churn:3"
    assert str(VersionRef.parse("risk.churn:3").within("dev-alice")) == "risk.churn:3"
    assert str(EndpointRef.parse("churn").within("dev-alice")) == "dev-alice/churn"
    assert str(EndpointRef.parse("risk/churn").within("dev-alice")) == "risk/churn"


@pytest.mark.parametrize(
    "text",
    ["", " ", ".", ".churn", "a.b.churn", "dev-alice.", "Dev.churn", "-dev.churn", "dev-.churn", "x" * 61, "_churn",
     "churn/3", "chu rn", "churn\n.x", "é", "churn\x00"],
)  # fmt: skip
def test_what_is_no_model_is_refused(text: str) -> None:
    with pytest.raises(InvalidNameError):
        ModelRef.parse(text)


@pytest.mark.parametrize(
    "text", ["churn:0", "churn:03", "churn:-1", "churn:", "churn:1.0", "churn:x", "churn:\u0663", "churn:1234567890",
             "churn:3@champion", "churn@champion:3", "churn:3:4"]
)  # fmt: skip
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(InvalidReferenceError, match="churn"):
        VersionRef.parse(text)


@pytest.mark.parametrize("text", ["churn@", "churn@1st", "churn@a b", "churn@a@b"])
def test_what_is_no_alias_is_refused(text: str) -> None:
    with pytest.raises(InvalidNameError, match="an alias"):
        VersionRef.parse(text)


@pytest.mark.parametrize("text", ["", "/", "zone/", "/churn", "a/b/c", "Churn", "x" * 31, "churn_model", "churn."])
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(InvalidNameError):
        EndpointRef.parse(text)


def test_the_refusal_names_the_name_and_the_rule() -> None:
    with pytest.raises(InvalidNameError) as caught:
        check_name("zone", "Dev_Alice")
    assert caught.value.message == (
        "'Dev_Alice' is no name for a zone: use lower-case letters, digits and -, at most 30 characters."
    )
