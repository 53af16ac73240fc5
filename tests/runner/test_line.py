"""Requests are joined where rows are independent, one at a time where not; no request harms another."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import httpx
import pytest

from model_platform_runner.answers import Answers, ListAnswers
from model_platform_runner.batch import Batch
from model_platform_runner.batching import Line
from model_platform_runner.errors import CallError


def row(value: float, seconds: float = 0.0, fail: bool = False) -> dict[str, Any]:
    return {"value": value, "seconds": seconds, "fail": fail}


async def post_all(runner: Any, bodies: list[Any]) -> list[httpx.Response]:
    """Send all bodies at once, each on a connection of its own."""
    transport = httpx.AsyncHTTPTransport(uds=runner.config["socket"], limits=httpx.Limits(max_connections=None))
    async with httpx.AsyncClient(transport=transport, base_url="http://churn", timeout=60) as client:
        return await asyncio.gather(*(client.post("/", json=body) for body in bodies))


def test_requests_that_wait_together_are_answered_together(served: Any) -> None:
    runner = served("doubling")
    assert runner.control.get("/info").json()["batching"] is True
    before = runner.metric("mp_model_calls_total")
    bodies = [[row(0, seconds=0.3)], *([row(n), row(-n)] for n in range(1, 100))]
    answers = asyncio.run(post_all(runner, bodies))
    expected = [[{"prediction": 2 * each["value"]} for each in body] for body in bodies]
    assert [answer.json() for answer in answers] == expected
    assert runner.metric("mp_model_calls_total") - before < 50


def test_only_the_guilty_request_fails(served: Any) -> None:
    runner = served("doubling")
    bodies = [[row(n, seconds=0.05 if n == 0 else 0, fail=n % 10 == 7)] for n in range(60)]
    bodies += [[{"value": n}] for n in range(10)]  # that does not fit, among others that do
    answers = asyncio.run(post_all(runner, bodies))
    expected = [500 if n % 10 == 7 else 200 for n in range(60)] + [422] * 10
    assert [answer.status_code for answer in answers] == expected
    for n, answer in enumerate(answers[:60]):
        assert answer.status_code == 500 or answer.json() == [{"prediction": 2.0 * n}]


def test_the_loop_stays_free_while_the_model_is_slow(served: Any) -> None:
    runner = served("doubling")
    runner.calls.post("/", json=[row(1, seconds=0.1)])  # so that the runner knows
    slow = threading.Thread(target=lambda: asyncio.run(post_all(runner, [[row(1, seconds=2)]])))
    slow.start()
    deadline = time.monotonic() + 30
    while runner.metric("mp_in_flight") < 1:
        assert time.monotonic() < deadline
    assert runner.control.get("/live").status_code == 200
    assert runner.calls.get("/ping").status_code == 200
    assert runner.metric("mp_in_flight") == 1
    slow.join()


def test_a_model_that_remembers_gets_one_request_at_a_time(served: Any) -> None:
    runner = served("counting")
    assert runner.control.get("/info").json()["batching"] is False
    before = runner.metric("mp_model_calls_total")
    answers = asyncio.run(post_all(runner, [[row(n)] * 3 for n in range(40)]))
    seen = [[each["prediction"] for each in answer.json()] for answer in answers]
    assert all(each == list(range(each[0], each[0] + 3)) for each in seen)
    assert sorted(number for each in seen for number in each) == list(range(120))
    assert runner.metric("mp_model_calls_total") - before == 40


def test_a_call_that_was_refused_teaches_nothing() -> None:
    """The model has not seen its rows: as many of them may take it long."""
    loop_thread, ran_on = threading.get_ident(), []

    def predict(batch: Batch) -> Answers:
        if batch.params:
            raise CallError(422, "invalid_input", "The rows do not fit.")
        ran_on.append((batch.rows, threading.get_ident() == loop_thread))
        return ListAnswers([0] * batch.rows)

    async def ask() -> None:
        line = Line(predict, joining=True, on_loop=True, seconds=30)
        await line.answer(Batch({}, 1))
        await line.answer(Batch({}, 1))
        with pytest.raises(CallError):
            await line.answer(Batch({}, 5000, params={"wrong": True}))
        await line.answer(Batch({}, 5000))

    asyncio.run(ask())
    assert ran_on == [(1, False), (1, True), (5000, False)]


def test_one_answer_that_cannot_be_given_keeps_nothing_from_the_others() -> None:
    async def ask() -> list[str]:
        told: list[str] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: told.append(type(context["exception"]).__name__))
        line = Line(lambda batch: ListAnswers([0] * batch.rows), joining=True, on_loop=True, seconds=30)

        def fail(*_: object) -> None:
            raise RuntimeError

        line.submit(Batch({}, 1), fail)
        await asyncio.wait_for(line.answer(Batch({}, 1)), 10)
        return told

    assert asyncio.run(ask()) == ["RuntimeError"]
