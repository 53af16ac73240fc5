"""Nothing of a row leaves a runner but in its answer, whatever the model does with it."""

from __future__ import annotations

import json
from typing import Any

import pytest

ROW = "bob@example.org 4711"


@pytest.mark.parametrize(
    ("does", "error"),
    [
        ("raise", "The model failed: RuntimeError."),
        ("exit", "The model failed: SystemExit."),
        ("stop", "The model failed: StopIteration."),
        ("object", "The model's answer cannot be written as JSON (object)."),
    ],
)
def test_a_model_that_fails_is_told_by_type_alone(served: Any, does: str, error: str) -> None:
    runner = served("talkative")
    answer = runner.calls.post("/", json=[{"text": f"{does} {ROW}"}])
    assert (answer.status_code, answer.json()) == (500, {"error": error, "code": "failed_prediction"})
    assert runner.calls.post("/", json={"text": "still here"}).json()["text"] == "still here"


def test_what_a_model_says_reaches_no_log(served: Any) -> None:
    runner = served("talkative")
    before = runner.metric("mp_model_output_total")
    identity = {"x-request-id": "the-last-one"}
    assert runner.calls.post("/", json=[{"text": ROW}]).json()[0]["text"] == ROW
    assert runner.calls.post("/", json=[{"text": ROW, ROW: ROW}]).status_code == 422
    assert runner.calls.post(f"/{ROW}?text={ROW}", json=[], headers=identity).status_code == 404
    assert runner.metric("mp_model_output_total") >= before + 4
    while "the-last-one" not in runner.log():
        pass
    assert "bob@" not in runner.log()
    assert "bob@" not in runner.control.get("/metrics").text
    calls = [event for event in runner.events() if event["event"] == "call"]
    assert {"event", "at", "method", "path", "status", "rows", "ms", "request_id"} == set(calls[-1])
    assert (calls[-1]["path"], calls[-1]["status"]) == (None, 404)


def test_of_what_is_missing_a_name_is_told_only_as_far_as_it_stands_in_the_code(served: Any) -> None:
    runner = served("talkative")
    for does in ("read", "open", "plugin", "within", "whole", "import"):
        assert runner.calls.post("/", json=[{"text": f"{does} {ROW}"}]).status_code == 500
    while len(told := [event["message"] for event in runner.events() if event["event"] == "lacking"]) < 3:
        pass
    whole = "customers/all/profile.json"
    assert told == [
        "The model reads a profile.json in a folder that did not travel with it; publish that with --with.",
        f"The model reads {whole}, which did not travel with it; publish it with --with {whole}.",
        "The model's environment has no module named absent.",
    ]
    assert "bob@" not in runner.log()


def test_where_it_may_be_kept_it_is_told(models: Any, launch: Any) -> None:
    runner = launch(models["talkative"].directory, keep_output=True)
    runner.wait_for_event("ready")
    assert runner.calls.post("/", json=[{"text": ROW}]).status_code == 200
    assert ROW in runner.wait_for_event("output")["text"]
    assert runner.metric("mp_model_output_total") > 0


def test_every_line_of_the_journal_is_json_once_the_model_is_loaded(served: Any) -> None:
    runner = served("talkative")
    runner.calls.post("/", json=[{"text": ROW}])
    lines = runner.log().splitlines()
    loaded = next(n for n, line in enumerate(lines) if '"event":"loaded"' in line)
    assert all(json.loads(line)["event"] for line in lines[loaded:])


def test_a_model_leaves_nothing_in_its_directory_or_beside(served: Any, models: Any) -> None:
    runner = served("talkative")
    runner.calls.post("/", json=[{"text": ROW}])
    directory = models["talkative"].directory
    found = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}
    assert found == set(runner.config["files"])
    beside = {path.name for path in runner.journal.parent.iterdir()}
    assert beside == {"config.json", "journal", "calls", "control", "work"}
