"""The OpenAPI 3.1 document of an endpoint, for client generators."""

from typing import Any

from model_platform_runner.documents.describe import Interface, Schema
from model_platform_runner.documents.errors import ERRORS

_TENSOR_IN = {
    "type": "object",
    "required": ["name", "shape", "datatype", "data"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}},
        "datatype": {"type": "string", "description": "FP64, INT64, BOOL, BYTES, … (BYTES are strings)"},
        "data": {"type": "array", "items": {}},
        "parameters": {"type": "object"},
    },
}
_NAMED = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
_READY = {"type": "object", "properties": {"name": {"type": "string"}, "ready": {"type": "boolean"}}}
_TIMED = {
    "name": "X-Server-Timing",
    "in": "header",
    "required": False,
    "description": "With any value, the answer tells in Server-Timing what took how long.",
    "schema": {"type": "string"},
    "example": "1",
}
_TIMING = {
    "description": "Milliseconds of queue, check, model and encode, where the call asked for them.",
    "schema": {"type": "string"},
    "example": "queue;dur=0.031, check;dur=0.214, model;dur=0.262, encode;dur=0.030",
}
_PREDICTING = (400, 401, 403, 408, 413, 415, 422, 500, 503, 504)


def openapi(interface: Interface) -> dict[str, Any]:
    """Return the document."""
    config = interface.config
    return {
        "openapi": "3.1.0",
        "info": {
            "title": config.endpoint,
            "version": config.version,
            "description": f"{config.model}, version {config.version}. Rows in, answers out.",
        },
        "servers": [{"url": config.url}],
        "paths": _paths(interface),
        "components": {
            "schemas": _schemas(interface),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _paths(interface: Interface) -> dict[str, Any]:
    config = interface.config
    v1, v2 = f"/v1/models/{config.endpoint}", f"/v2/models/{config.endpoint}"
    paths: dict[str, Any] = {
        "/": {
            "get": _get("page", "A page for people", "text/html", {"type": "string"}),
            "post": _plain(interface),
        },
        "/schema": {"get": _get("schema", "JSON Schema of input and output, example, snippets")},
        "/openapi.json": {"get": _get("openapi", "This document")},
        "/invocations": {
            "post": _predict(
                interface, "invocations", "MLflow's scoring protocol", _ref("Invocations"), _ref("Predictions")
            )
        },
        "/ping": {"get": _get("ping", "Readiness, as MLflow asks", schema=_READY)},
        v1: {"get": _get("v1Model", "Readiness, as KServe V1 asks", schema=_READY)},
        f"{v1}:predict": {
            "post": _predict(interface, "v1Predict", "KServe V1", _ref("Instances"), _ref("Predictions")),
        },
        "/v2": {"get": _get("v2Server", "The server's name, version and extensions")},
        "/v2/health/live": {"get": _get("v2Live", "Life")},
        "/v2/health/ready": {"get": _get("v2Ready", "Readiness", schema=_READY)},
    }
    for path, suffix in ((v2, ""), (f"{v2}/versions/{config.version}", "Version")):
        title = "Open Inference Protocol" + (", this version alone" if suffix else "")
        paths[path] = {"get": _get(f"v2Model{suffix}", f"{title}: inputs and outputs")}
        paths[f"{path}/ready"] = {"get": _get(f"v2ModelReady{suffix}", f"{title}: readiness", schema=_READY)}
        paths[f"{path}/infer"] = {
            "post": _predict(interface, f"v2Infer{suffix}", title, _ref("InferenceRequest"), _ref("InferenceResponse"))
        }
    paths["/invocations"]["post"]["requestBody"]["content"]["text/csv"] = {"schema": {"type": "string"}}
    return paths


def _plain(interface: Interface) -> dict[str, Any]:
    rows, answers = {"anyOf": [_ref("Rows"), _ref("Row")]}, {"anyOf": [_ref("Answers"), _ref("Answer")]}
    operation = _predict(interface, "predict", "Records in, records out", rows, answers)
    operation["requestBody"]["content"]["application/json"]["example"] = interface.example
    if interface.answer is not None:
        operation["responses"]["200"]["content"]["application/json"]["example"] = interface.answer
    return operation


def _schemas(interface: Interface) -> dict[str, Schema]:
    rows = {"type": "array", "items": {"anyOf": [_ref("Row"), {"type": "array", "items": {}}]}}
    columns = {"type": "object", "additionalProperties": {"type": "array", "items": {}}}
    return {
        "Row": interface.row_schema,
        "Answer": interface.answer_schema,
        "Rows": {"type": "array", "items": _ref("Row"), "minItems": 1, "maxItems": interface.config.limits.rows},
        "Answers": {"type": "array", "items": _ref("Answer")},
        "Instances": _object(instances={"anyOf": [rows, {"type": "array", "items": {}}]}),
        "Predictions": _object(predictions={"type": "array", "items": {}}),
        "Invocations": {
            "anyOf": [
                _object(dataframe_split=_split()),
                _object(dataframe_records=rows),
                _object(instances={"anyOf": [rows, columns]}),
                _object(inputs={"anyOf": [rows, columns]}),
            ]
        },
        "InferenceRequest": {
            "type": "object",
            "required": ["inputs"],
            "properties": {
                "id": {"type": "string"},
                "parameters": {"type": "object"},
                "inputs": {"type": "array", "items": _TENSOR_IN, "minItems": 1},
                "outputs": {"type": "array", "items": _NAMED},
            },
        },
        "InferenceResponse": {
            "type": "object",
            "required": ["model_name", "model_version", "outputs"],
            "properties": {
                "id": {"type": "string"},
                "model_name": {"type": "string"},
                "model_version": {"type": "string"},
                "outputs": {"type": "array", "items": _TENSOR_IN},
            },
        },
        "Error": _error(),
    }


def _error() -> Schema:
    field = {"field": {"type": "string"}, "row": {"type": "integer"}, "problem": {"type": "string"}}
    return {
        "type": "object",
        "required": ["error", "code"],
        "properties": {
            "error": {"type": "string"},
            "code": {"type": "string"},
            "fields": {"type": "array", "items": {"type": "object", "required": ["problem"], "properties": field}},
        },
    }


def _split() -> Schema:
    names, rows = {"type": "array", "items": {}}, {"type": "array", "items": {"type": "array", "items": {}}}
    return {"type": "object", "required": ["data"], "properties": {"columns": names, "data": rows, "index": names}}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "required": list(properties), "properties": properties}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _get(name: str, summary: str, media: str = "application/json", schema: Schema | None = None) -> dict[str, Any]:
    responses = {"200": _content(summary, media, schema or {"type": "object"})}
    if schema is _READY:
        responses["503"] = _content("Not ready.", media, _READY)
    return {"operationId": name, "summary": summary, "responses": responses}


def _predict(interface: Interface, name: str, summary: str, body: Schema, answer: Schema) -> dict[str, Any]:
    told = {status: (code, text) for status, code, text in ERRORS}
    failures = {
        str(status): _content(f"{told[status][0]}: {told[status][1]}", "application/json", _ref("Error"))
        for status in _PREDICTING
    }
    operation = {
        "operationId": name,
        "summary": summary,
        "parameters": [_TIMED],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": {**_content("The answers.", "application/json", answer), "headers": {"Server-Timing": _TIMING}},
            **failures,
        },
    }
    return {**operation, "security": [{"token": []}]} if interface.config.access == "token" else operation


def _content(description: str, media: str, schema: Schema) -> dict[str, Any]:
    return {"description": description, "content": {media: {"schema": schema}}}
