from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from model_platform_core.cards import ModelCard, Tier
from model_platform_core.errors import ChangedSinceReadError, ConflictError, InvalidError, VersionNotFoundError
from model_platform_core.events import EventType
from model_platform_core.lineage import DataFingerprint, Lineage
from model_platform_core.models import ArtifactFormat, FileEntry
from model_platform_core.refs import ModelRef, VersionRef
from model_platform_core.wire import LineageCompletion
from model_platform_server.adapters.database.catalogue import SqlCatalogue
from model_platform_server.adapters.database.engine import Database
from model_platform_server.adapters.database.event_store import SqlEvents
from model_platform_server.adapters.database.tables import aliases, cards, files, models, versions
from model_platform_server.ports import ModelFilter

CHURN = ModelRef("dev-alice", "churn")


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


class Registered:
    """Writes models and versions as the registry does."""

    def __init__(self, database: Database, clock: Any, artifacts: Path) -> None:
        self.database, self.clock, self.artifacts = database, clock, artifacts

    def model(self, zone: str, name: str, *, newest: int | None = None, **known: Any) -> ModelRef:
        now = self.clock.now()
        values = {"description": "", "tags": {}, "created_by": "alice", "created_at": now, "updated_at": now, **known}
        with self.database.write() as connection:
            connection.execute(sa.insert(models).values(zone=zone, name=name, newest_version=newest, **values))
        return ModelRef(zone, name)

    def version(self, ref: ModelRef, number: int, card: ModelCard, content: dict[str, bytes]) -> VersionRef:
        key = {"zone": ref.zone, "name": ref.name, "version": number}
        folder = f"1/models/m-{ref.zone}-{ref.name}-{number}/artifacts"
        for path, data in content.items():
            (self.artifacts / folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.artifacts / folder / path).write_bytes(data)
        now = self.clock.now()
        row = {
            "artifact_sha256": sha256(str(content).encode()),
            "location": f"mlflow-artifacts:/{folder}",
            "size": sum(map(len, content.values())),
            "format": "skops",
            "signature": {"inputs": [{"name": "a", "type": "double"}], "outputs": None},
            "behaviour": {"method": "predict"},
            "lineage": {"git_commit": "abc"},
            "description": "",
            "tags": {},
            "model_id": f"m-{number}",
            "run_id": "r",
            "published_by": "alice",
            "published_at": now,
        }
        with self.database.write() as connection:
            connection.execute(sa.insert(versions).values(**key, **row))
            for path, data in content.items():
                connection.execute(sa.insert(files).values(**key, path=path, size=len(data), sha256=sha256(data)))
            written = {"content": card.model_dump(mode="json"), "sha256": card.digest(), "by": "alice", "at": now}
            connection.execute(sa.insert(cards).values(**key, revision=1, **written))
            newest = {"newest_version": number, "tier": int(card.tier), "owner": card.owner}
            connection.execute(
                sa.update(models).where(models.c.zone == ref.zone, models.c.name == ref.name).values(newest)
            )
        return VersionRef(ref, number)

    def alias(self, ref: ModelRef, alias: str, number: int) -> None:
        with self.database.write() as connection:
            connection.execute(sa.insert(aliases).values(zone=ref.zone, name=ref.name, alias=alias, version=number))


@pytest.fixture
def registered(database: Database, clock: Any, artifacts: Path, catalogue: SqlCatalogue) -> Registered:
    return Registered(database, clock, artifacts)


@pytest.fixture
def churn(registered: Registered) -> ModelRef:
    """A model with three versions and two aliases."""
    ref = registered.model("dev-alice", "churn", description="who leaves", tags={"team": "retention"})
    for number in (1, 2, 3):
        card = ModelCard(owner="alice", tier=Tier(number - 1), purpose=f"keeps customers, take {number}")
        registered.version(ref, number, card, {"MLmodel": b"m%d" % number, "data/model.skops": b"weights"})
    registered.alias(ref, "champion", 2)
    registered.alias(ref, "challenger", 3)
    return ref


# ---------------------------------------------------------------- models


def names(catalogue: SqlCatalogue, zones: frozenset[str] | None = None, **where: Any) -> list[str]:
    return [model.full_name for model in catalogue.models(zones, ModelFilter(**where)).items]


