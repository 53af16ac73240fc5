"""The page, the schema and OpenAPI tell the truth: what they show works."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jsonschema
import pytest
import yaml

ROW = {"island": "Biscoe", "bill": 45.0, "sex": "text", "year": 1}


@pytest.fixture
def calls(served: Any) -> Any:
    return served("mixed").calls


@pytest.fixture(scope="module")
def gateway(served: Any) -> Iterator[str]:
    """The endpoint on a port, with its prefix taken off, as behind the gateway; the address of the machine."""
    runner = served("mixed")

    class Forward(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            path = self.path.removeprefix("/dev-alice/churn") or "/"
            answer = runner.calls.post(path, content=body, headers=dict(self.headers))
            self.send_response(answer.status_code)
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Forward)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_schema_fits_its_example_and_refuses_what_the_endpoint_refuses(calls: Any) -> None:
    document = calls.get("/schema").json()
    rows, answers = document["example"]["request"], document["example"]["response"]
    assert rows == [ROW]
    assert calls.post("/", json=rows).json() == answers
    for part, value in ((document["input"], rows), (document["output"], answers)):
        jsonschema.Draft202012Validator.check_schema(part)
        jsonschema.validate(value, part)
    for wrong in (
        [],
        [{}],
        [ROW | {"bill": "1"}],
        [ROW | {"island": None}],
        [ROW | {"more": 1}],
        [ROW | {"year": 1.5}],
    ):
        assert not jsonschema.Draft202012Validator(document["input"]).is_valid(wrong)
        assert calls.post("/", json=wrong).status_code == 422
    for right in ([ROW | {"bill": None}], [{"island": "x", "year": 2.0}]):
        jsonschema.validate(right, document["input"])
        assert calls.post("/", json=right).status_code == 200
    assert document["limits"] == {"body_bytes": 16777216, "rows": 10000, "seconds": 30, "concurrent": 1024}
    assert document["input"]["items"]["properties"]["bill"]["description"] == "In training: 30 to 60."


def test_openapi_names_every_path_and_resolves(calls: Any) -> None:
    document = calls.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    assert document["servers"] == [{"url": "http://127.0.0.1:8800/dev-alice/churn"}]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            answer = calls.request(method, path, **({"json": None} if method == "post" else {}))
            assert str(answer.status_code) in operation["responses"], (method, path)
    names = [operation["operationId"] for operations in document["paths"].values() for operation in operations.values()]
    assert len(names) == len(set(names)) == 17
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    references = set(re.findall(r'"\$ref":"#/components/schemas/(\w+)"', calls.get("/openapi.json").text))
    assert references <= set(document["components"]["schemas"])
    plain = document["paths"]["/"]["post"]["requestBody"]["content"]["application/json"]
    jsonschema.validate(plain["example"], {**plain["schema"], "components": document["components"]})


@pytest.mark.parametrize(
    ("path", "name", "body"),
    [
        ("/v1/models/churn:predict", "Instances", {"instances": [ROW]}),
        ("/invocations", "Invocations", {"dataframe_split": {"columns": list(ROW), "data": [list(ROW.values())]}}),
        (
            "/v2/models/churn/infer",
            "InferenceRequest",
            {"inputs": [{"name": k, "shape": [1], "datatype": "BYTES", "data": [v]} for k, v in ROW.items()]},
        ),
    ],
)
def test_openapi_describes_the_other_protocols(calls: Any, path: str, name: str, body: Any) -> None:
    document = calls.get("/openapi.json").json()
    operation = document["paths"][path]["post"]
    assert operation["requestBody"]["content"]["application/json"]["schema"] == {"$ref": f"#/components/schemas/{name}"}
    jsonschema.validate(body, {"$ref": f"#/components/schemas/{name}", "components": document["components"]})
    answer = calls.post(path, json=body)
    assert answer.status_code == 200
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(answer.json(), {**schema, "components": document["components"]})


@pytest.mark.parametrize("language", ["curl", "python"])
def test_the_calls_that_are_shown_work(calls: Any, gateway: str, language: str) -> None:
    document = calls.get("/schema").json()
    text = document["snippets"][language].replace("http://127.0.0.1:8800", gateway)
    command = ["sh", "-c", f"{text} --silent --show-error"] if language == "curl" else [sys.executable, "-c", text]
    environment = {**os.environ, "ENDPOINT_TOKEN": "token", "no_proxy": "*"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert json.loads(result.stdout.replace("'", '"')) == document["example"]["response"]


class Page(HTMLParser):
    """Collects what a browser would load or run, and which elements are left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.headings: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        attributes = dict(attrs)
        if tag == "script" or "src" in attributes or (tag == "link" and "href" in attributes):
            self.loads.append(tag)
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append(data)


