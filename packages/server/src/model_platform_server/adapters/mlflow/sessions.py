"""MLflow's database sessions, governed: three nets, each catching what the one before lets through.

1. *Methods.* Every public method of the stores runs under an `Access`: with which right rows are looked at, and whether
   it may write at all (`methods.py`).
2. *Statements.* A statement that changes one of MLflow's tables outside of such a permit is refused, whatever way it came
   (unit of work, bulk, core): a method that nobody has looked at fails closed. Rows that are new must belong to a zone
   where the actor holds the right.
3. *Selects.* Every select, and every bulk update and delete, is narrowed to zones where the actor holds the right.

Sessions inside a session that writes share its transaction: MLflow opens several in one call, and so do we when several
calls are to be one change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import sqlalchemy as sa
from mlflow.store.db.base_sql_model import Base
from mlflow.store.db.utils import _get_managed_session_maker
from sqlalchemy import event
from sqlalchemy.orm import ORMExecuteState, Session, UOWTransaction

from model_platform_core.access import Actor, Scope
from model_platform_core.errors import ForbiddenError, ModelPlatformError
from model_platform_server.adapters.database.engine import Database
from model_platform_server.adapters.mlflow import visibility
from model_platform_server.adapters.mlflow.context import current_actor
from model_platform_server.adapters.mlflow.refusals import Refusal

SessionMaker = Callable[..., AbstractContextManager[Session]]

_TABLES = frozenset(Base.metadata.tables)


@dataclass(frozen=True)
class Access:
    """With which right rows are looked at, and whether they may be changed."""

    scope: Scope = Scope.MODELS_READ
    writes: bool = False


_READING = Access()
_access: ContextVar[Access] = ContextVar("mlflow_access", default=_READING)


@contextmanager
def accessing(access: Access) -> Iterator[None]:
    """Look at rows, and change them, as `access` says."""
    token = _access.set(access)
    try:
        yield
    finally:
        _access.reset(token)


def acting() -> Actor:
    """The actor; the refusal is one that MLflow's handlers know."""
    try:
        return current_actor()
    except ModelPlatformError as error:
        raise Refusal(error) from None


# ---------------------------------------------------------------- transactions


@dataclass(frozen=True)
class _Transaction:
    connection: sa.Connection
    writes: bool


_transaction: ContextVar[_Transaction | None] = ContextVar("mlflow_transaction", default=None)


@contextmanager
def _joined(engine: sa.Engine, *, writes: bool) -> Iterator[tuple[sa.Connection, bool]]:
    """The connection of the transaction that is open, or a new one; and whether it is a new one."""
    outer = _transaction.get()
    if outer is not None and (outer.writes or not writes):
        yield outer.connection, False
        return
    with engine.connect().execution_options(writes=writes) as connection:
        token = _transaction.set(_Transaction(connection, writes))
        try:
            yield connection, True
        finally:
            _transaction.reset(token)


@contextmanager
def one_transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Make everything that the stores write inside one transaction: all of it, or nothing."""
    with _joined(engine, writes=True) as (connection, new):
        if not new:
            yield connection
            return
        with connection.begin():
            yield connection


def session_maker(engine: sa.Engine, database_type: str) -> SessionMaker:
    """What MLflow's stores know as `ManagedSessionMaker`, over governed sessions."""

    @contextmanager
    def make(read_only: bool = True) -> Iterator[Session]:  # MLflow's own signature
        with _joined(engine, writes=not read_only) as (connection, new):
            governed = partial(
                GovernedSession,
                bind=connection,
                join_transaction_mode="conditional_savepoint" if new else "create_savepoint",
            )
            with _get_managed_session_maker(governed, database_type)(read_only=read_only) as session:
                yield session

    return make


@lru_cache(maxsize=8)
def governed_engine(url: str) -> sa.Engine:
    """One engine for both stores: with one there can be one transaction over both."""
    engine = Database(url).engine
    event.listen(engine, "before_execute", _refuse_without_permit)
    return engine


class GovernedSession(Session):
    """A session of MLflow's; the nets listen to this class."""


# ---------------------------------------------------------------- nets


def _refuse_without_permit(_connection: sa.Connection, clause: object, *_: object) -> None:
    if not isinstance(clause, sa.UpdateBase) or _access.get().writes:
        return
    table = clause.table
    if isinstance(table, sa.Table) and table.name in _TABLES:
        raise Refusal(ForbiddenError(f"This way of writing to {table.name} is not governed."))


@event.listens_for(GovernedSession, "do_orm_execute")
def _narrow(state: ORMExecuteState) -> None:
    if state.is_column_load or not (state.is_select or state.is_update or state.is_delete):
        return
    zones = acting().zones(_access.get().scope)
    if zones is None:
        return
    statement: Any = state.statement
    if state.bind_mapper is not None and state.bind_mapper.class_ in visibility.CLOSED:
        state.statement = statement.where(sa.false())
        return
    found = visibility.classes_in(statement)
    if found.plain_inside:
        raise Refusal(ForbiddenError("This way of reading is not governed."))
    for cls in found.plain:
        statement = statement.where(visibility.criterion(cls, zones, cls.__table__.c))  # type: ignore[attr-defined]
    state.statement = statement.options(*(visibility.loader_criterion(cls, zones) for cls in found.mapped))


@event.listens_for(GovernedSession, "after_flush")
def _refuse_strangers(session: Session, _context: UOWTransaction) -> None:
    """New rows belong to a zone where the actor holds the right that the method was called with."""
    zones = acting().zones(_access.get().scope)
    if zones is None:
        return
    new = [row for row in session.new if type(row) in visibility.ANCHORS]
    connection = session.connection()
    row = visibility.stranger_among(new, zones, lambda criterion: bool(connection.scalar(sa.select(criterion))))
    if row is not None:
        raise Refusal(ForbiddenError(f"{acting().name} may not write to {row.__tablename__} there."))