def test_a_model_is_shown_with_what_holds_for_its_newest_version(catalogue: SqlCatalogue, churn: ModelRef) -> None:
    model = catalogue.model(churn)
    assert model is not None
    assert (model.full_name, model.description, model.tags) == ("dev-alice.churn", "who leaves", {"team": "retention"})
    assert (model.newest_version, model.tier, model.owner) == (3, Tier.MATERIAL, "alice")
    assert model.aliases == {"challenger": 3, "champion": 2}
    assert catalogue.models(None, ModelFilter()).items == [model]
    assert catalogue.model(ModelRef("risk", "churn")) is None


def test_models_are_narrowed_to_zones_and_filters(catalogue: SqlCatalogue, registered: Registered) -> None:
    for zone, name, tier, owner in [
        ("dev-alice", "churn", 0, "alice"),
        ("dev-alice", "fraud", 2, "bob"),
        ("dev-bob", "churn", 2, "bob"),
        ("risk", "pd", 3, "carol"),
    ]:
        registered.model(zone, name, newest=1, tier=tier, owner=owner)
    registered.model("risk", "empty")
    assert names(catalogue) == ["dev-alice.churn", "dev-alice.fraud", "dev-bob.churn", "risk.pd"]
    assert names(catalogue, frozenset({"dev-alice", "risk"})) == ["dev-alice.churn", "dev-alice.fraud", "risk.pd"]
    assert names(catalogue, frozenset()) == []
    assert names(catalogue, frozenset({"dev-bob"}), zone="risk") == []
    assert names(catalogue, zone="risk") == ["risk.pd"]
    assert names(catalogue, owner="bob") == ["dev-alice.fraud", "dev-bob.churn"]
    assert names(catalogue, tier=0) == ["dev-alice.churn"]
    assert names(catalogue, tier=2, owner="bob", zone="dev-bob") == ["dev-bob.churn"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("churn", ["churn_model", "churns"]),
        ("CHURN", ["churn_model", "churns"]),
        ("n_m", ["churn_model"]),
        ("_", ["churn_model"]),
        ("100%", ["pd"]),
        ("%", ["pd"]),
        ("größe", ["pd"]),
        ("GRÖSSE", []),
        ("ÖßE", ["pd"]),
        ("\\", ["slash"]),
        ("/", ["slash"]),
        ("'; DROP TABLE mp_models; --", []),
        ("", ["churn_model", "churns", "pd", "slash"]),
    ],
)
def test_a_query_is_a_part_of_name_or_description(
    catalogue: SqlCatalogue, registered: Registered, query: str, found: list[str]
) -> None:
    for name, description in {"churn_model": "", "churns": "", "pd": "100% Größe", "slash": "a\\b/c"}.items():
        registered.model("risk", name, newest=1, description=description)
    assert names(catalogue, query=query) == [f"risk.{name}" for name in found]


def test_pages_of_models_join_to_the_list(catalogue: SqlCatalogue, registered: Registered) -> None:
    made = [(zone, f"m{number:02}") for zone in ("dev-alice", "dev-bob", "risk") for number in range(5)]
    for zone, name in reversed(made):
        ref = registered.model(zone, name, newest=1)
        registered.alias(ref, "champion", 1)
    for limit in (1, 4, 15, 100):
        seen, cursor = [], None
        while True:
            page = catalogue.models(None, ModelFilter(), limit=limit, cursor=cursor)
            seen += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
        assert [(model.zone, model.name) for model in seen] == made
        assert {model.aliases["champion"] for model in seen} == {1}
    with pytest.raises(InvalidError, match="cursor"):
        catalogue.models(None, ModelFilter(), cursor="nonsense")


# ---------------------------------------------------------------- versions


def test_a_version_is_found_by_number_by_alias_and_as_the_newest(catalogue: SqlCatalogue, churn: ModelRef) -> None:
    found = catalogue.version(VersionRef(churn, version=2))
    assert found is not None
    assert (found.full_name, found.version, found.format) == ("dev-alice.churn", 2, ArtifactFormat.SKOPS)
    assert found.card == ModelCard(owner="alice", tier=Tier.LOW, purpose="keeps customers, take 2")
    assert (found.card_sha256, found.card_revision) == (found.card.digest(), 1)
    assert found.files == (
        FileEntry(path="MLmodel", size=2, sha256=sha256(b"m2")),
        FileEntry(path="data/model.skops", size=7, sha256=sha256(b"weights")),
    )
    assert found.aliases == ("champion",)
    assert found.signature.inputs == ({"name": "a", "type": "double"},)
    assert (found.lineage.git_commit, found.behaviour) == ("abc", {"method": "predict"})
    assert catalogue.version(VersionRef(churn, alias="champion")) == found
    assert catalogue.version(VersionRef(churn)).version == 3  # type: ignore[union-attr]


