"""Notebook and endpoint side by side: the rule for the one setting to change, and the five lines."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from typing import Any

import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from model_platform.capture.remembered import remember, remembered
from model_platform.display.markdown import markdown
from model_platform.display.plain import plain
from model_platform.timing import measure
from model_platform.timing.figures import Advice, Figures, Here, More, There, advice
from model_platform.timing.measure import jobs_of, parts_of, repeated
from model_platform.timing.timed import Timed, deploy_line
from model_platform_core.cards import Resources
from support import card_samples as samples

NOTEBOOK = Here(0.004, threads=4, from_kernel=True)


def there(replicas: int = 1, cpu: float = 1.0, way: float = 0.001, **parts: float) -> There:
    """An endpoint of so many milliseconds by part."""
    told = {name: parts.get(name, 0.0) / 1000 for name in ("queue", "check", "model", "encode")}
    return There(way / 1000 + sum(told.values()), told, replicas, cpu)


def figures(found: There, here: Here | None = NOTEBOOK, **more: Any) -> Figures:
    return Figures(100, 1, here, found, **more)


# ---------------------------------------------------------------- the rule


def test_calls_that_wait_for_one_another_need_more_runners() -> None:
    waiting = there(queue=30, model=8)
    assert advice(figures(waiting)) == Advice("calls wait there for those of others", replicas=2)
    assert advice(figures(replace(waiting, replicas=3))).replicas == 6
    assert advice(figures(waiting, room=1.5)).why.startswith("nothing: ")
    assert advice(figures(replace(waiting, replicas=3), room=4.0)).replicas == 4
    assert advice(figures(replace(waiting, replicas=80))).replicas == 100


def test_a_short_wait_is_no_reason() -> None:
    assert advice(figures(there(queue=0.3, model=0.1))).replicas is None
    assert advice(figures(there(queue=9, model=20))).replicas is None
    assert advice(figures(there(queue=10.1, model=20))).replicas == 2


def test_a_model_that_lacks_threads_gets_cpu() -> None:
    slower = there(model=14, way=1)
    told = Advice("the model uses 4 threads here and 1 there", cpu=4)
    assert advice(figures(slower)) == told
    assert advice(figures(slower, replace(NOTEBOOK, limited_seconds=0.013))) == told
    assert advice(figures(slower, room=3.0)).cpu == 3
    assert advice(figures(replace(slower, replicas=2), room=5.0)).cpu == 2
    assert advice(figures(slower, room=1.9)) == Advice(f"nothing: {told.why}, and the zone has no room for more")


def test_threads_are_not_blamed_where_they_make_no_difference() -> None:
    slower = there(model=14, way=1)
    as_quick_with_one = advice(figures(slower, replace(NOTEBOOK, limited_seconds=0.0042)))
    as_many = advice(figures(slower, replace(NOTEBOOK, threads=1)))
    assert as_quick_with_one == as_many
    assert as_many.why == "nothing: the model takes longer there with as many threads; that machine is slower, or busy"


def test_a_model_that_gets_one_thread_in_every_runner_is_shared_out() -> None:
    slower, here = there(model=14, way=1, cpu=8), replace(NOTEBOOK, one_in_runner=True)
    assert advice(figures(slower, here)).replicas == 4
    assert advice(figures(slower, here)).cpu is None
    together = advice(figures(slower, here, rows_independent=False))
    assert together.replicas is None
    assert "do not answer one by one" in together.why
    assert "no room for another" in advice(figures(slower, here, room=8.0)).why


def test_small_calls_become_larger_where_that_was_measured_to_gain() -> None:
    small = there(way=2, check=0.2, model=0.3)
    assert advice(figures(small, more=More(1000, 0.005))) == Advice("200,000 rows per second, 5.0 × as many", rows=1000)
    assert advice(figures(small, more=More(1000, 0.024))).rows is None
    assert advice(figures(small)).rows is None
    mostly_model = there(way=2, model=3)
    assert advice(figures(mostly_model, more=More(1000, 0.005))).rows is None


@pytest.mark.parametrize(
    ("found", "here", "independent", "why"),
    [
        (there(way=1, model=2), NOTEBOOK, True, "the endpoint is quicker than the notebook"),
        (there(way=1, model=5), NOTEBOOK, True, "the model itself takes the time, there as here"),
        (there(way=1, model=5), None, True, "the model itself takes the time"),
        (there(way=9, model=2), NOTEBOOK, True, "sending, reading and writing the rows takes the time"),
        (there(way=9, model=2), NOTEBOOK, False, "each call costs more than its rows, which do not answer one by one"),
        (there(way=2, queue=0.9, model=2), NOTEBOOK, True, "no part takes much more than the others"),
    ],
)
def test_where_nothing_is_to_gain_it_says_so(found: There, here: Here | None, independent: bool, why: str) -> None:
    told = advice(figures(found, here, rows_independent=independent))
    assert (told.replicas, told.cpu, told.rows) == (None, None, None)
    assert told.why.startswith(f"nothing: {why}")


def test_a_runner_that_tells_no_parts() -> None:
    assert "stop and start it" in advice(figures(There(0.005, {}, 1, 1.0))).why


# ---------------------------------------------------------------- the line to type


def test_the_line_changes_one_setting_and_leaves_the_others() -> None:
    version, live = samples.version(), samples.deployment(3)
    number = version.version

    def line(change: Advice, endpoint: str = "churn", zone: str = "dev-alice", **now: Any) -> str:
        return deploy_line(endpoint, version, live.model_copy(update=now), change, zone)

    two = Advice("", replicas=2)
    assert line(two) == f"%mp_deploy churn:{number} --replicas 2"
    assert line(two, endpoint="churn-eu") == f"%mp_deploy churn:{number} --name churn-eu --replicas 2"
    assert line(two, zone="dev-bob") == f"%mp_deploy dev-alice.churn:{number} --replicas 2"
    assert line(Advice("", cpu=4)) == f"%mp_deploy churn:{number} --cpu 4"
    larger = Resources(cpu=0.5, memory=1 << 30)
    assert line(two, resources=larger) == f"%mp_deploy churn:{number} --replicas 2 --cpu 0.5 --memory 1024Mi"
    assert line(Advice("", cpu=4), resources=larger) == f"%mp_deploy churn:{number} --cpu 4 --memory 1024Mi"


# ---------------------------------------------------------------- the card


def timed(found: Figures, why_not_here: str = "") -> Timed:
    return Timed("churn", samples.version(), samples.deployment(3), found, zone="dev-alice", why_not_here=why_not_here)


def test_five_lines() -> None:
    result = timed(figures(there(way=0.62, queue=0.03, check=0.4, model=14, encode=0.05, cpu=0.25)))
    head, *lines = plain(result.card()).splitlines()
    assert head.split("  ")[0] == "churn"
    assert head.endswith("100 rows in one call")
    assert [line.rstrip() for line in lines] == [
        "notebook   4.00 ms    25,000 rows per second   the object that was published",
        "endpoint   15.1 ms     6,623 rows per second   3.8 × the notebook's time",
        "of which  way 0.62 (network, gateway, JSON here) · queue 0.03 · check 0.40 · model 14.0 · encode 0.05 ms",
        "threads   4 here · there 1 runner of 0.25 CPU, 1 thread",
        "change    %mp_deploy churn:3 --cpu 4   the model uses 4 threads here and 1 there",
    ]
    assert result.line == "%mp_deploy churn:3 --cpu 4"
    assert [line for line in markdown(result.card()).splitlines() if line.startswith("| ")][1:] != []
    assert (
        sum(line.startswith("| ") and not line.startswith("| |") for line in markdown(result.card()).splitlines()) == 5
    )
    assert result.card().data["change"] == result.line
    assert result.card().data["parts"]["model"] == 0.014


def test_five_lines_of_the_endpoint_alone() -> None:
    why = "not measured: churn version 3 needs shap, which this kernel does not have."
    result = timed(Figures(1, 2, None, there(replicas=2, way=2), More(1000, 0.002)), why)
    _, notebook, endpoint, _, threads, change = plain(result.card()).splitlines()
    assert notebook == f"notebook  {why}"
    assert "notebook" not in endpoint
    assert threads == "threads   there 2 runners of 1 CPU, 1 thread each"
    assert change == "change    send 1,000 rows in a call: 500,000 rows per second, 1,000 × as many"
    assert result.line is None
    assert result.card().data["notebook"] is None


def test_five_lines_where_the_runner_tells_nothing() -> None:
    lines = plain(timed(figures(There(0.005, {}, 1, 1.0))).card()).splitlines()
    assert lines[3] == "of which  not told by its runner"
    assert len(lines) == 6


# ---------------------------------------------------------------- measuring


def test_the_header_is_read_in_seconds() -> None:
    parts = parts_of("queue;dur=0.031, check;dur=0.2, model;dur=12, encode;dur=0.030")
    assert parts == pytest.approx({"queue": 0.000031, "check": 0.0002, "model": 0.012, "encode": 0.00003})
    assert parts_of("") == parts_of("cache;dur=1") == {}


@pytest.mark.parametrize(("step", "calls"), [(0.0001, 50), (0.15, 7), (0.8, 3), (1.2, 1)])
def test_calls_are_repeated_within_bounds(monkeypatch: pytest.MonkeyPatch, step: float, calls: int) -> None:
    clock = itertools.count(step=step)
    monkeypatch.setattr(measure, "perf_counter", lambda: next(clock))
    asked: list[None] = []
    assert repeated(lambda: asked.append(None)) == pytest.approx([step] * calls)
    assert len(asked) == (calls if calls == 1 else calls + 1)


def test_jobs_that_a_model_was_told_to_run_at_once() -> None:
    assert jobs_of(RandomForestClassifier(n_jobs=3)) == 3
    assert jobs_of(RandomForestClassifier(n_jobs=-1)) == (os.cpu_count() or 1)
    assert jobs_of(make_pipeline(RandomForestClassifier(n_jobs=2))) == 2
    assert jobs_of(RandomForestClassifier()) is None
    assert jobs_of(len) is None


def test_a_published_object_is_remembered_for_as_long_as_it_is_there() -> None:
    version = samples.version().model_copy(update={"artifact_sha256": "sha256:" + "7" * 64})
    model = LogisticRegression()
    remember(version, model)
    assert remembered(version) is model
    del model
    assert remembered(version) is None
    remember(version, None)
    remember(version, [1, 2])
    assert remembered(version) is None
