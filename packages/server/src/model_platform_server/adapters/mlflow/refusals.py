"""The platform's errors in MLflow's words, and back.

No refusal is a 5xx or 429: MLflow's client would repeat the request.
"""

from __future__ import annotations

from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2 as codes
from sqlalchemy.exc import SQLAlchemyError

from model_platform_core.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    ModelPlatformError,
    NotFoundError,
    RegistryUnavailableError,
    UnauthenticatedError,
    UnavailableError,
)
from model_platform_server.adapters.database.failures import as_platform_error

# MlflowException wants the protobuf constant; a code given as text becomes INTERNAL_ERROR, 500.
_CODES: tuple[tuple[type[ModelPlatformError], Any], ...] = (
    (UnauthenticatedError, codes.UNAUTHENTICATED),
    (ForbiddenError, codes.PERMISSION_DENIED),
    (NotFoundError, codes.RESOURCE_DOES_NOT_EXIST),
    (ConflictError, codes.RESOURCE_CONFLICT),
    (UnavailableError, codes.TEMPORARILY_UNAVAILABLE),
)


class Refusal(MlflowException):  # type: ignore[misc]  # MLflow has no types
    """A refusal of the platform on its way through MLflow; `error` is what it was."""

    def __init__(self, error: ModelPlatformError, message: str | None = None) -> None:
        code = next((code for kind, code in _CODES if isinstance(error, kind)), codes.INVALID_PARAMETER_VALUE)
        super().__init__(message or error.message, error_code=code)
        self.error = error


def platform_error(error: MlflowException) -> ModelPlatformError:
    """What the platform's own faces say for an error that came through MLflow."""
    if isinstance(error, Refusal):
        return error.error
    if isinstance(error.__cause__, SQLAlchemyError) and (found := as_platform_error(error.__cause__)):
        return found
    kind = _KINDS.get(error.error_code)
    if kind is not None:
        return kind(str(error.message))
    return RegistryUnavailableError("The registry could not do that; nothing was changed. The server's log says more.")


_KINDS: dict[str, type[ModelPlatformError]] = {
    "RESOURCE_DOES_NOT_EXIST": NotFoundError,
    "PERMISSION_DENIED": ForbiddenError,
    "RESOURCE_ALREADY_EXISTS": ConflictError,
    "RESOURCE_CONFLICT": ConflictError,
    "INVALID_PARAMETER_VALUE": InvalidError,
    "INVALID_STATE": InvalidError,
    "BAD_REQUEST": InvalidError,
}
