"""A call that arrives in one piece is answered at once: as it is when it arrives in parts, byte for byte."""

from __future__ import annotations

import fcntl
import json
import re
import socket
import sys
import termios
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PATHS = ("/", "/invocations", "/v1/models/churn:predict", "/v2/models/churn/infer", "/v2/models/churn/versions/3/infer")
VALUES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**63), 2**64 - 1),
    st.none(),
    st.booleans(),
    st.text(),
)
ROW = st.one_of(
    st.fixed_dictionaries({name: st.floats(-1e6, 1e6) for name in "abc"}),
    st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3),
    st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), VALUES),
    st.lists(VALUES, max_size=4),
    VALUES,
)
ROWS = st.lists(ROW, max_size=4)
BODY = st.one_of(
    ROWS,
    ROW,
    st.fixed_dictionaries({"instances": ROWS}),
    st.fixed_dictionaries({"dataframe_records": ROWS}),
    st.fixed_dictionaries({"inputs": st.one_of(ROWS, st.dictionaries(st.sampled_from("abc"), st.lists(VALUES)))}),
).map(lambda document: json.dumps(document).encode())
FLOAT_ROWS = st.lists(st.fixed_dictionaries({name: st.floats(-1e6, 1e6) for name in "abc"}), min_size=1, max_size=5)


def request(path: str, body: bytes, *, headers: Sequence[str] = (), version: str = "1.1") -> bytes:
    lines = [
        f"POST {path} HTTP/{version}",
        "host: churn",
        f"content-length: {len(body)}",
        "x-request-id: mine",
        *headers,
    ]
    if not any(line.startswith("content-type") for line in headers):
        lines.append("content-type: application/json")
    return "\r\n".join([*lines, "", ""]).encode() + body


class Line:
    """A connection on which bytes are sent as they are."""

    def __init__(self, runner: Any) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        self._socket.connect(runner.config["socket"])
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self._socket.sendall(part)
            deadline = time.monotonic() + 30
            while self._unread():  # so that the runner reads each part by itself
                assert time.monotonic() < deadline

    def _unread(self) -> int:
        """Bytes that the runner has not taken yet."""
        return int.from_bytes(fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(4)), sys.byteorder)

    def answer(self) -> tuple[bytes, list[bytes], bytes]:
        """Status line, headers without the date, body."""
        status, headers, length = self._file.readline(), [], 0
        while (line := self._file.readline()) not in (b"\r\n", b""):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
            if not line.startswith(b"date:"):
                headers.append(line)
        return status, sorted(headers), self._file.read(length)

    def has_ended(self) -> bool:
        return self._file.read(1) == b""


def both_ways(runner: Any, whole: bytes, cut: int) -> tuple[Any, Any]:
    with Line(runner) as line:
        line.send(whole)
        at_once = line.answer()
        line.send(whole[:cut], whole[cut:])
        return at_once, line.answer()


@pytest.fixture
def frame(served: Any) -> Any:
    return served("frame")


@SETTINGS
@given(path=st.sampled_from(PATHS), body=BODY, data=st.data())
def test_both_ways_answer_alike(frame: Any, path: str, body: bytes, data: st.DataObject) -> None:
    whole = request(path, body)
    at_once, in_parts = both_ways(frame, whole, data.draw(st.integers(1, len(whole) - 1), "cut"))
    assert at_once == in_parts
    assert at_once[0].split()[1] in (b"200", b"400", b"422")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["content-type: text/plain"], 415),
        (["content-type: application/json; charset=latin-1"], 415),
        (["content-encoding: gzip"], 415),
        (["origin: http://evil.example"], 403),
        (["origin: http://["], 403),
        (["origin: http://127.0.0.1:8800"], 200),
    ],
)
def test_both_ways_refuse_alike(frame: Any, headers: list[str], status: int) -> None:
    whole = request("/", b'[{"a": 1, "b": 2, "c": 3}]', headers=headers)
    at_once, in_parts = both_ways(frame, whole, len(whole) - 3)
    assert at_once == in_parts
    assert at_once[0].split()[1] == str(status).encode()


def test_tokens_are_asked_for_in_both_ways(launch: Any, models: Any, signer: Any) -> None:
    runner = launch(models["frame"].directory, access="token")
    runner.wait_for_event("ready")
    body = b'[{"a": 1, "b": 2, "c": 3}]'
    for token, status in ((signer.token(), b"200"), (signer.token(-1), b"401"), ("nonsense", b"401"), ("", b"401")):
        whole = request("/", body, headers=[f"authorization: Bearer {token}"])
        for _ in range(2):  # known and not yet known
            at_once, in_parts = both_ways(runner, whole, len(whole) - 3)
            assert at_once == in_parts
            assert at_once[0].split()[1] == status


