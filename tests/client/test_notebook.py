"""The magics in a real IPython shell, and in a kernel under papermill, against a real server."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import start_new_kernel

from model_platform import client as connection
from model_platform.capture.result import Published
from model_platform.display.card import MIME_TYPE
from model_platform.endpoint import EndpointHandle
from model_platform.errors import WaitingForFormError
from model_platform.magics import load
from model_platform.widgets import form as forms
from model_platform_core.deployments import EndpointState
from model_platform_core.errors import CardIncompleteError, ModelPlatformError
from support.servers import RunningServer, running_server, wait_until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("home")) as found:
        wait_until(found.ready, 120, "MLflow's start")
        yield found


@pytest.fixture(scope="module")
def shell(
    server: RunningServer,
    classifier: Any,
    penguins: tuple[pd.DataFrame, pd.Series],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[InteractiveShell]:
    """A shell with a model, rows, and the magics."""
    before = os.environ.get("MP_HOME")
    os.environ["MP_HOME"] = str(server.state)
    os.environ["IPYTHONDIR"] = str(tmp_path_factory.mktemp("ipython"))
    shell = InteractiveShell.instance()
    shell.history_manager.enabled = False  # type: ignore[union-attr]
    shell.user_ns |= {"model": classifier, "X": penguins[0], "y": penguins[1], "np": np}
    load(shell)
    connection.connect()
    yield shell
    connection.current().close()
    connection._current = None
    shell.history_manager.end_session()  # type: ignore[union-attr]
    InteractiveShell.clear_instance()
    del os.environ["IPYTHONDIR"]
    os.environ.pop("MP_HOME")
    if before is not None:
        os.environ["MP_HOME"] = before


def run(shell: InteractiveShell, cell: str) -> Any:
    """The value of a cell; raises what it raises."""
    with capture_output():
        result = shell.run_cell(cell, store_history=True)
    result.raise_error()
    return result.result


def refused(shell: InteractiveShell, cell: str) -> str:
    """What the cell says when it fails."""
    with pytest.raises(ModelPlatformError) as caught:
        run(shell, cell)
    return "\n".join(caught.value._render_traceback_())  # type: ignore[attr-defined]


def test_publish_deploy_predict_rollback(shell: InteractiveShell, penguins: tuple[pd.DataFrame, pd.Series]) -> None:
    features, _ = penguins
    first = run(shell, "%mp_publish model --name birds --data X --example X[X.island == 'Biscoe'][:20] -m 'the first'")
    assert isinstance(first, Published)
    assert (first.ref, first.version) == ("dev-alice.birds:1", 1)
    assert first.details.description == "the first"
    assert first.details.lineage.data[0].name == "X"
    endpoint = run(shell, "endpoint = %mp_deploy birds\nendpoint")
    assert isinstance(endpoint, EndpointHandle)
    assert (endpoint.state, endpoint.version) == ("live", 1)
    answers = run(shell, "%mp_predict birds X[X.body_mass_g > 5000][:4]")
    assert answers.tolist() == ["Gentoo"] * 4
    assert endpoint.predict(features).tolist() == shell.user_ns["model"].predict(features).tolist()
    run(shell, "%mp_publish model --name birds --data X --alias champion")
    assert run(shell, "%mp_deploy birds@champion").version == 2
    back = run(shell, "%mp_rollback birds")
    assert (back.state, back.version) == ("live", 1)
    assert "birds" in str(run(shell, "%mp_status"))
    assert "calls" in str(run(shell, "%mp_status birds"))
    assert [model.name for model in run(shell, "%mp_models birds")] == ["birds"]
    assert run(shell, "%mp_models nothing-like-it").card().message == ("No model has 'nothing-like-it' in its name.",)
    assert any('"ready"' in line.text for line in run(shell, "%mp_logs birds"))
    token = run(shell, "%mp_token birds --days 1")
    assert token.value not in str(token) + repr(token) + repr(token._repr_mimebundle_())
    stopped = run(shell, "%mp_stop birds")
    assert stopped.state == EndpointState.STOPPED
    assert "This ends birds" in refused(shell, "%mp_delete birds")
    run(shell, "%mp_delete birds --yes")
    assert len(run(shell, "%mp_status")) == 0


def test_the_same_through_functions(shell: InteractiveShell) -> None:
    program = """