@pytest.mark.parametrize("text", ["dev-alice.churn:4", "dev-alice.churn@none", "dev-alice.other", "risk.churn:1"])
def test_a_version_that_is_not_there_is_none(catalogue: SqlCatalogue, churn: ModelRef, text: str) -> None:
    assert catalogue.version(VersionRef.parse(text)) is None


def test_versions_are_listed_newest_first_with_their_newest_cards(
    catalogue: SqlCatalogue, churn: ModelRef, tell: Any
) -> None:
    revised = ModelCard(owner="bob", purpose="keeps the right customers")
    catalogue.revise_card(VersionRef(churn, 1), revised, 1, "bob", tell(EventType.CARD_REVISED))
    listed = catalogue.versions(churn).items
    assert [(version.version, version.aliases) for version in listed] == [
        (3, ("challenger",)),
        (2, ("champion",)),
        (1, ()),
    ]
    assert [(version.card.owner, version.card_revision) for version in listed] == [
        ("alice", 1),
        ("alice", 1),
        ("bob", 2),
    ]
    assert {version.files for version in listed} == {()}
    first = catalogue.versions(churn, limit=2)
    rest = catalogue.versions(churn, limit=2, cursor=first.next_cursor)
    assert [*first.items, *rest.items] == listed
    assert rest.next_cursor is None
    assert catalogue.versions(ModelRef("risk", "churn")).items == []
    with pytest.raises(InvalidError, match="cursor"):
        catalogue.versions(churn, cursor="nonsense")


# ---------------------------------------------------------------- cards


def test_a_card_is_revised_and_the_model_shows_it(
    catalogue: SqlCatalogue, churn: ModelRef, events: SqlEvents, clock: Any, tell: Any
) -> None:
    newest = VersionRef(churn, 3)
    clock.move(hours=1)
    card = ModelCard(owner="carol", tier=Tier.HIGH)
    made = catalogue.revise_card(newest, card, 1, "bob", tell(EventType.CARD_REVISED, revision=2))
    assert (made.revision, made.card, made.sha256, made.by, made.at) == (2, card, card.digest(), "bob", clock.now())
    revisions = catalogue.card_revisions(newest)
    assert [(revision.revision, revision.by) for revision in revisions] == [(2, "bob"), (1, "alice")]
    assert revisions[0] == made
    assert catalogue.version(newest).card == card  # type: ignore[union-attr]
    model = catalogue.model(churn)
    assert model is not None
    assert (model.owner, model.tier, model.updated_at) == ("carol", Tier.HIGH, clock.now())
    assert events.after(events.last_id() - 1, None)[0].data == {"revision": 2}


def test_the_card_of_an_older_version_does_not_change_what_the_model_shows(
    catalogue: SqlCatalogue, churn: ModelRef, tell: Any
) -> None:
    before = catalogue.model(churn)
    catalogue.revise_card(VersionRef(churn, 1), ModelCard(owner="carol"), 1, "bob", tell(EventType.CARD_REVISED))
    assert catalogue.model(churn) == before


@pytest.mark.parametrize("revision", [0, 2, 99])
def test_who_read_another_revision_is_told_and_changes_nothing(
    catalogue: SqlCatalogue, churn: ModelRef, events: SqlEvents, tell: Any, revision: int
) -> None:
    last = events.last_id()
    with pytest.raises(ChangedSinceReadError, match=r"dev-alice\.churn:3"):
        catalogue.revise_card(VersionRef(churn, 3), ModelCard(), revision, "bob", tell(EventType.CARD_REVISED))
    assert len(catalogue.card_revisions(VersionRef(churn, 3))) == 1
    assert events.last_id() == last


def test_the_card_of_no_version_is_not_revised(catalogue: SqlCatalogue, churn: ModelRef, tell: Any) -> None:
    with pytest.raises(VersionNotFoundError, match=r"dev-alice\.churn:9"):
        catalogue.revise_card(VersionRef(churn, 9), ModelCard(), 1, "bob", tell(EventType.CARD_REVISED))
    assert catalogue.card_revisions(VersionRef(churn, 9)) == []


