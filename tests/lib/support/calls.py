"""Somebody who calls an endpoint all the time, a hundred times a second, and notes every answer that is none."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from support.servers import wait_until
from support.small_models import PAIR


class Calls:
    """Answers by the version that gave them, and what was no answer, in words."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []

    def more(self, number: int = 20) -> None:
        """Wait for as many calls as this from now on, answered or not."""
        goal = self._count() + number
        wait_until(lambda: self._count() >= goal, 60, f"{number} more calls")

    def _count(self) -> int:
        return self.answers.total() + len(self.failures)


@contextmanager
def calling(url: str, callers: int = 2) -> Iterator[Calls]:
    """Callers at work while the block runs; the endpoint is open and adds pairs up."""
    calls, stop = Calls(), threading.Event()

    def work() -> None:
        with httpx.Client(trust_env=False, timeout=30) as client:
            while not stop.wait(0.01 * callers):
                try:
                    answer = client.post(url, json=PAIR)
                    if answer.status_code == 200 and answer.json() == [{"prediction": 3.0}]:
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
        calls.more()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
