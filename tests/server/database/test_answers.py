from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from model_platform_server.adapters.database.answers import SqlAnswers
from model_platform_server.adapters.database.engine import Database
from model_platform_server.adapters.database.tables import answers as table


def test_an_answer_is_kept_for_who_asked(answers: SqlAnswers) -> None:
    answers.put("alice", "key", "sha256:a", "dev-alice.churn:3")
    assert answers.get("alice", "key") == ("sha256:a", "dev-alice.churn:3")
    assert answers.get("bob", "key") is None
    assert answers.get("alice", "other") is None


def test_the_first_answer_stands(answers: SqlAnswers) -> None:
    answers.put("alice", "key", "sha256:a", "dev-alice.churn:3")
    answers.put("alice", "key", "sha256:b", "dev-alice.churn:4")
    assert answers.get("alice", "key") == ("sha256:a", "dev-alice.churn:3")


def test_an_answer_is_forgotten_after_a_day(answers: SqlAnswers, clock: Any, database: Database) -> None:
    answers.put("alice", "old", "sha256:a", "dev-alice.churn:3")
    clock.move(hours=23)
    answers.put("alice", "young", "sha256:a", "dev-alice.churn:4")
    clock.move(hours=1)
    assert answers.get("alice", "old") is None
    assert answers.get("alice", "young") is not None
    answers.put("alice", "old", "sha256:b", "dev-alice.churn:5")
    assert answers.get("alice", "old") == ("sha256:b", "dev-alice.churn:5")
    with database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() == 2
