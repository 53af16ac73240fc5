"""What does not fit is refused, in the right words, with the right status, and without repeating a value."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from model_platform_runner.protocols.inference import DATATYPES

SECRET = "secret-4711"
JSON = {"content-type": "application/json"}


@pytest.fixture
def calls(served: Any) -> Any:
    return served("mixed").calls


def row(**changes: Any) -> dict[str, Any]:
    return {"island": "Dream", "bill": 40.5, "sex": None, "year": 2008} | changes


@pytest.mark.parametrize(
    ("rows", "sentence", "fields"),
    [
        (
            [row(), row(bill=SECRET)],
            'Row 1, "bill" must be a number, not a string.',
            [{"field": "bill", "row": 1, "problem": "must be a number, not a string"}],
        ),
        (
            [row(island=None)],
            'Row 0, "island" must not be null.',
            [{"field": "island", "row": 0, "problem": "must not be null"}],
        ),
        (
            [row(year=2008.5)],
            'Row 0, "year" must be a whole number.',
            [{"field": "year", "row": 0, "problem": "must be a whole number"}],
        ),
        (
            [row(year=True)],
            'Row 0, "year" must be a whole number, not a boolean.',
            [{"field": "year", "row": 0, "problem": "must be a whole number, not a boolean"}],
        ),
        (
            [row(year=1e300)],
            f'Row 0, "year" must be between {-(2**63)} and {2**63 - 1}.',
            [{"field": "year", "row": 0, "problem": f"must be between {-(2**63)} and {2**63 - 1}"}],
        ),
        (
            [row(), {"island": "Dream"}],
            'Row 1, "year" is missing.',
            [{"field": "year", "row": 1, "problem": "is missing"}],
        ),
        (
            [row(beak=1, bil=SECRET, year="2008")],
            'Row 0, "beak" is not a column of this model (and 1 more).',
            [
                {"field": "beak", "row": 0, "problem": "is not a column of this model"},
                {"field": "bil", "row": 0, "problem": 'is not a column of this model, did you mean "bill"?'},
            ],
        ),
        (
            [row(bill=[SECRET], year={"a": SECRET}, island=7)],
            'Row 0, "island" must be a string, not a number (and 2 more).',
            [
                {"field": "island", "row": 0, "problem": "must be a string, not a number"},
                {"field": "bill", "row": 0, "problem": "must be a number, not a list"},
                {"field": "year", "row": 0, "problem": "must be a whole number, not an object"},
            ],
        ),
        ([row(), SECRET], "Row 1 must be an object with the columns island, bill, sex, year.", None),
        ([["Dream", 40.5]], "Row 0 has 2 values, not 4 (one for each of: island, bill, sex, year).", None),
        ([], "There are no rows.", None),
        (SECRET, "Row 0 must be an object with the columns island, bill, sex, year.", None),
    ],
)
def test_rows_that_do_not_fit(calls: Any, rows: Any, sentence: str, fields: Any) -> None:
    answer = calls.post("/", json=rows)
    assert answer.status_code == 422
    expected = {"error": sentence, "code": "invalid_input"}
    assert answer.json() == (expected if fields is None else expected | {"fields": fields})
    assert SECRET not in answer.text


def test_thousands_of_strange_columns_are_told_briefly(calls: Any) -> None:
    answer = calls.post("/", json=[{f"column {n} of row {m}": 1 for n in range(20)} for m in range(1000)])
    assert answer.status_code == 422
    assert len(answer.json()["fields"]) == 20


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[NaN]", b'[{"bill": Infinity}]', b'[{"bill": 1e999}]', b"\xff\xfe", b"[1] [2]", b"[" * 100_000],
)
def test_bodies_that_are_not_json(calls: Any, body: bytes) -> None:
    answer = calls.post("/", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_body")


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("/v1/models/churn:predict", [], "The body must be a JSON object."),
        ("/v1/models/churn:predict", {}, "The body must have 'instances', a list of rows."),
        ("/v1/models/churn:predict", {"instances": []}, "There are no rows."),
        (
            "/v1/models/churn:predict",
            {"instances": SECRET},
            "'instances' must be a list of rows, or an object with a list for each column.",
        ),
        ("/v2/models/churn/infer", {}, "'inputs' must be a list of tensors."),
        (
            "/v2/models/churn/infer",
            {"inputs": [{"name": "bill", "shape": [2], "datatype": "FP64", "data": [1]}]},
            "Input 0 has 1 values, but its shape says 2.",
        ),
        (
            "/v2/models/churn/infer",
            {"inputs": [{"name": "bill", "shape": [1], "datatype": "NUMBER", "data": [1]}]},
            f"The datatype of input 0 must be one of {', '.join(sorted(DATATYPES))}.",
        ),
        (
            "/v2/models/churn/infer",
            {"inputs": [{"name": "bill", "shape": [1], "datatype": "FP64", "data": SECRET}]},
            "The data of input 0 must be a list; binary data are not supported.",
        ),
        (
            "/v2/models/churn/infer",
            {"inputs": [{"name": "bil", "shape": [1], "datatype": "FP64", "data": [1]}] * 2},
            "Input 1 has the name of another.",
        ),
        (
            "/v2/models/churn/infer",
            {"inputs": [{"name": "bill", "shape": [1], "datatype": "FP64", "data": [1]}]},
            '"island" is missing (and 1 more).',
        ),
        (
            "/invocations",
            {},
            "The body must have exactly one of dataframe_split, dataframe_records, instances, inputs.",
        ),
        (
            "/invocations",
            {"dataframe_split": {"columns": ["bill"], "data": [[1, SECRET]]}},
            "Each row of 'data' must be a list with a value for each of 'columns'.",
        ),
        ("/invocations", {"instances": [row()], "params": {SECRET: 1}}, "This model takes no 'params'."),
        (
            "/invocations",
            {"inputs": {"island": ["Dream"], "year": [2008, 2009]}},
            "The columns have different lengths.",
        ),
    ],
)
def test_forms_of_the_other_protocols(calls: Any, path: str, body: Any, sentence: str) -> None:
    answer = calls.post(path, json=body)
    assert (answer.status_code, answer.json()["code"], answer.json()["error"]) == (422, "invalid_input", sentence)
    assert SECRET not in answer.text


def test_outputs_that_there_are_not(calls: Any) -> None:
    inputs = [{"name": "x", "shape": [1, 4], "datatype": "BYTES", "data": ["Dream", 1.0, None, 2008]}]
    body = {"inputs": inputs, "outputs": [{"name": "probability"}]}
    answer = calls.post("/v2/models/churn/infer", json=body)
    assert answer.json()["error"] == "There is no output 'probability'; there are: prediction."


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("island,year\nDream,2008\n", 200),
        ("island,year\nDream,two thousand\n", 422),
        ("island,year\nDream\n", 400),
        ('island,year\n"Dream,2008\n', 400),
        ("", 400),
        ("island,year\n", 422),
    ],
)
def test_csv(calls: Any, text: str, status: int) -> None:
    assert calls.post("/invocations", content=text, headers={"content-type": "text/csv"}).status_code == status


def test_arrays_of_the_wrong_shape_or_kind(served: Any) -> None:
    calls = served("array").calls
    sentences = {
        "The input must have the shape [-1, 3], not [1, 2].": [[1, 2]],
        "The input has rows of different lengths.": [[1, 2, 3], [1]],
        "The input must hold numbers, in rows of one length, without null.": [[1, 2, None]],
        "The input must have the shape [-1, 3], not [3].": [1, 2, 3],
    }
    answers = {sentence: calls.post("/", json=rows) for sentence, rows in sentences.items()}
    assert {sentence: answer.json()["error"] for sentence, answer in answers.items()} == {
        each: each for each in sentences
    }
    assert {answer.status_code for answer in answers.values()} == {422}
    assert calls.post("/", json=[[1, 2, SECRET]]).status_code == 422


# ---------------------------------------------------------------- HTTP


def test_paths_and_methods(calls: Any) -> None:
    assert calls.get("/nowhere").status_code == 404
    assert calls.get("/nowhere").json()["code"] == "path_not_found"
    for path in ("/v2/models/other/infer", "/v2/models/churn/versions/4/infer", "/v1/models/other:predict"):
        assert calls.post(path, json={}).status_code == 404
    refused = calls.delete("/")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")
    assert calls.get("/v2/models/churn/infer").headers["allow"] == "OPTIONS, POST"
    options = calls.options("/schema")
    assert (options.status_code, options.headers["allow"], options.content) == (204, "GET, HEAD, OPTIONS", b"")
    head, get = calls.head("/schema"), calls.get("/schema")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(get.content)))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": "text/csv"}, 415),
        ({"content-type": "application/json; charset=latin-1"}, 415),
        (JSON | {"content-encoding": "gzip"}, 415),
        ({"content-type": 'Application/JSON; charset="UTF-8"'}, 200),
        (JSON | {"origin": "https://evil.example"}, 403),
        (JSON | {"origin": "null"}, 403),
        (JSON | {"origin": "http://127.0.0.1:9999"}, 403),
        (JSON | {"origin": "https://127.0.0.1:8800"}, 403),
        (JSON | {"origin": "http://127.0.0.1:port"}, 403),
        (JSON | {"origin": "http://127.0.0.1:8800"}, 200),
        (JSON | {"origin": "http://localhost:8800"}, 200),
    ],
)
def test_content_types_and_origins(calls: Any, headers: dict[str, str], status: int) -> None:
    answer = calls.post("/", content=b'{"island": "Dream", "year": 2008}', headers=headers)
    assert answer.status_code == status
    assert status == 200 or answer.json()["code"] == {415: "invalid_content_type", 403: "forbidden_origin"}[status]


def test_request_ids(calls: Any) -> None:
    assert calls.get("/ping", headers={"x-request-id": "order.47_11-a"}).headers["x-request-id"] == "order.47_11-a"
    for strange in ("a b", "x" * 65, "<script>"):
        given = calls.get("/ping", headers={"x-request-id": strange}).headers["x-request-id"]
        assert given != strange
        assert len(given) == 16


# ---------------------------------------------------------------- limits


@pytest.fixture(scope="module")
def limited(launch: Any, models: Any) -> Any:
    limits = {"body_bytes": 2000, "rows": 3, "seconds": 1, "concurrent": 4}
    runner = launch(models["doubling"].directory, limits=limits)
    runner.wait_for_event("ready")
    return runner


def double(value: float = 1.0, seconds: float = 0.0, fail: bool = False) -> dict[str, Any]:
    return {"value": value, "seconds": seconds, "fail": fail}


def test_too_many_rows(limited: Any) -> None:
    assert limited.calls.post("/", json=[double()] * 3).status_code == 200
    answer = limited.calls.post("/", json=[double()] * 4)
    assert (answer.status_code, answer.json()["code"]) == (413, "exceeds_rows")


def test_bodies_that_are_too_large_announced_or_not(limited: Any) -> None:
    body = b" " * 1900 + b'{"value": 1, "seconds": 0, "fail": false}'
    assert limited.calls.post("/", content=body, headers=JSON).status_code == 200

    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 1000

    for content in (b" " * 2001, chunks()):
        answer = limited.calls.post("/", content=content, headers=JSON)
        assert (answer.status_code, answer.json()["code"]) == (413, "exceeds_body")
    assert limited.calls.post("/", json=[double()]).status_code == 200


def test_a_body_that_does_not_arrive(limited: Any) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(limited.config["socket"])
        head = b"POST / HTTP/1.1\r\nhost: churn\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n["
        connection.sendall(head)
        assert connection.recv(4096).startswith(b"HTTP/1.1 408 ")


def test_an_answer_that_takes_too_long(limited: Any) -> None:
    limited.calls.post("/", json=[double(seconds=1.5)])  # from a model that was quick so far this comes as a surprise
    answer = limited.calls.post("/", json=[double(seconds=1.5)])
    assert (answer.status_code, answer.json()["code"]) == (504, "exceeds_time")
    assert limited.control.get("/live").status_code == 200


def test_too_many_calls_at_once(limited: Any) -> None:
    deadline = time.monotonic() + 30
    while limited.calls.post("/", json=[double()]).status_code != 200:  # until the slow call of before is through
        assert time.monotonic() < deadline
    clients = [httpx.Client(transport=httpx.HTTPTransport(uds=limited.config["socket"])) for _ in range(5)]
    streams = [_started(limited.config["socket"]) for _ in range(4)]
    try:
        while limited.metric("mp_in_flight") < 4:
            assert time.monotonic() < deadline
        answer = clients[0].post("http://churn/", json=[double()])
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable_overload")
        assert answer.headers["retry-after"] == "1"
    finally:
        for stream in streams:
            stream.close()
        for client in clients:
            client.close()


def _started(path: str) -> socket.socket:
    """A call whose body is still to come."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    connection.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n")
    return connection
