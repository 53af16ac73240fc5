"""Asking both sides for the same rows, several times each, within a bounded time."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import re
import statistics
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any

import httpx

from model_platform import loading
from model_platform.calling import ROWS_PER_CALL, Caller, Sent, as_sent, live_version
from model_platform.capture.remembered import remembered
from model_platform.capture.subject import DEFAULT_METHOD, Subject, examine
from model_platform.capture.table import Form, Table, as_library_takes
from model_platform.client import Client
from model_platform.display.progress import Progress
from model_platform.endpoint import usage_of
from model_platform.timing.figures import PARTS, Figures, Here, More, There
from model_platform.timing.timed import Timed
from model_platform_core.deployments import DeploymentSpec
from model_platform_core.errors import (
    IntegrityFailedError,
    InvalidInputError,
    ModelPlatformError,
    TargetUnavailableError,
)
from model_platform_core.models import ModelVersion
from model_platform_core.wire import EndpointResource

_LONG_SECONDS = 1.0
_QUICK_SECONDS = 0.5
_FEWEST, _ENOUGH = 3, 50
_TIMES_MORE = 10
_ASK_FOR_PARTS = {"X-Server-Timing": "1"}
_PART = re.compile(r"(\w+);dur=([\d.]+)")
_ONE_IN_RUNNER = frozenset({"mlflow.xgboost", "mlflow.lightgbm"})


def time_both(client: Client, name: str, rows: Any) -> Timed:
    """The model that is live at an endpoint, asked in this process and there for the same rows.

    Raises
    ------
    InvalidInputError
        If the rows do not fit; the message names the column.
    TargetUnavailableError
        If the endpoint does not answer.
    IntegrityFailedError
        If the model's bytes are not those that were published.
    """
    resource = client.endpoint(client.endpoint_ref(name))
    version, live = _live(client, resource)
    sent = as_sent(rows, version.behaviour)
    if not sent.calls:
        raise InvalidInputError("There are no rows to ask for; give at least one.")
    with Caller(client, resource, _ASK_FOR_PARTS) as caller:
        caller.ask(sent.calls[0])  # what does not fit, or does not answer, is told before anything is loaded
        asked = _asked_here(client, version, sent.table)
        with Progress(f"{resource.name}: timing") as progress:
            figures = _figures(caller, sent, asked, live, version, progress)
            usage = usage_of(client, resource.zone)
            if usage is not None:
                figures = replace(figures, room=usage.left.cpu + live.needs().cpu)
            why_not = asked if isinstance(asked, str) else ""
            timed = Timed(resource.name, version, live, figures, zone=client.zone, why_not_here=why_not)
            progress.end_with(timed)
    return timed


def _live(client: Client, resource: EndpointResource) -> tuple[ModelVersion, DeploymentSpec]:
    version, live = live_version(client, resource), resource.status.live()
    if version is None or live is None:
        hint = f"%mp_{'start' if resource.spec.stopped else 'status'} {resource.name}"
        why = resource.status.message or resource.status.state
        raise TargetUnavailableError(f"{resource.name} does not answer: {why}.", hint=hint)
    return version, live


def _figures(
    caller: Caller,
    sent: Sent,
    asked: _Asked | str,
    live: DeploymentSpec,
    version: ModelVersion,
    progress: Progress,
) -> Figures:
    with progress.step("endpoint"):
        there = _there(caller, sent.calls, live)
    with progress.step("notebook"):
        here = _here(asked, there) if isinstance(asked, _Asked) else None
    independent, more = bool(version.behaviour.get("rows_independent")), None
    if independent and len(sent.calls) == 1 and there.parts and there.mostly(there.around):
        with progress.step("more rows in a call"):
            more = _more(caller, sent.calls[0], there.seconds)
    return Figures(len(sent.table), len(sent.calls), here, there, more, rows_independent=independent)


def repeated(call: Callable[[], Any], long_seconds: float = _LONG_SECONDS) -> list[float]:
    """How long each of several calls took, in seconds, after one that does not count unless it takes long itself.

    At least 3, then until they have taken long or there are 50.
    """
    began = perf_counter()
    call()
    first = perf_counter() - began
    if first > long_seconds:
        return [first]
    found: list[float] = []
    began = now = perf_counter()
    while len(found) < _FEWEST or (len(found) < _ENOUGH and now - began < long_seconds):
        call()
        before, now = now, perf_counter()
        found.append(now - before)
    return found


# ---------------------------------------------------------------- the notebook


@dataclass(frozen=True)
class _Asked:
    """The model in this process, and the rows as it takes them."""

    subject: Subject
    rows: Any
    from_kernel: bool

    def answer(self) -> Any:
        return self.subject.answer(self.rows)


def _asked_here(client: Client, version: ModelVersion, table: Table) -> _Asked | str:
    """The model here, that has answered once; or one sentence why it cannot be asked."""
    model, which = remembered(version), f"{version.full_name}:{version.version}"
    from_kernel = model is not None
    try:
        model = model if from_kernel else loading.load(client, which)
        method = version.behaviour.get("answers")
        subject = examine(model, None if method == DEFAULT_METHOD else method)
    except IntegrityFailedError:
        raise
    except ModelPlatformError as error:
        return f"not measured: {error.message}"
    except Exception as error:  # noqa: BLE001 - whatever it raises, the endpoint's side can be told
        return f"not measured: the version cannot be loaded here ({type(error).__name__})"
    try:
        asked = _Asked(subject, _as_taken(table, subject), from_kernel)
        with _without_warnings():
            asked.answer()
    except Exception as error:  # noqa: BLE001 - as above; its words may repeat the rows
        return f"not measured: here the model does not take the rows in this form ({type(error).__name__})"
    return asked


def _as_taken(table: Table, subject: Subject) -> Any:
    """Rows as they are called with in a notebook; records, as a terminal has them, are a table to all but functions."""
    if subject.of_library:
        table = as_library_takes(table)
    return table.frame() if table.form is Form.RECORDS and not subject.is_function else table.value


def _here(asked: _Asked, there: There) -> Here:
    with _without_warnings():
        seconds = statistics.median(repeated(asked.answer))
        jobs = jobs_of(asked.subject.model)
        here = Here(
            seconds=seconds,
            threads=jobs or threads(),
            one_in_runner=bool(jobs) or asked.subject.flavour in _ONE_IN_RUNNER,
            from_kernel=asked.from_kernel,
        )
        slower = there.parts.get("model", 0.0) > seconds
        if not slower or jobs or here.threads <= there.threads or importlib.util.find_spec("threadpoolctl") is None:
            return here
        with importlib.import_module("threadpoolctl").threadpool_limits(1 if here.one_in_runner else there.threads):
            limited = statistics.median(repeated(asked.answer))
    return Here(seconds, here.threads, limited, here.one_in_runner, here.from_kernel)


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """A model that warns has done so when it was tried; a hundred times more help nobody."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def threads() -> int:
    """How many threads the numerical libraries of this process may use."""
    if importlib.util.find_spec("threadpoolctl") is not None:
        found = [one["num_threads"] for one in importlib.import_module("threadpoolctl").threadpool_info()]
        if found:
            return int(max(found))
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdecimal() and int(told) else os.cpu_count() or 1


