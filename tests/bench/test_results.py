"""What a run of the benchmarks leaves: figures that the next run goes on after, and a table."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bench import machine, table
from bench.figures import FIGURES
from bench.outcomes import Outcome, Side, exact
from bench.results import Results, read

BY_KEY = {figure.key: figure for figure in FIGURES}


@pytest.fixture
def results(tmp_path: Path) -> Results:
    found = Results(tmp_path / "results.json", 3, 4)
    found.put("regression-kserve", Outcome(Side(45_000, 44_000, 46_000, 20.5), Side(2_400, 2_300, 2_500, 428), 3, 4))
    found.put("fork", exact(17.25))
    found.put("deploy", Outcome(trouble="no server"))
    return found


def test_results_are_read_as_they_were_written(results: Results) -> None:
    again = read(results.file)
    assert again == results
    assert read(results.file.with_name("none.json")) is None
    results.file.write_text("{")
    assert read(results.file) is None


def test_the_line_of_a_figure(results: Results) -> None:
    assert table.line(BY_KEY["regression-kserve"], results.outcomes["regression-kserve"]) == (
        "met            logistic regression, one row, 32 connections, direct: ours 45,000 requests/s, "
        "KServe 2,400 requests/s, ratio 18.8 ×, required ≥ 15 ×, aimed ≥ 20 ×, CPU 20.5 µs / 428 µs"
    )
    assert table.line(BY_KEY["fork"], results.outcomes["fork"]) == (
        "as aimed       fork to first answer: ours 17.2 ms, required ≤ 50, aimed ≤ 20"
    )


def test_the_table_stands_between_its_marks_and_tells_what_was_not_measured(results: Results, tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    head, mark, end = (
        "# Performance\n",
        "<!-- written by `python -m bench --table` from bench/results.json -->\n",
        "rest\n",
    )
    document.write_text(f"{head}{mark}old\n<!-- end of the table -->\n{end}")
    table.write_into(document, results)
    table.write_into(document, results)  # the same again changes nothing
    text = document.read_text()
    assert text.startswith(head + mark)
    assert text.endswith(f"<!-- end of the table -->\n{end}")
    assert "old" not in text
    assert "`make bench`" in text
    lines = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert len(lines) == len(FIGURES)
    assert sum("not measured" in line for line in lines) == len(FIGURES) - 3
    assert sum("FAILED: no server" in line for line in lines) == 1
    document.write_text(head)
    with pytest.raises(ValueError, match="lacks the marks"):
        table.write_into(document, results)


def test_a_run_goes_on_after_what_an_interrupted_one_has_measured(results: Results) -> None:
    keys = ["regression-kserve", "deploy"]
    following = Results(results.file, 3, 4)
    following.go_on_after(results, keys)
    assert set(following.outcomes) == {"regression-kserve", "fork"}  # what failed is tried again
    following.put("deploy", exact(0.2))

    after = Results(results.file, 3, 4)
    after.go_on_after(following, keys)  # that one came to its end: these are measured anew, and others stay
    assert set(after.outcomes) == {"fork"}

    anew = Results(results.file, 3, 4)
    anew.go_on_after(results, keys, anew=True)
    assert set(anew.outcomes) == {"fork"}
    other_settings = Results(results.file, 5, 4)
    other_settings.go_on_after(results, keys)
    assert other_settings.outcomes == {}


BUSY = "import time\nwhile time.process_time() < 0.4: pass\ntime.sleep(60)"


def test_others_are_told_from_ours_by_family_or_by_where_their_temporary_files_go(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    command = [sys.executable, "-c", BUSY]
    child = subprocess.Popen(command, env={**os.environ, "TMPDIR": str(tmp_path / "ours")})
    try:
        assert child.pid in machine.family(os.getpid())
        for _ in machine.until(60, "its start"):
            if child.pid in machine.marked(tmp_path / "ours"):  # before, it is a copy of ourselves
                break
        assert machine.marked(tmp_path / "ours") == {child.pid}
        for _ in machine.until(60, "its work"):
            if machine.processor_seconds([child.pid]) >= 0.3:
                break
        assert 1 < machine.memory([child.pid]) < 1000
    finally:
        child.kill()
        child.wait()
    assert machine.memory([child.pid]) == 0
