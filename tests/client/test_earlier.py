"""What is said and asked before a publish: about the name, and about the last version."""

from __future__ import annotations

import builtins
import datetime as dt
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from model_platform.capture import earlier
from model_platform.capture.earlier import asks_for_review, differs_from_last, look_back, one_edit_apart
from model_platform.capture.origin import Origin
from model_platform_core.cards import ModelCard
from model_platform_core.errors import ModelNotFoundError, NearNameError
from model_platform_core.lineage import Lineage
from model_platform_core.models import ModelVersion
from model_platform_core.refs import ModelRef


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("churn", "chrun"),
        ("churn", "churm"),
        ("churn", "chur"),
        ("churn", "churnn"),
        ("churn", "Churn"),
        ("churn_model", "churn-model"),
        ("aaaa", "aaaaa"),
    ],
)
def test_what_a_slip_could_have_made(one: str, other: str) -> None:
    assert one_edit_apart(one, other)
    assert one_edit_apart(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("churn", "churn"),
        ("churn", "churn2"),
        ("churn1", "churn2"),
        ("churn", "church-goers"),
        ("cat", "car"),
        ("abcd", "badc"),
    ],
)
def test_what_no_slip_has_made(one: str, other: str) -> None:
    assert not one_edit_apart(one, other)
    assert not one_edit_apart(other, one)


class Known:
    """As much of a client as is asked: a zone with some models, none of them of the name that is published."""

    zone = "dev-alice"

    def __init__(self, *names: str) -> None:
        self._names = names

    def versions(self, name: str, limit: int) -> list[ModelVersion]:
        raise ModelNotFoundError(f"There is no model {name}.")

    def models(self, *, zone: str | None) -> list[Any]:
        assert zone == self.zone
        return [SimpleNamespace(name=name) for name in self._names]

    def get_zone(self, zone: str) -> str:
        return zone


def look(client: Any, name: str, *, new_name: bool = False) -> earlier.Earlier:
    return look_back(client, ModelRef("dev-alice", name), new_name=new_name)


def test_without_anybody_to_ask_the_error_names_both_and_what_confirms() -> None:
    with pytest.raises(NearNameError) as refused:
        look(Known("churn", "sales"), "chrun")
    assert refused.value.message == (
        "There is no model chrun yet, but there is churn, one letter away. Nothing was published."
    )
    assert refused.value.hint == "--name churn, or --new-name if chrun is meant"
    assert look(Known("churn"), "chrun", new_name=True).last is None
    assert look(Known("sales"), "chrun").last is None


def test_a_person_in_a_terminal_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    answers, asked = ["n", "y"], []
    for stream in ("stdin", "stdout"):
        monkeypatch.setattr(sys, stream, SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(builtins, "input", lambda question: (asked.append(question), answers.pop(0))[1])
    with pytest.raises(NearNameError):
        look(Known("churn"), "chrun")
    assert look(Known("churn"), "chrun").last is None
    assert asked[0].endswith("Make a new model chrun? [y/N] ")


def version(by: str = "alice", notebook: str | None = "churn.ipynb") -> ModelVersion:
    now = dt.datetime(2025, 3, 1, tzinfo=dt.UTC)
    return ModelVersion(
        zone="dev-alice",
        name="churn",
        version=3,
        artifact_sha256="sha256:" + "a" * 64,
        card=ModelCard(review_by=dt.date(2027, 3, 1)),
        lineage=Lineage(notebook=notebook),
        published_by=by,
        published_at=now,
    )


@pytest.mark.parametrize(
    ("last", "origin", "sentence"),
    [
        (None, Origin(path="churn.ipynb"), ""),
        (version(), Origin(path="churn.ipynb"), ""),
        (version(), Origin(), ""),
        (version(notebook=None), Origin(path="churn.ipynb"), ""),
        (
            version(),
            Origin(path="new.ipynb"),
            "The last version, 3, was published from churn.ipynb; this is new.ipynb.",
        ),
        (version("bob"), Origin(path="churn.ipynb"), "The last version, 3, was published by bob from churn.ipynb."),
        (version("bob", None), Origin(), "The last version, 3, was published by bob."),
    ],
)
def test_another_person_or_notebook_is_told(last: ModelVersion | None, origin: Origin, sentence: str) -> None:
    assert differs_from_last(last, "alice", origin) == sentence


@pytest.mark.parametrize(
    ("before", "now", "sentence"),
    [
        ("https://example.org/a/churn.git", "git@example.org:a/churn.git", ""),
        ("https://example.org/a/churn", None, ""),
        (
            "https://example.org/a/churn",
            "https://example.org/b/churn",
            (
                "The last version, 3, was published from churn.ipynb of https://example.org/a/churn; "
                "this is churn.ipynb of https://example.org/b/churn."
            ),
        ),
    ],
)
def test_a_notebook_of_the_same_name_in_another_repository_is_another(
    before: str, now: str | None, sentence: str
) -> None:
    last = version()
    last = last.model_copy(update={"lineage": last.lineage.model_copy(update={"git_repository": before})})
    assert differs_from_last(last, "alice", Origin(path="churn.ipynb", repository=now)) == sentence


def test_a_date_of_review_that_somebody_writes_makes_a_version() -> None:
    assert asks_for_review({"review_by": "2026-01-01"}, version())
    assert not asks_for_review({"review_by": "2027-03-01"}, version())
    assert not asks_for_review({}, version())
    assert not asks_for_review({"review_by": "2026-01-01"}, None)
