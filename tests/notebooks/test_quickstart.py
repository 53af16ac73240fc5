"""The quickstart from beginning to end: as `make demo` runs it, and by papermill, which keeps what it saw."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest

from support.private import private_server, run

PROGRAMS = Path(sys.executable).parent
NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
CARD = "application/vnd.model-platform.card.v1+json"
REFUSAL = """\
penguins was not published: 5 mandatory fields are missing (tier 1, zone {zone})
  purpose       what is decided with it                     add  --purpose "…"
  for_whom      who uses it                                 add  --for-whom "…"
  limitations   where it is known to be wrong or untested   add  --limitations "…"
  licence       under which terms it may be used            add  --licence "…"
  metrics       how good it is, and on which data           add  --metrics scores
Nothing was registered. The model is still in memory; run the cell again."""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A user who has published nothing yet: what a card says is carried to the next version."""
    with private_server(tmp_path_factory.mktemp("home")) as found:
        yield found


@pytest.fixture(scope="module")
def papermill(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> tuple[Path, str]:
    """The notebook that papermill has written, and what it has said."""
    written = tmp_path_factory.mktemp("papermill") / "executed.ipynb"
    command = [PROGRAMS / "papermill", "--no-progress-bar", NOTEBOOKS / "quickstart.ipynb", written]
    done = run(command, environment, written.parent)
    assert done.returncode == 1, (
        done.stderr
    )  # papermill calls a run failed whose notebook shows an error, expected or not
    return written, done.stderr


@pytest.fixture(scope="module")
def cells(papermill: tuple[Path, str]) -> dict[str, Any]:
    """The cells of the written notebook by the first line of ours in them, else by their first line."""
    notebook = nbformat.read(papermill[0], as_version=4)
    nbformat.validate(notebook)
    return {title(cell.source): cell for cell in notebook.cells if cell.cell_type == "code"}


def title(source: str) -> str:
    lines = source.splitlines()
    return next((line for line in lines if "%mp_" in line), lines[0]).removesuffix(" \\")


def text(cell: Any) -> str:
    return "\n".join(output.get("text") or output.data["text/plain"] for output in cell.outputs)


def test_the_demo_says_in_words_what_happened(tmp_path: Path) -> None:
    with private_server(tmp_path) as fresh:
        done = run([sys.executable, NOTEBOOKS / "demo.py"], fresh)
    assert (done.returncode, done.stderr) == (0, "")
    told = done.stdout
    zone = re.search(r"(\S+)  1 endpoint", told)
    assert zone is not None
    for part in (
        "Publish and deploy\n──",
        "  code      notebooks/quickstart.ipynb, 2 cells as run",
        "20 of 20 answers as in the notebook, largest difference 0",
        '\n  [{"prediction":"Adelie"}]\n',
        "  (200,\n   [{'prediction': 'Adelie'},",
        "  (422,\n   {'error': 'Row 0, \"body_mass_g\" must be a number, not a string.',",
        "  back      %mp_rollback penguins",
        "\n".join(f"  {line}" for line in REFUSAL.format(zone=zone[1]).splitlines()),
        "  penguins  stopped",
    ):
        assert part in told
    assert re.search(
        r"\n  > curl .*\n  \[\{\"prediction\":\"Chinstrap\"\}\]\n\nDone in \d+ s\. The endpoint is live", told
    )
    assert "jupyter lab notebooks/quickstart.ipynb" in told
    assert "eyJ" not in told  # no token, not even ours


def test_papermill_runs_all_of_it_and_tells_of_the_refusal(papermill: tuple[Path, str], cells: dict[str, Any]) -> None:
    refused = cells["%mp_publish model --name penguins --tier 1 --data X_train --example X_test[:20]"]
    (error,) = [output for output in refused.outputs if output.output_type == "error"]
    zone = cells["%mp_status"].outputs[0].data[CARD]["title"]
    assert error.ename == "CardIncompleteError"
    assert "\n".join(error.traceback) == REFUSAL.format(zone=zone)
    assert papermill[1].rstrip().endswith(REFUSAL.format(zone=zone))
    assert all(cell.execution_count for cell in cells.values())
    others = [cell for cell in cells.values() if cell is not refused]
    assert [output for cell in others for output in cell.outputs if output.output_type == "error"] == []


def test_the_saved_notebook_tells_the_whole_story(cells: dict[str, Any]) -> None:
    said = {name: text(cell) for name, cell in cells.items() if name != "import json" and "--tier" not in name}
    assert re.search(
        r"penguins  version \d+ +published in",
        said["%mp_publish model --name penguins --data X_train --example X_test[:20] --metrics scores"],
    )
    live = said["endpoint = %mp_deploy penguins"]
    assert "parity    20 of 20 answers as in the notebook, largest difference 0" in live
    assert said["token = endpoint.token()"] == '[{"prediction":"Adelie"}]'
    before, after, back = (
        re.search(r"version   (\d+)", said[name])
        for name in ("endpoint = %mp_deploy penguins", "%mp_deploy penguins", "%mp_rollback penguins")
    )
    assert before
    assert after
    assert back
    assert int(after[1]) == int(before[1]) + 1
    assert back[1] == before[1]
    assert "stopped; nothing runs" in said["%mp_stop penguins"]


def test_cards_are_kept_in_every_form(cells: dict[str, Any]) -> None:
    seen = []
    for name, cell in cells.items():
        if not re.search("%mp_(publish|deploy|rollback|status|card|stop)", name):
            continue
        data = cell.outputs[-1].get("data")
        if data is None:
            continue  # the refusal
        seen.append(data[CARD]["kind"])
        assert data.keys() == {CARD, "text/html", "text/markdown", "text/plain"}
        word = data[CARD]["title"]
        assert all(word in data[form] for form in ("text/html", "text/markdown", "text/plain"))
        assert "<script" not in data["text/html"]
        assert re.search(r"\bsrc=|@import|url\(|<link", data["text/html"]) is None  # nothing is fetched from elsewhere
        json.dumps(data[CARD], allow_nan=False)
    assert sorted(seen) == [
        "card",
        "endpoint",
        "endpoint",
        "endpoint",
        "endpoint",
        "published",
        "published",
        "published",
        "status",
    ]


@pytest.mark.parametrize(("form", "mark"), [("html", "<td"), ("markdown", "<td")])
def test_exports_show_the_cards(papermill: tuple[Path, str], environment: dict[str, str], form: str, mark: str) -> None:
    command = [PROGRAMS / "jupyter", "nbconvert", "--to", form, "--stdout", papermill[0]]
    done = run(command, environment, papermill[0].parent)
    assert done.returncode == 0, done.stderr
    assert mark in done.stdout
    assert "20 of 20 answers as in the notebook" in done.stdout
    assert "5 mandatory fields are missing" in done.stdout


def test_no_token_is_kept_in_the_notebook(papermill: tuple[Path, str]) -> None:
    assert "eyJ" not in papermill[0].read_text()  # how a signed token begins


def test_what_the_notebook_stopped_answers_no_more(cells: dict[str, Any]) -> None:
    url = cells["endpoint = %mp_deploy penguins"].outputs[-1].data[CARD]["data"]["status"]["url"]
    answer = httpx.post(url, json=[{}])
    assert (answer.status_code, answer.json()["code"]) == (404, "endpoint_not_found")
