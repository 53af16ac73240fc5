"""Errors as problem details (RFC 9457): the one place that knows which code is which status."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from model_platform_core.errors import FieldProblem, ModelPlatformError
from model_platform_core.wire import Problem

log = logging.getLogger(__name__)

_BY_CODE = {
    "invalid_card": 422,
    "invalid_model": 422,
    "invalid_spec": 422,
    "invalid_input": 422,
    "unauthenticated": 401,
    "forbidden": 403,
    "unsupported_by_target": 422,
    "conflict_changed_since_read": 412,
    "exceeds_size": 413,
    "exceeds_quota": 422,
}
_BY_FAMILY = {"invalid": 400, "conflict": 409, "refused": 422, "exceeds": 422, "unavailable": 503, "failed": 422}


def status_of(code: str) -> int:
    """The HTTP status of a stable code."""
    if code in _BY_CODE:
        return _BY_CODE[code]
    if code.endswith("not_found"):
        return 404
    return _BY_FAMILY.get(code.partition("_")[0], 500)


def problem_response(error: ModelPlatformError) -> JSONResponse:
    """The answer that tells the error."""
    status = status_of(error.code)
    problem = Problem(
        title=error.code.replace("_", " "),
        status=status,
        detail=error.message,
        code=error.code,
        hint=error.hint,
        fields=list(error.fields),
    )
    headers = {"Retry-After": "2"} if status == 503 else {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return JSONResponse(problem.model_dump(mode="json"), status, headers=headers, media_type="application/problem+json")


def _plain(status: int, code: str, detail: str, fields: list[FieldProblem]) -> JSONResponse:
    problem = Problem(title=code.replace("_", " "), status=status, detail=detail, code=code, fields=fields)
    return JSONResponse(problem.model_dump(mode="json"), status, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Make the application answer every error as a problem; none repeats what was sent."""

    @app.exception_handler(ModelPlatformError)
    def _ours(_request: Request, error: ModelPlatformError) -> JSONResponse:
        return problem_response(error)

    @app.exception_handler(RequestValidationError)
    def _validation(_request: Request, error: RequestValidationError) -> JSONResponse:
        fields = [
            FieldProblem(field=".".join(str(part) for part in found["loc"]), problem=found["msg"])
            for found in error.errors()
        ]
        names = ", ".join(field.field for field in fields)
        return _plain(422, "invalid_request", f"The request cannot be read: {names}.", fields)

    @app.exception_handler(HTTPException)
    def _http(_request: Request, error: HTTPException) -> JSONResponse:
        code = {404: "not_found", 405: "invalid_method"}.get(error.status_code, "invalid_request")
        response = _plain(error.status_code, code, str(error.detail), [])
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    def _bug(_request: Request, error: Exception) -> JSONResponse:
        log.error("internal error", exc_info=error)
        return _plain(500, "internal_error", "The server made a mistake; its log says more.", [])
