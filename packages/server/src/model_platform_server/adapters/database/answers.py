"""What requests with an idempotency key have made."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from model_platform_core.errors import ConflictError
from model_platform_server.adapters.database.engine import Database
from model_platform_server.adapters.database.tables import answers
from model_platform_server.ports import Clock

KEPT = dt.timedelta(days=1)


class SqlAnswers:
    """The Answers in SQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def get(self, actor: str, key: str) -> tuple[str, str] | None:
        """Digest of the request and the subject that it made."""
        query = sa.select(answers.c.request_sha256, answers.c.subject).where(
            answers.c.actor == actor, answers.c.key == key, answers.c.at > self._clock.now() - KEPT
        )
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return (row.request_sha256, row.subject) if row else None


def remember(
    connection: sa.Connection, actor: str, key: str, request_sha256: str, subject: str, now: dt.datetime
) -> None:
    """Note what a request makes, in the transaction that makes it; what is older than a day is forgotten.

    Raises
    ------
    ConflictError
        If something is noted under its key: the same request, come twice at once. Nothing must be made of this one.
    """
    connection.execute(sa.delete(answers).where(answers.c.at <= now - KEPT))
    try:
        with connection.begin_nested():
            connection.execute(
                sa.insert(answers).values(actor=actor, key=key, request_sha256=request_sha256, subject=subject, at=now)
            )
    except IntegrityError:
        raise ConflictError(f"The request with the key {key} was answered already.") from None
