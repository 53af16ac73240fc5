"""How errors look: in a cell, in a script, in a terminal."""

from __future__ import annotations

import subprocess
import sys

import pytest

from model_platform.cli.output import status_of_error
from model_platform.errors import explain, explained, in_notebook, in_python, in_shell
from model_platform_core.errors import (
    CardIncompleteError,
    EndpointNotFoundError,
    FieldProblem,
    InvalidNameError,
    all_codes,
    error_from_code,
)

REFUSED = CardIncompleteError(
    "churn was not published: 2 mandatory fields are missing (tier 1, zone project-crm)",
    fields=[
        FieldProblem(field="purpose", problem="what is decided with it", add='--purpose "…"'),
        FieldProblem(field="for_whom", problem="who uses it", add='--for-whom "…"'),
    ],
    hint="Nothing was registered. The model is still in memory; run the cell again.",
)

TEXT = """\
churn was not published: 2 mandatory fields are missing (tier 1, zone project-crm)
  purpose    what is decided with it   add  --purpose "…"
  for_whom   who uses it               add  --for-whom "…"
Nothing was registered. The model is still in memory; run the cell again."""


def test_the_whole_of_a_refusal() -> None:
    assert explain(REFUSED) == TEXT


@pytest.mark.parametrize(
    ("text", "python", "shell"),
    [
        ('--for-whom "…"', 'for_whom="…"', '--for-whom "…"'),
        ("%mp_status", "mp.status()", "mp status"),
        ("%mp_rollback churn", 'mp.rollback("churn")', "mp rollback churn"),
        ("%mp_deploy churn:3 --breaking", 'mp.deploy("churn:3", breaking=True)', "mp deploy churn:3 --breaking"),
        ("%mp_status lists the endpoints", "mp.status() lists the endpoints", "mp status lists the endpoints"),
        ("--tier 3", "tier=3", "--tier 3"),
        ("%mp_publish model --name churn", 'mp.publish(model, name="churn")', "mp publish model --name churn"),
        ("%mp_status churn", 'mp.status("churn")', "mp status churn"),
        ("add --metrics scores", "add metrics=scores", "add --metrics scores.json"),
        ("ask alice to resize dev-alice", "ask alice to resize dev-alice", "ask alice to resize dev-alice"),
    ],
)
def test_the_line_to_type_fits_where_it_is_read(text: str, python: str, shell: str) -> None:
    assert (in_notebook(text), in_python(text), in_shell(text)) == (text, python, shell)


def test_a_cell_shows_no_traceback() -> None:
    @explained(in_python)
    def publish() -> None:
        raise REFUSED

    with pytest.raises(CardIncompleteError) as caught:
        publish()
    shown: list[str] = caught.value._render_traceback_()  # type: ignore[attr-defined]
    assert "\n".join(shown) == TEXT.replace('--purpose "…"', 'purpose="…"').replace('--for-whom "…"', 'for_whom="…"')


def test_a_script_shows_the_lines_beneath_its_traceback() -> None:
    program = "import model_platform as mp; mp.deploy('no name!')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"MP_SERVER": "http://127.0.0.1:9", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    message, hint = done.stderr.splitlines()[-2:]
    assert message.startswith("model_platform_core.errors.ServerUnavailableError: The platform server at http://127.0")
    assert message.endswith("(Connection refused). Endpoints that are live go on answering.")
    assert hint == "mp.zone() shows which server is used, and why; mp doctor looks further"


def test_every_code_has_an_exit_status() -> None:
    statuses = {code: status_of_error(error_from_code(code, "")) for code in all_codes()}
    assert statuses["invalid_card"] == 2
    assert statuses["forbidden"] == statuses["unauthenticated"] == 3
    assert statuses["endpoint_not_found"] == 4
    assert statuses["conflict_endpoint_busy"] == 5
    assert statuses["refused_card_incomplete"] == 6
    assert statuses["exceeds_quota"] == statuses["unsupported_by_target"] == 7
    assert statuses["unavailable_server"] == 8
    assert statuses["failed_parity"] == 9
    assert {code for code, status in statuses.items() if status == 1} <= {"internal_error"}


def test_errors_of_a_newer_server_are_told_too() -> None:
    error = error_from_code("refused_something_new", "It may not be.", hint="do this")
    assert explain(error) == "It may not be.\ndo this"
    assert status_of_error(error) == 6


def test_names_are_told_with_their_rule() -> None:
    from model_platform_core.refs import ModelRef

    with pytest.raises(InvalidNameError, match="'churn model' is no name for a model: use letters"):
        ModelRef.parse("churn model")
    assert isinstance(error_from_code("endpoint_not_found", ""), EndpointNotFoundError)
