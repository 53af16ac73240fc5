"""MLflow runs that are linked: a tracking server that does not answer holds no publish up."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from model_platform.capture import runs
from model_platform.capture.quiet import import_mlflow


@pytest.fixture
def mute() -> Iterator[str]:
    """The address of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://me:secret@127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def mlflow(mute: str) -> Iterator[Any]:
    found = import_mlflow()
    before = found.get_tracking_uri()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_TRACKING_URI", "")  # `set_tracking_uri` writes it
        found.set_tracking_uri(mute)
        yield found
        found.set_tracking_uri(before)


def test_a_run_of_a_server_that_does_not_answer_is_named(mlflow: Any, mute: str) -> None:
    found = runs.read_run("0" * 32, "tuesday")
    shown = mute.replace("me:secret@", "")
    assert (found.run.run_id, found.run.name, found.run.tracking_uri) == ("0" * 32, "tuesday", shown)
    assert (found.metrics, found.parameters) == ({}, {})
    assert (
        found.note
        == f"metrics and parameters of the MLflow run {'0' * 32} are not known: {shown} did not answer in time"
    )