def test_requests_that_are_sent_ahead_are_answered_in_their_order(frame: Any) -> None:
    bodies = [json.dumps([{"a": n, "b": 0, "c": 0}] * (n + 1)).encode() for n in range(5)]
    with Line(frame) as line:
        line.send(b"".join(request("/", body) for body in bodies))
        assert [len(json.loads(line.answer()[2])) for _ in bodies] == [1, 2, 3, 4, 5]
        line.send(request("/", b"nonsense") + request("/", bodies[1]))
        assert [line.answer()[0].split()[1] for _ in range(2)] == [b"400", b"200"]


@pytest.mark.parametrize(("version", "headers"), [("1.1", ["connection: close"]), ("1.0", [])])
def test_a_connection_that_is_to_end_ends_after_its_answer(frame: Any, version: str, headers: list[str]) -> None:
    with Line(frame) as line:
        line.send(request("/", b'[{"a": 1, "b": 2, "c": 3}]', headers=headers, version=version))
        status, told, body = line.answer()
        assert (status.split()[1], len(json.loads(body))) == (b"200", 1)
        assert b"connection: close\r\n" in told
        assert line.has_ended()


def test_a_caller_that_went_away_harms_nobody(frame: Any) -> None:
    for _ in range(20):
        with Line(frame) as line:
            line.send(request("/", b'[{"a": 1, "b": 2, "c": 3}]'))
    with Line(frame) as line:
        line.send(request("/", b'[{"a": 1, "b": 2, "c": 3}]'))
        assert line.answer()[0].split()[1] == b"200"
    deadline = time.monotonic() + 30
    while frame.metric("mp_in_flight"):
        assert time.monotonic() < deadline


@SETTINGS
@given(good=st.lists(FLOAT_ROWS, min_size=1, max_size=6), bad=st.lists(BODY, max_size=4), data=st.data())
def test_good_and_bad_calls_at_once_get_what_each_gets_alone(
    frame: Any, models: Any, good: list[list[dict[str, float]]], bad: list[bytes], data: st.DataObject
) -> None:
    bodies = [*(json.dumps(rows).encode() for rows in good), *bad]
    order = data.draw(st.permutations(range(len(bodies))), "order")
    answers = all_at_once(frame, [request("/", bodies[n]) for n in order])
    found = dict(zip(order, answers, strict=True))
    for n, rows in enumerate(good):
        expected = models["frame"].model.predict_proba(pd.DataFrame(rows, columns=["a", "b", "c"]))
        answered = [[each["stays"], each["leaves"]] for each in json.loads(found[n][2])]
        np.testing.assert_allclose(answered, expected, rtol=1e-9, atol=1e-12)
    for n in range(len(good), len(bodies)):
        with Line(frame) as line:
            line.send(request("/", bodies[n]))
            assert found[n] == line.answer()


def all_at_once(runner: Any, requests: Sequence[bytes]) -> list[Any]:
    """The answers to requests on a connection each, which come together."""
    lines = [Line(runner) for _ in requests]
    for line, whole in zip(lines, requests, strict=True):
        line.send(whole)
    answers = [line.answer() for line in lines]
    for line in lines:
        line.__exit__()
    return answers


@pytest.mark.parametrize("way", [lambda whole: [whole], lambda whole: [whole[:-3], whole[-3:]]])
def test_what_took_how_long_is_told_to_who_asks(frame: Any, way: Callable[[bytes], list[bytes]]) -> None:
    with Line(frame) as line:
        body = b'[{"a": 1, "b": 2, "c": 3}]'
        line.send(*way(request("/", body, headers=["x-server-timing: 1"])))
        _, told, _ = line.answer()
        (timing,) = [each.decode().strip() for each in told if each.startswith(b"server-timing:")]
        assert re.fullmatch(
            r"server-timing: queue;dur=[\d.]+, check;dur=[\d.]+, model;dur=[\d.]+, encode;dur=[\d.]+", timing
        )
        line.send(request("/", body))
        assert not [each for each in line.answer()[1] if each.startswith(b"server-timing:")]


def test_the_time_of_a_slow_model_is_told_as_the_models(served: Any) -> None:
    runner = served("doubling")
    answers: list[Any] = []

    def ask(seconds: float) -> None:
        with Line(runner) as line:
            rows = [{"value": 1.0, "seconds": seconds, "fail": False}]
            line.send(request("/", json.dumps(rows).encode(), headers=["x-server-timing: 1"]))
            answers.append(line.answer())

    ask(0.1)  # so that the runner knows that it is slow
    answers.clear()
    first = threading.Thread(target=ask, args=(4.0,))
    first.start()
    deadline = time.monotonic() + 30
    while runner.metric("mp_in_flight") < 1:
        assert time.monotonic() < deadline
    ask(0.1)
    first.join()
    slow, waited = (timing_of(answer) for answer in answers)
    assert slow["model"] >= 4000
    assert waited["model"] >= 100
    assert waited["queue"] > 50  # while the other was answered


def timing_of(answer: Any) -> dict[str, float]:
    (told,) = [each.decode().strip() for each in answer[1] if each.startswith(b"server-timing:")]
    return {name: float(value) for name, value in re.findall(r"(\w+);dur=([\d.]+)", told)}