def test_the_page_is_whole_and_loads_nothing(calls: Any) -> None:
    answer = calls.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    page = Page(answer.text)
    assert (page.open, page.loads) == ([], [])
    headings = [
        "churn",
        "Fields",
        "Answer",
        "Example",
        "Call it",
        "Errors",
        "Limits",
        "Other protocols",
        "For programs",
    ]
    assert page.headings == headings
    for shown in ("Biscoe, Dream, Torgersen", "30 to 60", "may be null", "whole number", "curl ", "16 MiB"):
        assert shown in answer.text


def test_a_page_escapes_what_a_model_brings(launch: Any, models: Any, tmp_path: Any) -> None:
    directory = shutil.copytree(models["doubling"].directory, tmp_path / "model")
    document = yaml.safe_load((directory / "MLmodel").read_text())
    name = "<script>alert('a')</script>"
    document["signature"]["inputs"] = json.dumps([{"type": "string", "name": name, "required": True}])
    document["metadata"]["model_platform"] |= {"inputs": {name: {"values": ["</pre><b>", "it's"]}}, "example": None}
    (directory / "MLmodel").write_text(yaml.safe_dump(document))
    runner = launch(directory)
    runner.wait_for_event("ready")
    answer = runner.calls.get("/")
    page = Page(answer.text)
    assert (page.open, page.loads) == ([], [])
    assert "<b>" not in answer.text
    snippet = runner.calls.get("/schema").json()["snippets"]["curl"]
    body = snippet[snippet.index("-d ") + 3 : snippet.rindex(" \\\n")]
    shown = subprocess.run(["sh", "-c", f"printf %s {body}"], capture_output=True, text=True, check=True).stdout
    assert json.loads(shown) == [{name: "</pre><b>"}]


@pytest.mark.parametrize("kind", ["texts", "images", "arrays", "days"])
def test_documents_of_other_kinds_of_rows(described: Any, kind: str) -> None:
    """What the schema shows is taken, in every protocol that the page names; the page says what a row is."""
    calls, row, said = described(kind)
    document = calls.get("/schema").json()
    assert document["example"]["request"] == [row]
    jsonschema.validate([row], document["input"])
    answer = calls.post("/", json=[row])
    assert answer.status_code == 200, answer.text
    jsonschema.validate(answer.json(), document["output"])
    assert calls.post("/v1/models/churn:predict", json={"instances": [row]}).status_code == 200
    assert calls.post("/invocations", json={"instances": [row]}).status_code == 200
    tensors = calls.get("/v2/models/churn").json()["inputs"]
    values = row if isinstance(row, dict) else {tensors[0]["name"]: row}
    inputs = [each | {"shape": [1, *each["shape"][1:]], "data": [values[each["name"]]]} for each in tensors]
    assert calls.post("/v2/models/churn/infer", json={"inputs": inputs}).status_code == 200
    text = re.sub(r"<[^>]+>", " ", calls.get("/").text)
    for part in said:
        assert part in text
    jsonschema.Draft202012Validator.check_schema(calls.get("/openapi.json").json()["components"]["schemas"]["Row"])


def test_how_a_call_learns_what_took_how_long_is_described(calls: Any) -> None:
    operation = calls.get("/openapi.json").json()["paths"]["/"]["post"]
    (asked,) = operation["parameters"]
    answer = calls.post("/", json=[ROW], headers={asked["name"]: asked["example"]})
    (told,) = operation["responses"]["200"]["headers"]
    pattern = r"\w+;dur=[\d.]+(, \w+;dur=[\d.]+)*"
    example = operation["responses"]["200"]["headers"][told]["example"]
    assert re.fullmatch(pattern, answer.headers[told])
    assert re.findall(r"\w+(?=;)", answer.headers[told]) == re.findall(r"\w+(?=;)", example)
    assert asked["name"] in calls.get("/").text
