"""The figures that runners tell: read from Prometheus' text, summed over the runners of an endpoint."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from model_platform_core.wire import EndpointMetrics

_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass
class Figures:
    """What one runner has counted since it started; `buckets` are cumulative, by upper bound in seconds."""

    calls: int = 0
    errors: int = 0
    rows: int = 0
    started: float = 0.0
    version: str = ""
    buckets: dict[float, int] = field(default_factory=dict)


def read_figures(text: str) -> Figures:
    """Read a runner's `/metrics`; samples that we do not know are left aside."""
    figures = Figures()
    for line in text.splitlines():
        found = _SAMPLE.match(line)
        if found is None:
            continue
        name, value = found[1], float(found[3])
        labels = dict(_LABEL.findall(found[2] or ""))
        if name == "mp_requests_total":
            figures.calls += int(value)
            figures.errors += int(value) if labels.get("code", "").startswith("5") else 0
        elif name == "mp_rows_total":
            figures.rows += int(value)
        elif name == "mp_predict_seconds_bucket":
            bound = float(labels["le"].replace("+Inf", "inf"))
            figures.buckets[bound] = figures.buckets.get(bound, 0) + int(value)
        elif name == "mp_runner_start_time_seconds":
            figures.started, figures.version = value, labels.get("version", "")
    return figures


def summed(runners: Iterable[Figures], calls_per_second: float) -> EndpointMetrics:
    """The figures of an endpoint from those of its runners."""
    every = list(runners)
    if not every:
        return EndpointMetrics()
    by_version: dict[str, int] = {}
    buckets: dict[float, int] = {}
    for one in every:
        by_version[one.version] = by_version.get(one.version, 0) + one.calls
        for bound, count in one.buckets.items():
            buckets[bound] = buckets.get(bound, 0) + count
    return EndpointMetrics(
        calls=sum(one.calls for one in every),
        errors=sum(one.errors for one in every),
        rows=sum(one.rows for one in every),
        calls_per_second=calls_per_second,
        p50=quantile(buckets, 0.5),
        p95=quantile(buckets, 0.95),
        since=dt.datetime.fromtimestamp(min(one.started for one in every), dt.UTC),
        by_version=by_version,
    )


def quantile(buckets: dict[float, int], share: float) -> float | None:
    """A quantile in seconds, by linear interpolation within its bucket, as Prometheus does; None without calls."""
    bounds = sorted(buckets)
    if not bounds or buckets[bounds[-1]] == 0:
        return None
    rank, below, start = share * buckets[bounds[-1]], 0, 0.0
    for bound in bounds:
        if buckets[bound] >= rank:
            if bound == float("inf"):
                return start
            return start + (bound - start) * (rank - below) / max(buckets[bound] - below, 1)
        below, start = buckets[bound], bound
    return start


def rate(samples: Sequence[tuple[float, Figures]], now: tuple[float, Figures]) -> float:
    """Calls per second of one runner since the oldest of its samples that is of the same process."""
    at, figures = now
    earlier = [(then, one) for then, one in samples if one.started == figures.started]
    if earlier:
        then, oldest = earlier[0]
        seconds, calls = at - then, figures.calls - oldest.calls
    else:
        seconds, calls = at - figures.started, figures.calls
    return calls / seconds if seconds > 0 else 0.0
