from __future__ import annotations

import pytest

from model_platform_core.environments import EnvironmentRecord
from model_platform_core.errors import ConflictError
from model_platform_core.lineage import DataFingerprint, Lineage

PENDING = DataFingerprint(name="X", rows=3, columns=2, types={"a": "float"}, pending=True)
DONE = PENDING.model_copy(update={"sha256": "sha256:" + "a" * 64, "pending": False})
OTHER = DataFingerprint(name="other", sha256="sha256:" + "b" * 64, rows=1, columns=1)
HERE = EnvironmentRecord(python="3.11.2", platform="linux-x86_64", packages=("a==1",), pending=True)
WHOLE = HERE.model_copy(update={"packages": ("a==1", "b==2"), "locked": True, "pending": False})
RECORDED = Lineage(notebook="n.ipynb", data=(PENDING, OTHER), environment=HERE)


def test_what_was_pending_is_added_and_the_rest_stays() -> None:
    assert RECORDED.pending == ("X", "environment")
    after = RECORDED.completed([DONE], None)
    assert after.data == (DONE, OTHER)
    assert after.environment == HERE
    assert after.pending == ("environment",)
    assert after.completed([], WHOLE).pending == ()
    assert after.completed([], WHOLE).notebook == "n.ipynb"


def test_it_may_end_without_a_digest() -> None:
    given_up = PENDING.model_copy(update={"pending": False, "note": "interrupted"})
    assert RECORDED.completed([given_up], None).data[0] == given_up


def test_the_same_again_is_accepted() -> None:
    after = RECORDED.completed([DONE], WHOLE)
    assert after.completed([DONE], WHOLE) == after


@pytest.mark.parametrize(
    "data",
    [
        OTHER.model_copy(update={"sha256": DONE.sha256}),
        DONE.model_copy(update={"name": "new"}),
        DONE.model_copy(update={"rows": 4}),
        PENDING.model_copy(update={"rows": 4}),
    ],
    ids=["known", "never-named", "another-shape", "pending-still"],
)
def test_nothing_else_is_taken(data: DataFingerprint) -> None:
    with pytest.raises(ConflictError, match=data.name):
        RECORDED.completed([data], None)


def test_of_the_environment_too() -> None:
    for before, after in (
        (RECORDED, WHOLE.model_copy(update={"python": "3.12.1"})),
        (RECORDED.completed([], WHOLE), WHOLE.model_copy(update={"packages": ("evil==1",)})),
        (Lineage(), WHOLE),
    ):
        with pytest.raises(ConflictError, match="environment"):
            before.completed([], after)