import model_platform as mp
X_train = X
published = mp.publish(model, "by-function", data=X_train, metrics={"accuracy": 0.99}, purpose="tells species apart")
again = mp.publish(model, "by-function", data=X_train)
back = mp.load("by-function:1")
"""
    run(shell, program)
    names = shell.user_ns
    assert names["published"].details.lineage.data[0].name == "X_train"
    assert names["published"].details.card.metrics[0].value == 0.99
    assert names["again"].details.card.purpose == "tells species apart"
    assert "tells species apart (as in version 1)" in str(names["again"])
    assert names["again"].details.card.metrics == ()
    assert names["back"].predict(names["X"][:3]).tolist() == names["model"].predict(names["X"][:3]).tolist()


def test_a_function_and_an_array_travel_and_come_back(shell: InteractiveShell) -> None:
    program = """
def total(rows):
    return rows.sum(axis=1)
%mp_publish total --example np.ones((3, 2))
"""
    run(shell, program)
    loaded = run(shell, "import model_platform as mp; mp.load('total')")
    assert loaded(np.ones((1, 2))).tolist() == [2.0]


def test_a_card_is_revised(shell: InteractiveShell) -> None:
    run(shell, "%mp_publish model --name carded --data X")
    before = run(shell, "%mp_card carded:1")
    after = run(shell, '%mp_card carded:1 --limitations "adults of three species" --tier 0')
    assert (before.revision.revision, after.revision.revision) == (1, 2)
    assert after.content.limitations == "adults of three species"
    assert "limitations  adults of three species" in str(after)


def test_what_is_missing_is_told_at_once_and_nothing_is_registered(shell: InteractiveShell) -> None:
    said = refused(shell, "%mp_publish model --name risky --data X --tier 1")
    assert said.splitlines()[0] == "risky was not published: 5 mandatory fields are missing (tier 1, zone dev-alice)"
    assert re.fullmatch(r'  purpose +what is decided with it +add  --purpose "…"', said.splitlines()[1])
    assert said.splitlines()[-1] == "Nothing was registered. The model is still in memory; run the cell again."
    assert len(run(shell, "%mp_models risky")) == 0


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (
            "%mp_publish modle --name birds",
            "There is no variable modle in this notebook (the model). Did you mean model?",
        ),
        ("%mp_publish X --name birds", "An object of type DataFrame has no method predict."),
        ("%mp_publish model --name 'no name'", "'no name' is no name for a model"),
        ("%mp_publish model --name birds --data Y", "There is no variable Y"),
        ("%mp_publish model --name birds --nmae x", "%mp_publish has no option --nmae. Did you mean --name?"),
        ("%mp_deploy nothing", "There is no model dev-alice.nothing."),
        ("%mp_deploy birds:x", "'x' is no version of 'birds'"),
        ("%mp_status nothing", "There is no endpoint dev-alice/nothing."),
        ("%mp_zone nowhere", "nowhere"),
        ("%mp depoly birds", "%mp deploy birds"),
    ],
)
def test_what_is_wrong_is_told_in_words(shell: InteractiveShell, cell: str, said: str) -> None:
    assert said in refused(shell, cell)


def test_mp_lists_and_runs_the_verbs(shell: InteractiveShell) -> None:
    assert "%mp_publish" in repr(run(shell, "%mp"))
    assert run(shell, "%mp zone").name == "dev-alice"
    assert run(shell, "%mp_models birds;") is None


def test_names_inside_of_a_function_are_seen(shell: InteractiveShell) -> None:
    program = """
def publish_here():
    inner = model
    return get_ipython().run_line_magic("mp_publish", "inner --name from-inside --data X")
