"""The line in front of a model: one call of it at a time, and for some models several requests in one call.

A call of a library like scikit-learn costs nearly the same for one row as for a hundred. So, where publish has shown
that rows answer alike alone, together and in another order, requests that wait at the same moment are joined. There
is no timer: nobody waits for company.

- A quick call (about a millisecond) runs on the event loop's own thread, at the end of the turn in which its requests
  were read: a request that comes alone is not delayed at all.
- Any other call runs in one thread beside the loop, which stays free for health checks; what arrives meanwhile is the
  next batch. Which calls are quick is learnt from the calls themselves.

If a joined call fails, its requests are run one by one, so that only the guilty one gets the error. So it is if the
rows of one of them do not fit: those of several calls are read together.
"""

import asyncio
import resource
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from time import perf_counter

from model_platform_runner.answers import Answers
from model_platform_runner.batch import Batch, join
from model_platform_runner.errors import CallError

QUICK_SECONDS = 0.001
HELD_UP_SECONDS = 0.02
_FIRST_DOUBT = 32
_LONGEST_DOUBT = 1 << 16
JOINED_ROWS = 256
_THREAD: int | None = getattr(resource, "RUSAGE_THREAD", None)

Predict = Callable[[Batch], Answers]


class ModelError(Exception):
    """The model raised something. Only the name of its type is kept: text and traceback may hold rows."""


Outcome = Answers | ModelError | CallError
Done = Callable[[Outcome, float], None]
"""Takes what came out, and the seconds that the call of the model took that it comes from."""


@dataclass(slots=True)
class _Request:
    batch: Batch
    done: Done
    deadline: float
    settled: bool = False


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
    seconds
        How long a request may take, from when it came into the line.
    """

    def __init__(self, predict: Predict, *, joining: bool, on_loop: bool, seconds: float) -> None:
        self.joining = joining
        self.calls = 0
        self._predict = predict
        self._on_loop = on_loop
        self._quick_rows = 0  # up to how many rows a call is quick, as far as is known
        self._untrusted = 0  # how many quick calls it takes until one may run on the loop again
        self._doubt = _FIRST_DOUBT
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Request] = deque()
        self._unsettled: deque[_Request] = deque()  # the oldest first; some of them may be settled by now
        self._timer: asyncio.TimerHandle | None = None
        self._scheduled = False
        self._busy = False
        self._work: SimpleQueue[list[_Request]] = SimpleQueue()
        threading.Thread(target=self._serve, name="model", daemon=True).start()

    @property
    def quick(self) -> bool:
        """Whether a call that comes now is answered in a moment: the model is called on the loop, if with few rows."""
        return self._on_loop and not self._busy and not self._untrusted and self._quick_rows > 0

    def submit(self, batch: Batch, done: Done) -> None:
        """Put a request into the line; ``done`` is called on the loop, never before this returns.

        It gets the answers, a :class:`ModelError`, or a :class:`CallError`: rows that do not fit (422), or
        ``exceeds_time`` (504).
        """
        request = _Request(batch, done, perf_counter() + self._seconds)
        self._waiting.append(request)
        self._unsettled.append(request)
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._expire)
        if not self._busy and not self._scheduled:
            self._schedule()

    async def answer(self, batch: Batch) -> Answers:
        """Put a request into the line and wait for its answers; raises what ``submit`` gives to ``done``."""
        future: asyncio.Future[Answers] = self._loop.create_future()

        def done(outcome: Outcome, _seconds: float) -> None:
            if future.done():
                return  # nobody waits any more
            if isinstance(outcome, ModelError | CallError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        self.submit(batch, done)
        return await future

    def _expire(self) -> None:
        """End what has taken too long; one timer for all, since all of them may take as long."""
        self._timer = None
        now = perf_counter()
        while self._unsettled and (self._unsettled[0].settled or self._unsettled[0].deadline <= now):
            request = self._unsettled.popleft()
            if not request.settled:
                request.settled = True
                late = f"The model did not answer within {self._seconds:g} seconds."
                self._tell(request, CallError(504, "exceeds_time", late), 0.0)
        if self._unsettled:
            self._timer = self._loop.call_later(self._unsettled[0].deadline - now, self._expire)

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
            if request.settled:
                continue  # it took too long
            taken.append(request)
            rows += request.batch.rows
            if alone:
                break
        return taken

    def _settle(
        self, requests: Sequence[_Request], outcomes: Sequence[Outcome], seconds: float, disturbed: bool
    ) -> None:
        self._busy = False
        refused = [isinstance(each, CallError) for each in outcomes]
        self.calls += not all(refused)
        if not (disturbed or any(refused)):  # the model has not seen what was refused
            self._learn(sum(each.batch.rows for each in requests), seconds)
        for request, outcome in zip(requests, outcomes, strict=True):
            if not request.settled:
                request.settled = True
                self._tell(request, outcome, seconds)
        while self._unsettled and self._unsettled[0].settled:
            self._unsettled.popleft()
        self._schedule()

    def _tell(self, request: _Request, outcome: Outcome, seconds: float) -> None:
        try:
            request.done(outcome, seconds)
        except Exception as error:  # noqa: BLE001 - the others of its batch get theirs
            self._loop.call_exception_handler({"message": "an answer could not be given", "exception": error})

    def _serve(self) -> None:
        while True:
            requests = self._work.get()
            self._loop.call_soon_threadsafe(self._settle, requests, *_timed(self._predict, requests))


def _timed(predict: Predict, requests: Sequence[_Request]) -> tuple[list[Outcome], float, bool]:
    """The outcomes, the seconds that they took, and whether some of those went to others, who had the processor."""
    start, before = perf_counter(), _switches()
    outcomes = _outcomes(predict, [each.batch for each in requests])
    seconds = perf_counter() - start
    if seconds <= QUICK_SECONDS:
        return outcomes, seconds, False
    (waited, taken), (waited_before, taken_before) = _switches(), before
    return outcomes, seconds, taken > taken_before and waited == waited_before


def _switches() -> tuple[int, int]:
    """How often this thread waited for something, and how often the processor was taken away from it."""
    if _THREAD is None:
        return 0, 0  # this system does not tell
    usage = resource.getrusage(_THREAD)
    return usage.ru_nvcsw, usage.ru_nivcsw


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
    except (ValueError, CallError):
        return None  # tensors of different shapes, tables of different columns, rows that do not fit
    answers = _attempt(predict, batch)
    if isinstance(answers, ModelError | CallError) or answers.rows != batch.rows:
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
    except CallError as error:
        return error  # its rows do not fit
    except BaseException as error:  # noqa: BLE001 - a model may raise anything, SystemExit too
        return ModelError(type(error).__name__)
