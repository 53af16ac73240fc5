from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_platform_core.signatures import Signature, breaking_changes

KINDS = ["boolean", "integer", "long", "float", "double", "string", "datetime"]
columns = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from("abcdef"), "type": st.sampled_from(KINDS), "required": st.booleans()}
    ),
    unique_by=lambda field: field["name"],
    max_size=5,
).map(tuple)
signatures = st.builds(Signature, inputs=st.none() | columns, outputs=st.none() | columns)


def column(name: str, kind: str, *, required: bool = True) -> dict[str, Any]:
    return {"name": name, "type": kind, "required": required}


def changes(live: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[str]:
    return breaking_changes(Signature(inputs=tuple(live)), Signature(inputs=tuple(new)))


@given(signatures)
def test_nothing_breaks_by_staying_as_it_is(signature: Signature) -> None:
    assert breaking_changes(signature, signature) == []


@given(columns, st.data())
def test_nothing_breaks_by_new_optional_inputs_fewer_demands_or_another_order(
    live: tuple[dict[str, Any], ...], data: st.DataObject
) -> None:
    eased = [{**field, "required": field["required"] and data.draw(st.booleans())} for field in live]
    new = data.draw(st.permutations([*eased, column("new", "string", required=False)]))
    assert changes(list(live), list(new)) == []


@given(columns, columns)
def test_what_breaks_one_way_is_told_once_each(
    live: tuple[dict[str, Any], ...], new: tuple[dict[str, Any], ...]
) -> None:
    found = changes(list(live), list(new))
    assert len(found) == len(set(found))
    gone = {field["name"] for field in live} - {field["name"] for field in new}
    assert {f"input {name} is no longer accepted" for name in gone} <= set(found)


@given(signatures, signatures)
def test_a_side_that_says_nothing_is_not_compared(one: Signature, other: Signature) -> None:
    unknown = Signature(inputs=None, outputs=other.outputs)
    assert [change for change in breaking_changes(one, unknown) if change.startswith("input")] == []


@pytest.mark.parametrize(
    ("was", "now", "breaks"),
    [("integer", "long", False), ("integer", "double", False), ("long", "double", False), ("float", "double", False),
     ("long", "integer", True), ("double", "long", True), ("double", "float", True), ("string", "double", True),
     ("boolean", "integer", True), ("datetime", "string", True)],
)  # fmt: skip
def test_inputs_may_widen_and_not_narrow(was: str, now: str, breaks: bool) -> None:
    expected = [f"input age was {was} and is now {now}"] if breaks else []
    assert changes([column("age", was)], [column("age", now)]) == expected


def test_every_break_of_an_input_is_told() -> None:
    live = [column("age", "long"), column("island", "string"), column("sex", "string", required=False)]
    new = [
        column("age", "string"),
        column("sex", "string"),
        column("year", "long"),
        column("note", "string", required=False),
    ]
    assert changes(live, new) == [
        "input island is no longer accepted",
        "input age was long and is now string",
        "input sex could be null and is now required",
        "input year (long) is new and required",
    ]


def test_an_output_changes_in_no_way() -> None:
    live = Signature(outputs=(column("label", "string"), column("score", "float")))
    new = Signature(outputs=(column("score", "double"), column("more", "long")))
    assert breaking_changes(live, new) == [
        "output label (string) is gone",
        "output more (long) is new",
        "output score was float and is now double",
    ]


def test_columns_without_names_are_told_by_their_place() -> None:
    assert changes([{"type": "double"}, {"type": "long"}], [{"type": "double"}, {"type": "string"}]) == [
        "input #2 was long and is now string"
    ]


def tensor(dtype: str, *shape: int) -> dict[str, Any]:
    return {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": list(shape)}}


def test_tensors_are_compared_by_type_and_shape() -> None:
    assert changes([tensor("float32", -1, 28, 28)], [tensor("float32", -1, 28, 28)]) == []
    assert changes([tensor("float32", -1, 28, 28)], [tensor("float64", -1, 32, 32)]) == [
        "input #1 was float32 tensor any × 28 × 28 and is now float64 tensor any × 32 × 32"
    ]


def of(**kind: Any) -> dict[str, Any]:
    return {"name": "it", "required": True, **kind}


ARRAY = of(type="array", items={"type": "long"})
OBJECT = of(
    type="object", properties={"a": {"type": "long", "required": True}, "b": {"type": "string", "required": False}}
)
MAP = of(type="map", values={"type": "double"})


@pytest.mark.parametrize(
    ("live", "new", "told"),
    [
        (ARRAY, of(type="array", items={"type": "string"}), "was array of long and is now array of string"),
        (
            of(type="array", items={"type": "array", "items": {"type": "long"}}),
            ARRAY,
            "was array of array of long and is now array of long",
        ),
        (
            OBJECT,
            of(
                type="object",
                properties={"a": {"type": "long", "required": True}, "b": {"type": "string", "required": True}},
            ),
            "was object {a: long, b?: string} and is now object {a: long, b: string}",
        ),
        (MAP, of(type="map", values={"type": "string"}), "was map to double and is now map to string"),
        (MAP, OBJECT, "was map to double and is now object {a: long, b?: string}"),
    ],
)
def test_what_is_inside_is_compared_too(live: dict[str, Any], new: dict[str, Any], told: str) -> None:
    assert changes([live], [new]) == [f"input it {told}"]
    assert changes([live], [live]) == []
