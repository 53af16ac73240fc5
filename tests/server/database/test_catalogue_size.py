"""Every question to the catalogue is answered by index with 100,000 versions: the database's own plan says so."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from model_platform_core.refs import ModelRef, VersionRef
from model_platform_server.adapters.database.catalogue import SqlCatalogue
from model_platform_server.adapters.database.engine import Database
from model_platform_server.adapters.database.event_store import SqlEvents
from model_platform_server.adapters.database.paging import cursor_of
from model_platform_server.ports import ModelFilter

# One model with half of all versions, many models with a few. One file is the same in all of them.
LARGE, MODELS, EACH = 50_000, 5_000, 10
TOTAL = LARGE + MODELS * EACH

_SAME, _OWN = "sha256:" + "f" * 64, "sha256:" + "a" * 54
_AT = "'2025-03-01 12:00:00.000000'"
_MODEL = f"(i - {LARGE}) / {EACH}"
_VERSION = (
    f"CASE WHEN i < {LARGE} THEN 'zone-0' ELSE 'zone-' || ({_MODEL} % 50) END AS zone, "
    f"CASE WHEN i < {LARGE} THEN 'large' ELSE 'model-' || ({_MODEL}) END AS name, "
    f"CASE WHEN i < {LARGE} THEN i + 1 ELSE (i - {LARGE}) % {EACH} + 1 END AS version"
)
_FILL = [
    (50, "mp_zones (name, spec, created_at)", f"'zone-' || i, '{{}}', {_AT}"),
    (
        MODELS,
        "mp_models (zone, name, description, tags, newest_version, tier, owner, created_by, created_at, updated_at)",
        f"'zone-' || (i % 50), 'model-' || i, 'about ' || i, '{{}}', {EACH}, i % 4, 'owner-' || (i % 100), 'a', {_AT}, {_AT}",
    ),
    (
        1,
        "mp_models (zone, name, description, tags, newest_version, tier, owner, created_by, created_at, updated_at)",
        f"'zone-0', 'large', 'about much', '{{}}', {LARGE}, 1, 'owner-1', 'a', {_AT}, {_AT}",
    ),
    (MODELS, "mp_aliases (zone, name, alias, version)", "'zone-' || (i % 50), 'model-' || i, 'champion', 3"),
    (
        TOTAL,
        "mp_versions (zone, name, version, artifact_sha256, location, size, format, signature, behaviour, lineage, description, tags, published_by, published_at)",
        f"{_VERSION}, '{_SAME}', 'mlflow-artifacts:/1/models/m-' || i, 1000, 'skops', '{{}}', '{{}}', '{{}}', '', '{{}}', 'alice', {_AT}",
    ),
    (
        TOTAL,
        "mp_files (zone, name, version, path, size, sha256)",
        f"{_VERSION}, 'MLmodel', 10, '{_OWN}' || (1000000000 + i)",
    ),
    (TOTAL, "mp_files (zone, name, version, path, size, sha256)", f"{_VERSION}, 'requirements.txt', 10, '{_SAME}'"),
    (
        TOTAL,
        'mp_cards (zone, name, version, revision, content, sha256, "by", at)',
        f"{_VERSION}, 1, '{{\"owner\": \"alice\"}}', '{_SAME}', 'alice', {_AT}",
    ),
    (
        TOTAL,
        "mp_events (id, at, type, schema_version, actor, zone, subject, data)",
        f"i + 1, {_AT}, 'version_registered', 1, 'alice', 'zone-' || (i % 50), 's', '{{}}'",
    ),
]

Question = Callable[[SqlCatalogue, SqlEvents], Any]
_FEW = frozenset({"zone-0", "zone-7", "zone-9"})
_LARGE = ModelRef("zone-0", "large")

QUESTIONS: dict[str, Question] = {
    "models": lambda catalogue, _: catalogue.models(None, ModelFilter()),
    "models of zones": lambda catalogue, _: catalogue.models(_FEW, ModelFilter()),
    "models from the middle": lambda catalogue, _: catalogue.models(
        None, ModelFilter(), cursor=cursor_of(("zone-3", "model-3"))
    ),
    "models by a part of the name": lambda catalogue, _: catalogue.models(None, ModelFilter(query="EL-4711")),
    "models by owner and tier": lambda catalogue, _: catalogue.models(None, ModelFilter(owner="owner-7", tier=3)),
    "a model": lambda catalogue, _: catalogue.model(_LARGE),
    "versions of the large model": lambda catalogue, _: catalogue.versions(_LARGE),
    "its versions from the middle": lambda catalogue, _: catalogue.versions(_LARGE, cursor=cursor_of((25_000,))),
    "versions of a small model": lambda catalogue, _: catalogue.versions(ModelRef("zone-7", "model-7")),
    "its newest version": lambda catalogue, _: catalogue.version(VersionRef(_LARGE)),
    "a version by number": lambda catalogue, _: catalogue.version(VersionRef(_LARGE, 25_000)),
    "a version by alias": lambda catalogue, _: catalogue.version(
        VersionRef(ModelRef("zone-7", "model-7"), alias="champion")
    ),
    "its cards": lambda catalogue, _: catalogue.card_revisions(VersionRef(_LARGE, 25_000)),
    "a file that is everywhere": lambda catalogue, _: catalogue.readable_digests(None, [_SAME]),
    "a file of a zone": lambda catalogue, _: catalogue.readable_digests(
        frozenset({"zone-9"}), [_SAME, f"{_OWN}1000000001", *(f"{_OWN}{number:010}" for number in range(50))]
    ),
    "events from the middle": lambda _, events: events.after(50_000, None),
    "events of a zone": lambda _, events: events.after(50_000, frozenset({"zone-7"})),
    "the newest event": lambda _, events: events.last_id(),
}
_GROWING = ("mp_versions", "mp_files", "mp_cards", "mp_events")


@pytest.fixture
def large(database: Database, clock: Any, tmp_path: Path) -> tuple[SqlCatalogue, SqlEvents]:
    numbers = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < :count - 1)"
    with database.write() as connection:
        for count, columns, values in _FILL:  # by the database itself: rows would take minutes to send
            connection.execute(sa.text(f"INSERT INTO {columns} {numbers} SELECT {values} FROM n"), {"count": count})
    with database.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql("ANALYZE")
    return SqlCatalogue(database, clock, tmp_path), SqlEvents(database, clock)


def plan_of(connection: sa.Connection, statement: str, parameters: Any) -> list[str]:
    """What the database does for a statement, one line for each step."""
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return [row.detail for row in rows]
    return list(connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars())


def reads_all_of(step: str, table: str) -> bool:
    """Whether a step of a plan reads a table from end to end, or an index of it."""
    in_sqlite = step.startswith(("SCAN ", "SCAN TABLE ")) and table in step
    return in_sqlite or f"Seq Scan on {table}" in step


def test_every_question_is_answered_by_index(
    database: Database, large: tuple[SqlCatalogue, SqlEvents], record_property: Callable[[str, object], None]
) -> None:
    asked: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        asked.append((statement, parameters))

    sa.event.listen(database.engine, "before_cursor_execute", note)
    slow = []
    for words, question in QUESTIONS.items():
        asked.clear()
        question(*large)
        statements = [one for one in asked if one[0].startswith(("SELECT", "WITH"))]
        assert 1 <= len(statements) <= 3, words
        began = time.perf_counter()
        answer = question(*large)
        milliseconds = (time.perf_counter() - began) * 1000
        record_property(words, milliseconds)
        print(f"{database.engine.dialect.name:>10}  {words:<30} {milliseconds:7.2f} ms")
        assert answer is not None
        with database.read() as connection:
            for statement, parameters in statements:
                plan = plan_of(connection, statement, parameters)
                slow += [f"{words}: {step}" for step in plan for table in _GROWING if reads_all_of(step, table)]
    assert slow == []
    check_answers(*large)


def check_answers(catalogue: SqlCatalogue, events: SqlEvents) -> None:
    """That they are right at that size, too."""
    page = catalogue.versions(_LARGE, limit=3, cursor=cursor_of((25_000,)))
    assert [version.version for version in page.items] == [24_999, 24_998, 24_997]
    (found,) = catalogue.models(None, ModelFilter(query="EL-4711")).items
    assert (found.full_name, found.aliases) == ("zone-11.model-4711", {"champion": 3})
    newest = catalogue.version(VersionRef(_LARGE))
    assert newest is not None
    assert (newest.version, newest.card.owner, len(newest.files)) == (LARGE, "alice", 2)
    assert [event.id for event in events.after(TOTAL - 60, frozenset({"zone-7"}))] == [TOTAL - 42]
    seen, cursor = 0, None
    while True:
        models = catalogue.models(None, ModelFilter(), limit=700, cursor=cursor)
        seen += len(models.items)
        cursor = models.next_cursor
        if cursor is None:
            break
    assert seen == MODELS + 1