def test_of_many_revisions_at_once_one_is_written(
    catalogue: SqlCatalogue, churn: ModelRef, events: SqlEvents, tell: Any
) -> None:
    last, ready, told = events.last_id(), threading.Barrier(6), []

    def revise(owner: str) -> None:
        ready.wait()
        try:
            catalogue.revise_card(VersionRef(churn, 3), ModelCard(owner=owner), 1, owner, tell(EventType.CARD_REVISED))
            told.append(owner)
        except ChangedSinceReadError:
            told.append("")

    threads = [threading.Thread(target=revise, args=(f"owner-{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (won,) = filter(None, told)
    assert len(told) == 6
    assert [revision.by for revision in catalogue.card_revisions(VersionRef(churn, 3))] == [won, "alice"]
    assert catalogue.model(churn).owner == won  # type: ignore[union-attr]
    assert events.last_id() == last + 1


# ---------------------------------------------------------------- lineage


def test_what_was_pending_is_completed_with_its_event_and_only_that(
    catalogue: SqlCatalogue, churn: ModelRef, database: Database, events: SqlEvents, tell: Any
) -> None:
    ref, pending = VersionRef(churn, 2), DataFingerprint(name="X", rows=3, columns=1, pending=True)
    with database.write() as connection:
        lineage = Lineage(git_commit="abc", data=(pending,)).model_dump(mode="json")
        connection.execute(sa.update(versions).where(versions.c.version == 2).values(lineage=lineage))
    done = pending.model_copy(update={"sha256": sha256(b"rows"), "pending": False})
    event, last = tell(EventType.LINEAGE_COMPLETED, version=2), events.last_id()
    for _ in range(2):  # the same again is no second event
        catalogue.complete_lineage(ref, LineageCompletion(data=(done,)), event)
    found = catalogue.version(ref)
    assert found is not None
    assert found.lineage == Lineage(git_commit="abc", data=(done,))
    assert [one.type for one in events.after(last, None)] == [EventType.LINEAGE_COMPLETED]
    other = done.model_copy(update={"sha256": sha256(b"others")})
    with pytest.raises(ConflictError, match="fingerprint of X"):
        catalogue.complete_lineage(ref, LineageCompletion(data=(other,)), event)
    with pytest.raises(VersionNotFoundError, match=r"dev-alice\.churn:9"):
        catalogue.complete_lineage(VersionRef(churn, 9), LineageCompletion(), event)
    assert catalogue.version(ref) == found
    assert events.last_id() == last + 1


# ---------------------------------------------------------------- bytes


def test_the_folder_of_a_version_lies_below_the_artifacts(
    catalogue: SqlCatalogue, churn: ModelRef, artifacts: Path, database: Database
) -> None:
    version = catalogue.version(VersionRef(churn, 2))
    assert version is not None
    folder = catalogue.directory(version)
    assert folder.is_relative_to(artifacts)
    assert (folder / "MLmodel").read_bytes() == b"m2"
    with database.write() as connection:
        connection.execute(sa.delete(versions).where(versions.c.version == 2))
    with pytest.raises(VersionNotFoundError, match=r"dev-alice\.churn:2"):
        catalogue.directory(version)


def test_bytes_are_found_by_digest_in_zones_that_may_be_read_alone(
    catalogue: SqlCatalogue, churn: ModelRef, registered: Registered
) -> None:
    secret = registered.model("risk", "pd")
    registered.version(secret, 1, ModelCard(), {"MLmodel": b"secret", "data/model.skops": b"weights"})
    wanted = [sha256(content) for content in (b"m1", b"weights", b"secret", b"unknown")] * 2
    found = catalogue.readable_digests(frozenset({"dev-alice", "dev-bob"}), wanted)
    assert {digest: path.read_bytes() for digest, path in found.items()} == {
        sha256(b"m1"): b"m1",
        sha256(b"weights"): b"weights",
    }
    assert "dev-alice" in str(found[sha256(b"weights")])
    assert set(catalogue.readable_digests(None, wanted)) == {sha256(b"m1"), sha256(b"weights"), sha256(b"secret")}
    assert catalogue.readable_digests(frozenset(), wanted) == {}
    assert catalogue.readable_digests(None, []) == {}


def test_bytes_that_have_gone_from_the_disk_are_not_offered(
    catalogue: SqlCatalogue, churn: ModelRef, artifacts: Path
) -> None:
    for path in artifacts.rglob("MLmodel"):
        path.unlink()
    assert catalogue.readable_digests(None, [sha256(b"m1")]) == {}


def test_many_digests_are_looked_up_at_once(catalogue: SqlCatalogue, registered: Registered) -> None:
    content = {f"part-{number}": b"%d" % number for number in range(1200)}
    ref = registered.model("risk", "large")
    registered.version(ref, 1, ModelCard(), content)
    assert len(catalogue.readable_digests(frozenset({"risk"}), [sha256(data) for data in content.values()])) == 1200
