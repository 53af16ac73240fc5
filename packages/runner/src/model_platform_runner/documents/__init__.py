"""What an endpoint says about itself: a page, a schema, OpenAPI, V2 metadata. Made once, at the start.

The documents describe the interface and hold no rows, so they are open to whoever reaches the gateway, also where
calls need a token: a page that a browser cannot open would help nobody.
"""

from model_platform_runner.documents.describe import Interface
from model_platform_runner.documents.openapi import openapi
from model_platform_runner.documents.page import page
from model_platform_runner.documents.schema import schema
from model_platform_runner.http import Response, json_response

_PAGE_HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"cache-control", b"no-cache"),
]


def documents(interface: Interface) -> dict[str, Response]:
    """Return the documents by path; V2's metadata stand under ``/v2/models``."""
    config = interface.config
    metadata = {
        "name": config.endpoint,
        "versions": [config.version],
        "platform": interface.flavor,
        "inputs": interface.input_tensors,
        "outputs": interface.output_tensors,
    }
    html = Response(page(interface).encode(), content_type=b"text/html; charset=utf-8", headers=list(_PAGE_HEADERS))
    return {
        "/": html,
        "/schema": json_response(schema(interface)),
        "/openapi.json": json_response(openapi(interface)),
        "/v2/models": json_response(metadata),
    }
