"""One tree of errors with stable codes.

Every error says in one or two sentences what is wrong, which value, and what to do; `hint` holds the line to type or
change, `fields` what is wrong per field. Nothing here knows HTTP or a notebook: faces translate by code and family.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class FieldProblem(BaseModel):
    """What is wrong with one field: its name, what it means or why it is refused, and what to add or change."""

    model_config = ConfigDict(frozen=True)

    field: str
    problem: str
    add: str | None = None


_BY_CODE: dict[str, type[ModelPlatformError]] = {}


class ModelPlatformError(Exception):
    """Root of all errors of the platform.

    Parameters
    ----------
    message
        One or two sentences for a person: what is wrong, which value, what to do. Never row data or a secret.
    hint
        The line to type or change, where there is one.
    fields
        All that is wrong at once, by field.
    """

    code: ClassVar[str] = "internal_error"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Register the class by its code, so that a client can rebuild it from an answer."""
        super().__init_subclass__(**kwargs)
        if "code" in cls.__dict__:
            _BY_CODE[cls.code] = cls

    def __init__(self, message: str, *, hint: str | None = None, fields: Sequence[FieldProblem] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.fields = tuple(fields)

    def __str__(self) -> str:
        return self.message


def error_from_code(
    code: str, message: str, *, hint: str | None = None, fields: Sequence[FieldProblem] = ()
) -> ModelPlatformError:
    """Rebuild the error that another process reported; an unknown code gives the family's class, or the root."""
    family = next((cls for prefix, cls in _FAMILIES.items() if code.startswith(prefix)), ModelPlatformError)
    if code.endswith("_not_found"):
        family = NotFoundError
    error = _BY_CODE.get(code, family)(message, hint=hint, fields=fields)
    error.code = code  # type: ignore[misc]  # a newer server may know codes that this client does not
    return error


def all_codes() -> list[str]:
    """Every stable code, sorted: for documentation and for the tables of the faces."""
    return sorted(_BY_CODE)


class InvalidError(ModelPlatformError):
    """The request itself is wrong."""

    code = "invalid_request"


class InvalidReferenceError(InvalidError):
    code = "invalid_reference"


class InvalidNameError(InvalidError):
    code = "invalid_name"


class InvalidCardError(InvalidError):
    code = "invalid_card"


class InvalidInputError(InvalidError):
    code = "invalid_input"


class InvalidSpecError(InvalidError):
    code = "invalid_spec"


class InvalidModelError(InvalidError):
    """What was given cannot be published: no answering method, no MLmodel, an unreadable file."""

    code = "invalid_model"


class InvalidUploadError(InvalidError):
    code = "invalid_upload"


class UnauthenticatedError(ModelPlatformError):
    code = "unauthenticated"


class ForbiddenError(ModelPlatformError):
    code = "forbidden"


class NotFoundError(ModelPlatformError):
    """Not there, or nothing that the actor may know of."""

    code = "not_found"


class ModelNotFoundError(NotFoundError):
    code = "model_not_found"


class VersionNotFoundError(NotFoundError):
    code = "version_not_found"


class AliasNotFoundError(NotFoundError):
    code = "alias_not_found"


class ZoneNotFoundError(NotFoundError):
    code = "zone_not_found"


class EndpointNotFoundError(NotFoundError):
    code = "endpoint_not_found"


class UploadNotFoundError(NotFoundError):
    code = "upload_not_found"


class TokenNotFoundError(NotFoundError):
    code = "token_not_found"


class ConflictError(ModelPlatformError):
    code = "conflict"


class EndpointBusyError(ConflictError):
    code = "conflict_endpoint_busy"


class ChangedSinceReadError(ConflictError):
    code = "conflict_changed_since_read"


class NameTakenError(ConflictError):
    code = "conflict_name_taken"


class NearNameError(ConflictError):
    """A new name is so close to a known one that it may be a slip."""

    code = "conflict_near_name"


class InUseError(ConflictError):
    code = "conflict_in_use"


class RefusedError(ModelPlatformError):
    """The gate: the request is well formed and may not be done."""

    code = "refused_policy"


class CardIncompleteError(RefusedError):
    code = "refused_card_incomplete"


class FormatRefusedError(RefusedError):
    code = "refused_format"


class BreakingChangeError(RefusedError):
    code = "refused_breaking_change"


class ExceedsError(ModelPlatformError):
    code = "exceeds_size"


class ExceedsQuotaError(ExceedsError):
    code = "exceeds_quota"


class UnsupportedByTargetError(ModelPlatformError):
    code = "unsupported_by_target"


class UnavailableError(ModelPlatformError):
    """Something that the platform needs does not answer or has no room; the message says what still works."""

    code = "unavailable"


class ServerUnavailableError(UnavailableError):
    code = "unavailable_server"


class RegistryUnavailableError(UnavailableError):
    code = "unavailable_registry"


class TargetUnavailableError(UnavailableError):
    code = "unavailable_target"


class DatabaseUnavailableError(UnavailableError):
    code = "unavailable_database"


class StorageUnavailableError(UnavailableError):
    code = "unavailable_storage"


class FailedError(ModelPlatformError):
    """A deployment did not come up; stands in an endpoint's status."""

    code = "failed"


class EnvironmentFailedError(FailedError):
    code = "failed_environment"


class ImportFailedError(FailedError):
    code = "failed_import"


class StartFailedError(FailedError):
    code = "failed_start"


class OutOfMemoryFailedError(FailedError):
    code = "failed_out_of_memory"


class ReadinessFailedError(FailedError):
    code = "failed_readiness"


class ParityFailedError(FailedError):
    code = "failed_parity"


class CrashLoopFailedError(FailedError):
    code = "failed_crash_loop"


class IntegrityFailedError(FailedError):
    """The bytes of a version are not those that were published."""

    code = "failed_integrity"


_FAMILIES: dict[str, type[ModelPlatformError]] = {
    "invalid": InvalidError,
    "conflict": ConflictError,
    "refused": RefusedError,
    "exceeds": ExceedsError,
    "unavailable": UnavailableError,
    "failed": FailedError,
}
