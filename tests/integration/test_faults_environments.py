"""An environment that cannot be made is told in one sentence before anything is switched: the version before answers."""

from __future__ import annotations

import platform
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_platform.client import Client
from model_platform.deploying import DeployOrder, deploy
from model_platform_core.deployments import EndpointState, StepState
from model_platform_core.environments import EnvironmentRecord
from model_platform_core.errors import EnvironmentFailedError
from model_platform_core.refs import EndpointRef
from support.calls import calling
from support.embedded import notebook
from support.servers import RunningServer
from support.small_models import publish_small
from targets import index

NUMPY = f"numpy=={np.__version__}"
NOBODY = "model-platform-package-of-nobody"


@pytest.fixture
def packages() -> Iterator[index.Index]:
    """An index that the server asks first."""
    made = index.Index()
    yield made
    made.close()


@pytest.fixture
def client(
    tmp_path: Path, small_disk: Path, packages: index.Index, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Client]:
    """A server that keeps its environments on a small disk. Version 1 of `pairs` is live, borrowed from this Python."""
    server = RunningServer(tmp_path / "home", UV_INDEX=packages.url, UV_HTTP_RETRIES="0")
    (server.state / "local").mkdir(parents=True, mode=0o700)
    (small_disk / "environments").mkdir(mode=0o700)
    (server.state / "local" / "environments").symlink_to(small_disk / "environments")
    try:
        server.start()
        with notebook(server.state, monkeypatch) as connected:
            publish_small(connected, "pairs")
            deploy(connected, DeployOrder("pairs:1", access="open"))
            yield connected
    finally:
        server.stop_all()


def publish_from_elsewhere(client: Client, *lines: str) -> int:
    """A version that was made on another machine, with packages of its own."""
    record = EnvironmentRecord(
        python=platform.python_version(), platform=sysconfig.get_platform(), packages=lines, host="elsewhere"
    )
    return publish_small(client, "pairs", f"return rows.sum(axis=1)  # {lines}", environment=record).version


def test_each_is_one_sentence_and_version_1_answers_all_the_time(client: Client, packages: index.Index) -> None:
    url = client.endpoint(EndpointRef(client.zone, "pairs")).status.url or ""
    with calling(url) as calls:
        refuse(client, (NUMPY, index.LINE), f"The package index cannot be reached, and the model needs {index.LINE}, ")
        packages.open()
        refuse(client, (NUMPY, f"{NOBODY}==1.0"), f"The package {NOBODY} is not on the package index.")
        refuse(client, ("helpers-of-mine==9.9",), "The package index has no helpers-of-mine==9.9 for this Python")
        refuse(client, (NUMPY,), "There is no space left on the disk for the model's environment.")
    assert calls.failures == []
    assert set(calls.answers) == {"1"}


def refuse(client: Client, lines: tuple[str, ...], said: str) -> None:
    version = publish_from_elsewhere(client, *lines)
    with pytest.raises(EnvironmentFailedError) as refused:
        deploy(client, DeployOrder(f"pairs:{version}"))
    assert said in refused.value.message
    status = client.endpoint(EndpointRef(client.zone, "pairs")).status
    failed: Any = status.condition("UpdateFailed")
    assert failed.reason == "failed_environment"
    assert failed.message.count(". ") == 0, "more than one sentence"
    assert status.state is EndpointState.LIVE
    assert [step.state for step in status.progress] == [StepState.DONE, StepState.FAILED, *[StepState.WAITING] * 3]