publish_here()
"""
    assert run(shell, program).name == "from-inside"


def test_a_result_is_shown_once(shell: InteractiveShell) -> None:
    result = run(shell, "%mp_zone")
    with pytest.raises(NotImplementedError):
        result._ipython_display_()
    result.mark_shown()
    assert result._ipython_display_() is None
    with pytest.raises(NotImplementedError):
        result._ipython_display_()


# ---------------------------------------------------------------- the form


def test_the_form_finishes_the_job(shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "can_ask", lambda: True)
    opened: list[forms.Form] = []
    monkeypatch.setattr(forms.Form, "show", lambda form: opened.append(form))  # noqa: PLW0108 - a method
    run(shell, "reached = False")
    with pytest.raises(WaitingForFormError, match="form-model was not published yet: purpose, for_whom, licence"):
        run(
            shell,
            "%mp_publish model --name form-model --data X --tier 1 --metrics {'a':1} --limitations 'adults only, three'\n"
            "reached = True",
        )
    assert shell.user_ns["reached"] is False
    (form,) = opened
    form.submit()
    assert form._note.value == "Still to fill in: purpose, for_whom, licence."
    for name, text in {"purpose": "tells species apart", "for_whom": "rangers", "licence": "CC0-1.0"}.items():
        form._inputs[name].value = text
    with capture_output() as captured:
        form.submit()
    (output,) = captured.outputs
    assert "form-model  version 1" in output.data["text/plain"]
    assert "go on     with the cells below" in output.data["text/plain"]
    assert run(shell, "%mp_card form-model").content.for_whom == "rangers"


def test_a_form_that_is_refused_stays(shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "can_ask", lambda: True)
    opened: list[forms.Form] = []
    monkeypatch.setattr(forms.Form, "show", lambda form: opened.append(form))  # noqa: PLW0108 - a method
    with pytest.raises(WaitingForFormError):
        run(
            shell,
            "%mp_publish model --name form-model-2 --data X --tier 1 --metrics {'a':1} --licence x --for-whom y --limitations 'only tried here'",
        )
    (form,) = opened
    form._inputs["purpose"].value = "short"
    form.submit()
    assert "purpose" in form._note.value
    assert form._button.disabled is False
    assert len(run(shell, "%mp_models form-model-2")) == 0


def test_the_form_has_a_card_for_readers_without_widgets(shell: InteractiveShell) -> None:
    order = SimpleNamespace(name="churn", fields={})
    refusal = CardIncompleteError(
        "churn was not published", fields=[forms.FieldProblem(field="purpose", problem="what", add="--purpose")]
    )
    with capture_output() as captured:
        forms.Form(connection.current(), order, refusal).show()  # type: ignore[arg-type]
    (output,) = captured.outputs
    assert {MIME_TYPE, "text/html", "text/plain", "application/vnd.jupyter.widget-view+json"} <= set(output.data)
    assert "churn  was not published yet" in output.data["text/plain"]


def test_nobody_is_asked_where_nobody_is() -> None:
    assert forms.can_ask() is False


def test_a_guess_comes_from_the_first_words_of_the_notebook(tmp_path: Path) -> None:
    path = tmp_path / "n.ipynb"
    cells = [
        nbformat.v4.new_markdown_cell("# Churn\n\nCall customers who are likely to leave"),
        nbformat.v4.new_code_cell("1"),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    assert forms.first_words(path) == "Call customers who are likely to leave"
    path.write_text("{}")
    assert forms.first_words(path) == ""


# ---------------------------------------------------------------- papermill

CELLS = [
    "%load_ext model_platform",
    (
        "from sklearn.linear_model import LinearRegression\nimport numpy as np\nX = np.arange(6.0).reshape(3, 2)\n"
        "model = LinearRegression().fit(X, X.sum(axis=1))"
    ),
    "%mp_publish model --name papered --data X",
    "%mp_publish model --name papered --data X --tier 1",
]


def test_papermill_keeps_the_cards_and_the_errors(
    server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MP_HOME", str(server.state))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    nbformat.write(notebook, tmp_path / "in.ipynb")
    with pytest.raises(papermill.PapermillExecutionError) as caught, contextlib.suppress(DeprecationWarning):
        papermill.execute_notebook(
            str(tmp_path / "in.ipynb"), str(tmp_path / "out.ipynb"), kernel_name="python3", progress_bar=False
        )
    assert "papered was not published: " in str(caught.value)
    assert "Nothing was registered." in str(caught.value)
    assert "Traceback" not in str(caught.value)
    cells = [cell for cell in nbformat.read(tmp_path / "out.ipynb", 4).cells if cell.cell_type == "code"]
    published = next(cell for cell in cells if cell.source == CELLS[2])
    shown = [output.data for output in published.outputs if "data" in output]
    assert len(shown) == 1
    assert shown[0][MIME_TYPE]["kind"] == "published"
    assert "papered  version 1" in shown[0]["text/plain"]
    assert "<style>" in shown[0]["text/html"]
    last = next(cell for cell in cells if cell.source == CELLS[3])
    error = next(output for output in last.outputs if output.output_type == "error")
    assert error.ename == "CardIncompleteError"
    assert error.traceback[0].startswith("papered was not published")


# ---------------------------------------------------------------- a live kernel, with a person in front of it


@pytest.fixture
def kernel(server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BlockingKernelClient]:
    monkeypatch.setenv("MP_HOME", str(server.state))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    manager, client = start_new_kernel(kernel_name="python3")
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    manager.cleanup_resources()


def messages(kernel: BlockingKernelClient, request: str) -> list[dict[str, Any]]:
    """What the kernel publishes about a request, until it is idle again."""
    found: list[dict[str, Any]] = []
    while True:
        message = kernel.get_iopub_msg(timeout=120)
        if message["parent_header"].get("msg_id") != request:
            continue
        found.append({"type": message["msg_type"], **message["content"]})
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            return found


def execute(kernel: BlockingKernelClient, cell: str) -> list[dict[str, Any]]:
    return messages(kernel, kernel.execute(cell, allow_stdin=True))


def tell(kernel: BlockingKernelClient, widget: str, data: dict[str, Any]) -> list[dict[str, Any]]:
    """A message of a front end's widget."""
    message = kernel.session.msg("comm_msg", {"comm_id": widget, "data": data})
    kernel.shell_channel.send(message)
    return messages(kernel, message["header"]["msg_id"])


