from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from model_platform_core.errors import ConflictError
from model_platform_server.adapters.database.answers import SqlAnswers, remember
from model_platform_server.adapters.database.engine import Database
from model_platform_server.adapters.database.tables import answers as table

Note = Callable[[str, str, int], None]


@pytest.fixture
def note(database: Database, clock: Any) -> Note:
    """Remembers which version a request of Alice's made."""

    def remembers(key: str, request_sha256: str, version: int) -> None:
        with database.write() as connection:
            remember(connection, "alice", key, request_sha256, f"dev-alice.churn:{version}", clock.now())

    return remembers


def test_an_answer_is_kept_for_who_asked(answers: SqlAnswers, note: Note) -> None:
    note("key", "sha256:a", 3)
    assert answers.get("alice", "key") == ("sha256:a", "dev-alice.churn:3")
    assert answers.get("bob", "key") is None
    assert answers.get("alice", "other") is None


def test_the_first_answer_stands_and_the_second_request_is_told(answers: SqlAnswers, note: Note) -> None:
    note("key", "sha256:a", 3)
    with pytest.raises(ConflictError):
        note("key", "sha256:b", 4)
    assert answers.get("alice", "key") == ("sha256:a", "dev-alice.churn:3")


def test_an_answer_is_forgotten_after_a_day(answers: SqlAnswers, note: Note, clock: Any, database: Database) -> None:
    note("old", "sha256:a", 3)
    clock.move(hours=23)
    note("young", "sha256:a", 4)
    clock.move(hours=1)
    assert answers.get("alice", "old") is None
    assert answers.get("alice", "young") is not None
    note("old", "sha256:b", 5)
    assert answers.get("alice", "old") == ("sha256:b", "dev-alice.churn:5")
    with database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() == 2
