"""Following logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_platform_core.wire import LogLine
from model_platform_server.adapters.local import logs


def test_lines_come_whole_and_those_of_a_new_runner_from_its_beginning(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("a\nb\nhal")
    listed = [("v1", "r1", one)]
    found = logs.read_logs(lambda: listed, 1, follow=True)
    assert next(found) == LogLine(deployment="v1", runner="r1", text="b")
    with one.open("a") as file:
        file.write("f\n")
    assert next(found).text == "half"
    two.write_text("c\n")
    listed.append(("v1", "r2", two))
    assert next(found) == LogLine(deployment="v1", runner="r2", text="c")
    one.write_text("d\n")
    assert next(found).text == "d"


def test_where_nothing_comes_a_line_without_text_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_SILENCE", 0.1)
    found = logs.read_logs(lambda: [("v1", "r1", tmp_path / "none")], 10, follow=True)
    assert next(found).text == ""
    assert next(found).text == ""


def test_without_following_it_ends(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a\nb\nc\n")
    found = logs.read_logs(lambda: [("v1", "r1", tmp_path / "log")], 2, follow=False)
    assert [line.text for line in found] == ["b", "c"]
