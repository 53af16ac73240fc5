"""What a run of the benchmarks leaves: figures that the next run goes on after, and a table."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bench import machine, table
from bench.figures import FIGURES
from bench.outcomes import Outcome, Side, exact
from bench.results import Results, read

BY_KEY = {figure.key: figure for figure in FIGURES}


@pytest.fixture
def results(tmp_path: Path) -> Results:
    found = Results(tmp_path / "results.json", "make bench", 3, 4)
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


BUSY = "import time\nend = time.monotonic() + 0.4\nwhile time.monotonic() < end: pass\ntime.sleep(60)"


def test_others_are_told_from_ours_by_family_or_by_where_their_temporary_files_go(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    command = [sys.executable, "-c", BUSY]
    child = subprocess.Popen(command, env={**os.environ, "TMPDIR": str(tmp_path / "ours")})
    try:
        assert child.pid in machine.family(os.getpid())
        while child.pid not in machine.marked(tmp_path / "ours"):  # it has not become the program yet
            time.sleep(0.01)
        assert machine.marked(tmp_path / "ours") == {child.pid}
        before = machine.processor_seconds([child.pid])
        deadline = time.monotonic() + 30
        while machine.processor_seconds([child.pid]) < max(before, 0.2) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert machine.processor_seconds([child.pid]) >= 0.2
        assert 1 < machine.memory([child.pid]) < 1000
    finally:
        child.kill()
        child.wait()
    assert machine.memory([child.pid]) == 0
