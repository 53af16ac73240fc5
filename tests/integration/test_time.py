"""Notebook and endpoint side by side, with a real server, gateway and runner."""

from __future__ import annotations

import gc
import json
import re
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from IPython.core.interactiveshell import InteractiveShell
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from model_platform.cli.main import main
from model_platform.timing.figures import PARTS
from model_platform_core.errors import EndpointNotFoundError, InvalidInputError, TargetUnavailableError

FRAME = pd.DataFrame({"age": [25.0, 40.0, 61.0, 33.0, 58.0, 47.0] * 10, "income": np.linspace(1.0, 4.0, 60)})


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    """What this process published, held as a notebook holds it."""
    return {}


@pytest.fixture
def churn(mp: Any, models: dict[str, Any]) -> Any:
    """An endpoint whose model was published by this process."""
    if not models:
        models["churn"] = make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME, FRAME["age"] > 41)
        mp.publish(models["churn"], "churn", data=FRAME, example=FRAME[:20])
        mp.deploy("churn")
    return mp.status("churn")


def lines_of(timed: Any) -> list[str]:
    return str(timed).splitlines()


def test_the_gateway_passes_what_a_call_asks_and_is_told(churn: Any) -> None:
    headers = {"Authorization": f"Bearer {churn.token()}"}
    rows = FRAME[:3].to_dict(orient="records")
    timed = httpx.post(churn.url, json=rows, headers={**headers, "X-Server-Timing": "1"}, timeout=30)
    assert re.findall(r"(\w+);dur=[\d.]+", timed.headers["Server-Timing"]) == list(PARTS)
    plain = httpx.post(churn.url, json=rows, headers=headers, timeout=30)
    assert "Server-Timing" not in plain.headers
    assert plain.json() == timed.json()


def test_five_lines_with_the_object_of_this_process(mp: Any, churn: Any) -> None:
    timed = mp.time("churn", FRAME[:50])
    head, *lines = lines_of(timed)
    assert head.endswith("50 rows in one call")
    assert [line.split()[0] for line in lines] == ["notebook", "endpoint", "of", "threads", "change"]
    assert "the object that was published" in lines[0]
    figures = timed.figures
    assert figures.here.seconds > 0
    assert set(figures.there.parts) == set(PARTS)
    assert 0 < sum(figures.there.parts.values()) <= figures.there.seconds + 0.001
    assert (figures.there.replicas, figures.there.cpu, figures.rows_independent) == (1, 0.25, True)
    assert figures.room == pytest.approx(2.0)


def test_the_magic_takes_an_expression(mp: Any, churn: Any) -> None:
    shell = InteractiveShell.instance()
    try:
        shell.user_ns["X_test"] = FRAME
        shell.run_line_magic("load_ext", "model_platform")
        timed = shell.run_line_magic("mp_time", "churn X_test[X_test.age > 40][:10]")
        assert (timed.figures.rows, len(lines_of(timed))) == (10, 6)
    finally:
        InteractiveShell.clear_instance()


def publish_and_time(mp: Any) -> Any:
    def total(frame: pd.DataFrame) -> Any:
        return frame["age"] + frame["income"]

    mp.publish(total, "total", example=FRAME[:20])
    mp.deploy("total")
    return mp.time("total", FRAME[:5])


def test_where_the_object_is_gone_the_version_is_loaded(mp: Any, churn: Any) -> None:
    assert "the object that was published" in lines_of(publish_and_time(mp))[1]
    gc.collect()
    assert "the version, loaded from the platform" in lines_of(mp.time("total", FRAME[:5]))[1]
    mp.stop("total")


def test_more_rows_than_one_call_takes(mp: Any, churn: Any) -> None:
    timed = mp.time("churn", pd.concat([FRAME] * 100, ignore_index=True))
    assert lines_of(timed)[0].endswith("6,000 rows in 2 calls")
    assert timed.figures.more is None


def test_a_terminal_gives_a_file(churn: Any, tmp_path: Path) -> None:
    FRAME[:20].to_csv(tmp_path / "rows.csv", index=False)
    result = CliRunner().invoke(main, ["time", "churn", str(tmp_path / "rows.csv")])
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 6
    result = CliRunner().invoke(main, ["time", "churn", str(tmp_path / "rows.csv"), "--json"])
    told = json.loads(result.stdout)
    assert told["rows"] == 20
    assert set(told["parts"]) == {"way", *PARTS}
    assert told["notebook"]["seconds"] > 0


def test_a_model_that_cannot_be_asked_here_leaves_the_endpoints_side(mp: Any, churn: Any) -> None:
    def picky(frame: pd.DataFrame) -> Any:
        return frame["age"] * 2

    mp.publish(picky, "picky", example=FRAME[:20])
    mp.deploy("picky")
    records = FRAME[:5].to_dict(orient="records")  # the endpoint makes a table of them, a function is called as it is
    notebook = lines_of(mp.time("picky", records))[1]
    assert notebook == "notebook  not measured: here the model does not take the rows in this form (TypeError)"
    mp.stop("picky")


def test_what_cannot_be_timed_is_told(mp: Any, churn: Any) -> None:
    with pytest.raises(InvalidInputError, match='"age" must be a number'):
        mp.time("churn", FRAME[:3].assign(age="old"))
    with pytest.raises(InvalidInputError, match="no rows"):
        mp.time("churn", FRAME[:0])
    with pytest.raises(EndpointNotFoundError):
        mp.time("nobody", FRAME)
    mp.stop("churn")
    with pytest.raises(TargetUnavailableError, match="churn does not answer: stopped") as stopped:
        mp.time("churn", FRAME[:3])
    assert stopped.value.hint == "%mp_start churn"
    mp.start("churn")
    assert len(lines_of(mp.time("churn", FRAME[:3]))) == 6
