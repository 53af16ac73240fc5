"""The line in front of a model: one call of it at a time, and for some models several requests in one call.

A call of a library like scikit-learn costs nearly the same for one row as for a hundred. So, where publish has shown
that rows answer alike alone, together and in another order, requests that wait at the same moment are joined. There
is no timer: nobody waits for company.

- A quick call (about a millisecond) runs on the event loop's own thread, at the end of the turn in which its requests
  were read: a request that comes alone is not delayed at all.
- Any other call runs in one thread beside the loop, which stays free for health checks; what arrives meanwhile is the
  next batch. Which calls are quick is learnt from the calls themselves.

If a joined call fails, its requests are run one by one, so that only the guilty one gets the error.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from time import perf_counter

from model_platform_runner.answers import Answers
from model_platform_runner.inputs import Batch, join

QUICK_SECONDS = 0.001
HELD_UP_SECONDS = 0.02
_FIRST_DOUBT = 32
_LONGEST_DOUBT = 1 << 16
JOINED_ROWS = 256

Predict = Callable[[Batch], Answers]


class ModelError(Exception):
    """The model raised something. Only the name of its type is kept: text and traceback may hold rows."""


Outcome = Answers | ModelError


@dataclass(slots=True)
class _Request:
    batch: Batch
    future: "asyncio.Future[Answers]"


class Line:
    """Runs requests through a model, first come, first served.

    Parameters
    ----------
    predict
        The model.
    joining
        Rows are independent: requests may be joined into one call.
    on_loop
        Quick calls may run on the loop's thread.
    """

    def __init__(self, predict: Predict, *, joining: bool, on_loop: bool) -> None:
        self.joining = joining
        self.calls = 0
        self._predict = predict
        self._on_loop = on_loop
        self._quick_rows = 0  # up to how many rows a call is quick, as far as is known
        self._untrusted = 0  # how many quick calls it takes until one may run on the loop again
        self._doubt = _FIRST_DOUBT
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Request] = deque()
        self._scheduled = False
        self._busy = False
        self._work: SimpleQueue[list[_Request]] = SimpleQueue()
        threading.Thread(target=self._serve, name="model", daemon=True).start()

    def submit(self, batch: Batch) -> "asyncio.Future[Answers]":
        """Put a request into the line; its future ends with the answers or a :class:`ModelError`."""
        future: asyncio.Future[Answers] = self._loop.create_future()
        self._waiting.append(_Request(batch, future))
        self._schedule()
        return future

    def _learn(self, rows: int, seconds: float) -> None:
        """Take note of how long a call of so many rows took.

        A slow call that was taken for a quick one has held up the loop. So the longer a model has a habit of being
        slow now and then, the more quick calls in a row it takes until it is trusted again.
        """
        if seconds <= QUICK_SECONDS:
            self._untrusted = max(self._untrusted - 1, 0)
            self._quick_rows = max(self._quick_rows, rows)
        elif seconds > 2 * QUICK_SECONDS and rows <= self._quick_rows:
            self._quick_rows = rows // 2
            if seconds > HELD_UP_SECONDS:
                self._untrusted = self._doubt = min(2 * self._doubt, _LONGEST_DOUBT)

    def _schedule(self) -> None:
        if self._waiting and not self._busy and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._next)  # after everything else that this turn of the loop reads

    def _next(self) -> None:
        self._scheduled = False
        requests = self._take()
        if not requests:
            return
        if self._on_loop and not self._untrusted and sum(each.batch.rows for each in requests) <= self._quick_rows:
            self._settle(requests, *_timed(self._predict, requests))
        else:
            self._busy = True
            self._work.put(requests)

    def _take(self) -> list[_Request]:
        taken: list[_Request] = []
        rows = 0
        while self._waiting:
            request = self._waiting[0]
            alone = not self.joining or request.batch.params is not None
            if taken and (alone or rows + request.batch.rows > JOINED_ROWS):
                break
            self._waiting.popleft()
            if request.future.done():
                continue  # it took too long, or its caller is gone
            taken.append(request)
            rows += request.batch.rows
            if alone:
                break
        return taken

    def _settle(self, requests: Sequence[_Request], outcomes: Sequence[Outcome], seconds: float) -> None:
        self._busy = False
        self.calls += 1
        self._learn(sum(each.batch.rows for each in requests), seconds)
        for request, outcome in zip(requests, outcomes, strict=True):
            if request.future.done():
                continue
            if isinstance(outcome, ModelError):
                request.future.set_exception(outcome)
            else:
                request.future.set_result(outcome)
        self._schedule()

    def _serve(self) -> None:
        while True:
            requests = self._work.get()
            outcomes, seconds = _timed(self._predict, requests)
            self._loop.call_soon_threadsafe(self._settle, requests, outcomes, seconds)


def _timed(predict: Predict, requests: Sequence[_Request]) -> tuple[list[Outcome], float]:
    start = perf_counter()
    return _outcomes(predict, [each.batch for each in requests]), perf_counter() - start


def _outcomes(predict: Predict, batches: Sequence[Batch]) -> list[Outcome]:
    """Predict together if that works, else one by one."""
    if len(batches) > 1:
        together = _together(predict, batches)
        if together is not None:
            return together
    return [_attempt(predict, batch) for batch in batches]


def _together(predict: Predict, batches: Sequence[Batch]) -> list[Outcome] | None:
    try:
        batch = join(batches)
    except ValueError:
        return None  # tensors of different shapes, tables of different columns
    answers = _attempt(predict, batch)
    if isinstance(answers, ModelError) or answers.rows != batch.rows:
        return None
    parts: list[Outcome] = []
    start = 0
    for each in batches:
        parts.append(answers.part(start, start + each.rows))
        start += each.rows
    return parts


def _attempt(predict: Predict, batch: Batch) -> Outcome:
    try:
        return predict(batch)
    except BaseException as error:  # noqa: BLE001 - a model may raise anything, SystemExit too
        return ModelError(type(error).__name__)
