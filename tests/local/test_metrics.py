"""Reading what runners count."""

from __future__ import annotations

import datetime as dt

import pytest

from model_platform_server.adapters.local.metrics import Figures, quantile, rate, read_figures, summed

TEXT = """\
# HELP mp_requests_total Predicting calls.
# TYPE mp_requests_total counter
mp_requests_total{zone="dev",version="3",code="2xx"} 90
mp_requests_total{zone="dev",version="3",code="4xx"} 7
mp_requests_total{zone="dev",version="3",code="5xx"} 3
mp_rows_total{zone="dev",version="3"} 180
mp_predict_seconds_bucket{zone="dev",le="0.01"} 50
mp_predict_seconds_bucket{zone="dev",le="0.1"} 90
mp_predict_seconds_bucket{zone="dev",le="+Inf"} 100
mp_predict_seconds_sum{zone="d\\"e}v"} 4.5
mp_runner_start_time_seconds{zone="dev",version="3"} 1000.0
something_newer{a="b"} 1
"""


def test_figures_are_read_from_the_text() -> None:
    assert read_figures(TEXT) == Figures(100, 3, 180, 1000.0, "3", {0.01: 50, 0.1: 90, float("inf"): 100})


def test_runners_are_summed() -> None:
    other = Figures(50, 0, 50, 900.0, "4", {0.01: 50, 0.1: 50, float("inf"): 50})
    found = summed([read_figures(TEXT), other], 2.5)
    assert (found.calls, found.errors, found.rows, found.calls_per_second) == (150, 3, 230, 2.5)
    assert found.by_version == {"3": 100, "4": 50}
    assert found.since == dt.datetime.fromtimestamp(900, dt.UTC)
    assert found.p50 == pytest.approx(0.0075)
    assert summed([], 0.0).calls == 0


def test_quantiles_are_interpolated_within_their_bucket() -> None:
    buckets = {0.01: 50, 0.1: 90, float("inf"): 100}
    assert quantile(buckets, 0.5) == pytest.approx(0.01)
    assert quantile(buckets, 0.7) == pytest.approx(0.01 + 0.09 * 20 / 40)
    assert quantile(buckets, 0.95) == pytest.approx(0.1)
    assert quantile({0.01: 0, float("inf"): 0}, 0.5) is None
    assert quantile({}, 0.5) is None


def test_the_rate_is_that_since_the_oldest_sample_of_the_same_process() -> None:
    samples = [(10.0, Figures(calls=500, started=1.0)), (40.0, Figures(calls=10, started=30.0))]
    assert rate(samples, (60.0, Figures(calls=50, started=30.0))) == pytest.approx(2.0)
    assert rate([], (60.0, Figures(calls=50, started=50.0))) == pytest.approx(5.0)
    assert rate([], (60.0, Figures(started=60.0))) == 0