def test_a_person_gets_a_form_and_its_button_publishes(kernel: BlockingKernelClient) -> None:
    for cell in CELLS[:2]:
        execute(kernel, cell)
    found = execute(
        kernel,
        f"{CELLS[2]} --tier 1 --metrics {{'r2':1}} --limitations 'sums of two' --licence MIT".replace(
            "papered", "asked"
        ),
    )
    shown = [one["data"] for one in found if one["type"] == "display_data" and "text/html" in one["data"]]
    form = shown[-1]
    assert "application/vnd.jupyter.widget-view+json" in form
    assert form[MIME_TYPE]["kind"] == "refused"
    error = next(one for one in found if one["type"] == "error")
    assert error["ename"] == "WaitingForFormError"
    assert error["traceback"] == [
        "asked was not published yet: purpose, for_whom to fill in above.",
        "Press Publish there, then go on with the cells below this one.",
    ]
    opened = [one for one in found if one["type"] == "comm_open"]
    texts = [one["comm_id"] for one in opened if one["data"]["state"].get("_model_name") == "TextModel"]
    (button,) = [one["comm_id"] for one in opened if one["data"]["state"].get("_model_name") == "ButtonModel"]
    for widget, text in zip(texts, ["adds two figures", "everybody"], strict=True):
        tell(kernel, widget, {"method": "update", "state": {"value": text}, "buffer_paths": []})
    told = tell(kernel, button, {"method": "custom", "content": {"event": "click"}})
    (update,) = [
        one
        for one in told
        if one["type"] == "update_display_data" and one["data"].get(MIME_TYPE, {}).get("kind") == "published"
    ]
    assert "asked  version 1" in update["data"]["text/plain"]
    assert update["transient"]["display_id"]


def test_progress_of_a_slow_step_becomes_the_card_in_its_place(kernel: BlockingKernelClient) -> None:
    for cell in CELLS[:2]:
        execute(kernel, cell)
    program = "class Slow:\n    def predict(self, rows):\n        import time\n        time.sleep(0.4)\n        return rows[:, 0]\n"
    found = execute(kernel, program + "slow = Slow()\n%mp_publish slow --data X[:1]")
    kinds = [
        (one["type"], one["data"][MIME_TYPE]["kind"], one["transient"].get("display_id"))
        for one in found
        if MIME_TYPE in one.get("data", {})
    ]
    own = [kind for kind in kinds if kind[2] == kinds[-1][2]]
    assert own[0][:2] == ("display_data", "progress")
    assert own[-1][:2] == ("update_display_data", "published")
    assert not any(one["type"] == "execute_result" for one in found)
