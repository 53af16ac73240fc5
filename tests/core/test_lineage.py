from __future__ import annotations

import pytest

from model_platform_core.environments import EnvironmentRecord, PackageOrigin, Source
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


def test_a_completed_environment_has_its_packages_from_where_they_were_recorded() -> None:
    ours = PackageOrigin(source=Source.WHEEL, location="model_platform/wheels/a.whl", sha256="sha256:" + "c" * 64)
    recorded = Lineage(environment=HERE.model_copy(update={"origins": {"a": ours}}))
    same = WHOLE.model_copy(update={"origins": {"a": ours, "b": PackageOrigin(location="corp")}})
    assert recorded.completed([], same).environment == same
    for other in ({}, {"a": PackageOrigin(source=Source.GIT, location="https://example.org/a", commit="d")}):
        with pytest.raises(ConflictError, match="from elsewhere"):
            recorded.completed([], WHOLE.model_copy(update={"origins": other}))


def test_digests_of_the_first_build_are_added_once_and_to_the_lock_that_was_built() -> None:
    known = Lineage(environment=WHOLE)
    first, later = {"a": ("sha256:" + "1" * 64,)}, {"a": ("sha256:" + "2" * 64,)}
    built = known.with_digests("linux-x86_64", first, of=WHOLE.lock_sha256)
    assert built.environment is not None
    assert built.environment.digests == {"linux-x86_64": first}
    assert built.environment.lock_sha256 == WHOLE.lock_sha256
    assert built.with_digests("linux-x86_64", later, of=WHOLE.lock_sha256) == built
    assert known.with_digests("linux-x86_64", first, of="sha256:" + "3" * 64) == known
    assert built.completed([], WHOLE) == built  # an answer that got lost: sent again, without what the server added
    forged = WHOLE.model_copy(update={"digests": {"linux-x86_64": later}})
    assert RECORDED.completed([], forged).environment == WHOLE
