"""Callers of an endpoint that call as fast as they get answers, and note every answer that is none."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from support.servers import wait_until

_MOST = 5_000  # requests of each caller: a bound, should a test hang


class Calls:
    """What callers saw: answers by the version that gave them, and failures in words."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []

    @property
    def count(self) -> int:
        return sum(self.answers.values())

    def more(self, number: int) -> None:
        """Wait for as many answers as this from now on."""
        goal = self.count + number
        wait_until(lambda: self.count >= goal or self.failures, 60, f"{number} more answers")


@contextmanager
def load(url: str, records: list[Any], callers: int = 3) -> Iterator[Calls]:
    """Callers at work while the block runs."""
    calls, stop = Calls(), threading.Event()

    def work() -> None:
        with httpx.Client(trust_env=False, timeout=30) as client:
            for _ in range(_MOST):
                if stop.is_set():
                    return
                try:
                    answer = client.post(url, json=records)
                    if answer.status_code == 200:
                        calls.answers[answer.headers["x-model-version"]] += 1
                    else:
                        calls.failures.append(f"{answer.status_code} {answer.text}")
                except httpx.HTTPError as error:
                    calls.failures.append(repr(error))

    threads = [threading.Thread(target=work) for _ in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield calls
    finally:
        stop.set()
        for thread in threads:
            thread.join()
