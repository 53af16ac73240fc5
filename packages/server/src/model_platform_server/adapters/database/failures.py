"""What a database says when it cannot, in the platform's own errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from model_platform_core.errors import (
    DatabaseUnavailableError,
    InvalidError,
    ModelPlatformError,
    StorageUnavailableError,
)

_STILL_WORKS = "Endpoints that are live go on answering."

_FULL = (
    f"The disk that holds the platform's database is full, so nothing was written. {_STILL_WORKS} "
    "Free some space there and try again."
)
_NOT_WRITABLE = (
    f"The platform's database file cannot be read or written. {_STILL_WORKS} "
    "See to it that the disk is there and that the server's user may write to the file and its folder."
)
BUSY = (
    f"The platform's database was busy with other changes for too long; nothing was written. {_STILL_WORKS} Try again."
)
_DAMAGED = f"The platform's database file is damaged. {_STILL_WORKS} Restore it from a backup."
_UNREACHABLE = f"The platform's database does not answer. {_STILL_WORKS} Start it, or try again when it is back."
_NOT_KEPT = "A text or number is too long for its field, or a text holds a character that the database does not keep."

# By what SQLite calls the result, primary code first: https://sqlite.org/rescode.html
_SQLITE: tuple[tuple[str, type[ModelPlatformError], str], ...] = (
    ("SQLITE_FULL", StorageUnavailableError, _FULL),
    ("SQLITE_IOERR", StorageUnavailableError, _NOT_WRITABLE),
    ("SQLITE_READONLY", StorageUnavailableError, _NOT_WRITABLE),
    ("SQLITE_CANTOPEN", StorageUnavailableError, _NOT_WRITABLE),
    ("SQLITE_PERM", StorageUnavailableError, _NOT_WRITABLE),
    ("SQLITE_BUSY", DatabaseUnavailableError, BUSY),
    ("SQLITE_LOCKED", DatabaseUnavailableError, BUSY),
    ("SQLITE_CORRUPT", DatabaseUnavailableError, _DAMAGED),
    ("SQLITE_NOTADB", DatabaseUnavailableError, _DAMAGED),
)

# By SQLSTATE or its class: https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRESQL: tuple[tuple[str, type[ModelPlatformError], str], ...] = (
    ("53100", StorageUnavailableError, _FULL),
    ("58030", StorageUnavailableError, _NOT_WRITABLE),
    ("40", DatabaseUnavailableError, BUSY),
    ("55P03", DatabaseUnavailableError, BUSY),
    ("25006", DatabaseUnavailableError, _UNREACHABLE),
    ("08", DatabaseUnavailableError, _UNREACHABLE),
    ("28", DatabaseUnavailableError, _UNREACHABLE),
    ("3D", DatabaseUnavailableError, _UNREACHABLE),
    ("53", DatabaseUnavailableError, _UNREACHABLE),
    ("57", DatabaseUnavailableError, _UNREACHABLE),
)


def as_platform_error(error: sa.exc.SQLAlchemyError) -> ModelPlatformError | None:
    """The platform's error for what went wrong; None where the fault is our own."""
    if isinstance(error, PoolTimeoutError):
        return DatabaseUnavailableError(BUSY)
    if not isinstance(error, DBAPIError):
        return None
    state = getattr(error.orig, "sqlstate", None) or ""
    name = getattr(error.orig, "sqlite_errorname", None) or ""
    for prefix, kind, message in _SQLITE if name else _POSTGRESQL:
        if (name or state).startswith(prefix):
            return kind(message)
    if isinstance(error, DataError):
        return InvalidError(_NOT_KEPT)
    # libpq gives no SQLSTATE when there is no server to give one.
    lost = error.connection_invalidated or (isinstance(error, sa.exc.OperationalError) and not (name or state))
    return DatabaseUnavailableError(_UNREACHABLE) if lost else None


@contextmanager
def translated() -> Iterator[None]:
    """Raise the platform's errors instead of the database's; those that show a fault of our own pass as they are."""
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        found = as_platform_error(error)
        if found is None:
            raise
        raise found from error
    except (OverflowError, UnicodeEncodeError) as error:  # from the drivers, before they ask the database
        raise InvalidError(_NOT_KEPT) from error