def jobs_of(model: Any) -> int | None:
    """How many jobs the model was told to run at once; None where it was not told."""
    if not hasattr(model, "get_params"):
        return None
    given = [value for name, value in model.get_params().items() if name.endswith("n_jobs")]
    told = [value for value in given if isinstance(value, int) and value not in (0, 1)]
    cores = os.cpu_count() or 1
    return max((value if value > 0 else max(cores + 1 + value, 1) for value in told), default=None)


# ---------------------------------------------------------------- the endpoint


def _there(caller: Caller, calls: list[list[Any]], live: DeploymentSpec) -> There:
    told: list[Mapping[str, float]] = []

    def ask() -> None:
        parts = [parts_of(answer.headers.get("Server-Timing", "")) for answer in _ask(caller, calls)]
        told.append({name: sum(one[name] for one in parts) for name in PARTS} if all(parts) else {})

    seconds = statistics.median(repeated(ask))
    counted = told[1:] or told  # the first is not counted
    known = all(counted)
    parts = {name: statistics.median(one[name] for one in counted) for name in PARTS} if known else {}
    return There(seconds, parts, live.replicas, live.resources.cpu)


def _ask(caller: Caller, calls: list[list[Any]]) -> list[httpx.Response]:
    """The endpoint's answers, read as everybody reads them."""
    answers = [caller.ask(records) for records in calls]
    for answer in answers:
        answer.json()
    return answers


def parts_of(header: str) -> dict[str, float]:
    """Seconds by part, from a `Server-Timing` header; empty where it does not tell them all."""
    found = {name: float(milliseconds) / 1000 for name, milliseconds in _PART.findall(header)}
    return {name: found[name] for name in PARTS} if found.keys() >= set(PARTS) else {}


def _more(caller: Caller, records: list[Any], seconds: float) -> More | None:
    """The same rows several times in one call, as often as that gains much; None where it does not."""
    best = More(len(records), seconds)
    while (count := min(best.rows * _TIMES_MORE, ROWS_PER_CALL)) >= 2 * best.rows and best.seconds < _QUICK_SECONDS:
        many = (records * (count // len(records) + 1))[:count]
        try:
            found = More(count, statistics.median(repeated(partial(_ask, caller, [many]), _QUICK_SECONDS)))
        except ModelPlatformError:
            break  # it takes no such calls
        if not found.gains_over(best):
            break
        best = found
    return best if best.rows > len(records) else None
