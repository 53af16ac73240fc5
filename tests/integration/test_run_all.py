"""Run All is safe: where a publish waits for a person, or fails, no later cell deploys the version before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from model_platform.widgets.form import assigned_by_publish
from support.servers import RunningServer

TRAIN = """
%load_ext model_platform
import numpy as np
from sklearn.linear_model import LinearRegression
X = np.arange(6.0).reshape(3, 2)
model = LinearRegression().fit(X, {factor} * X.sum(axis=1))
"""
FIRST = [TRAIN.format(factor=1), "version = %mp_publish model --name {name} --example X", "%mp_deploy {name}"]
AGAIN = [
    TRAIN.format(factor=2),
    """
version = %mp_publish model --name {name} --example X --data X --tier 1 --metrics {{'r2':1}} --licence MIT \
    --limitations 'sums of two figures'
""".strip(),
    "%mp_deploy {name}",
    "reached = True",
]


@pytest.fixture
def kernel(server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BlockingKernelClient]:
    monkeypatch.setenv("MP_HOME", str(server.state))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(tmp_path))
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    manager.cleanup_resources()


def run_all(kernel: BlockingKernelClient, cells: list[str]) -> tuple[list[str], list[dict[str, Any]]]:
    """Send all cells at once, as a front end does; how each ended, and what the kernel published meanwhile."""
    requests = [kernel.execute(cell, allow_stdin=True) for cell in cells]
    ended = {}
    while not ended.keys() >= set(requests):
        reply = kernel.get_shell_msg(timeout=180)
        ended[reply["parent_header"].get("msg_id")] = reply["content"]["status"]
    return [ended[request] for request in requests], published(kernel, requests[-1])


def published(kernel: BlockingKernelClient, request: str) -> list[dict[str, Any]]:
    """What the kernel published until a request was done."""
    found = []
    while True:
        message = kernel.get_iopub_msg(timeout=180)
        found.append({"type": message["msg_type"], **message["content"]})
        done = message["msg_type"] == "status" and message["content"]["execution_state"] == "idle"
        if done and message["parent_header"].get("msg_id") == request:
            return found


def tell(kernel: BlockingKernelClient, widget: str, data: dict[str, Any]) -> list[dict[str, Any]]:
    """A message of a front end's widget."""
    message = kernel.session.msg("comm_msg", {"comm_id": widget, "data": data})
    kernel.shell_channel.send(message)
    return published(kernel, message["header"]["msg_id"])


def live_version(server: RunningServer, name: str) -> tuple[str, int]:
    with server.client() as api:
        endpoint = api.get(f"/endpoints/dev-alice/{name}").json()
    return endpoint["status"]["state"], endpoint["spec"]["deployments"][0]["version"]


def named(cells: list[str], name: str) -> list[str]:
    return [cell.format(name=name) if "{name}" in cell else cell for cell in cells]


def test_a_form_stops_run_all_and_finishes_the_job(kernel: BlockingKernelClient, server: RunningServer) -> None:
    assert run_all(kernel, named(FIRST, "run-all"))[0] == ["ok", "ok", "ok"]
    assert live_version(server, "run-all") == ("live", 1)
    ends, seen = run_all(kernel, named(AGAIN, "run-all"))
    assert ends == ["ok", "error", "aborted", "aborted"]
    assert live_version(server, "run-all") == ("live", 1)
    (error,) = [one for one in seen if one["type"] == "error"]
    assert error["ename"] == "WaitingForFormError"
    assert error["traceback"][-1] == "Press Publish there, then go on with the cells below this one."
    opened = [one for one in seen if one["type"] == "comm_open"]
    texts = [one["comm_id"] for one in opened if one["data"]["state"].get("_model_name") == "TextModel"]
    (button,) = [one["comm_id"] for one in opened if one["data"]["state"].get("_model_name") == "ButtonModel"]
    for widget, text in zip(texts, ["adds two figures", "everybody"], strict=True):
        tell(kernel, widget, {"method": "update", "state": {"value": text}, "buffer_paths": []})
    told = tell(kernel, button, {"method": "custom", "content": {"event": "click"}})
    (card,) = [one["data"]["text/plain"] for one in told if one["type"] == "update_display_data"]
    assert "run-all  version 2" in card
    assert "with the cells below [5]; if they use version, with that cell itself: it stays version 2" in card
    assert run_all(kernel, named(AGAIN[1:], "run-all"))[0] == ["ok", "ok", "ok"]
    assert live_version(server, "run-all") == ("live", 2)
    (out,) = [one for one in run_all(kernel, ["print(version.version, reached)"])[1] if one["type"] == "stream"]
    assert out["text"] == "2 True\n"


def test_without_a_person_there_is_no_form_but_the_error(
    server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MP_HOME", str(server.state))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    cells = [*named(FIRST, "headless"), *named(AGAIN, "headless")]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = NotebookClient(notebook, timeout=180, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
    with pytest.raises(CellExecutionError, match="headless was not published: 2 mandatory fields are missing"):
        client.execute()
    assert [cell.execution_count for cell in notebook.cells] == [1, 2, 3, 4, 5, None, None]
    refused = notebook.cells[4].outputs
    assert not any("application/vnd.jupyter.widget-view+json" in one.get("data", {}) for one in refused)
    assert next(one for one in refused if one.output_type == "error").ename == "CardIncompleteError"
    assert live_version(server, "headless") == ("live", 1)


@pytest.mark.parametrize(
    ("source", "variable"),
    [
        ("newest = %mp_publish model --name churn", "newest"),
        ("a = 1\nb = mp.publish(model, 'churn')", "b"),
        ("%mp_publish model --name churn", ""),
        ("publish = 3", ""),
    ],
)
def test_the_variable_that_waits_for_its_value(source: str, variable: str) -> None:
    assert assigned_by_publish(source) == variable
