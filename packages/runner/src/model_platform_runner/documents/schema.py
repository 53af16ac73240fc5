"""The ``/schema`` document: JSON Schema of input and output, an example, limits, a working call in four languages."""

from typing import Any

from model_platform_runner.documents.describe import Interface
from model_platform_runner.documents.snippets import snippets

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(interface: Interface) -> dict[str, Any]:
    """Return the document."""
    config = interface.config
    rows = {"$schema": _DIALECT, "type": "array", "items": interface.row_schema}
    return {
        "endpoint": config.endpoint,
        "url": config.url,
        "model": config.model,
        "version": config.version,
        "access": config.access,
        "input": {**rows, "minItems": 1, "maxItems": config.limits.rows},
        "output": {"$schema": _DIALECT, "type": "array", "items": interface.answer_schema},
        "example": {"request": interface.example, "response": interface.answer},
        "limits": {
            "body_bytes": config.limits.body_bytes,
            "rows": config.limits.rows,
            "seconds": config.limits.seconds,
            "concurrent": config.limits.concurrent,
        },
        "snippets": snippets(config.url, interface.example, token=config.access == "token"),
    }
