"""Every kind of model that can be published is: published, deployed and called, over both databases."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.databases import fresh_database
from support.kinds import KINDS, alike, silence
from support.servers import RunningServer, running_server, wait_until

pytestmark = pytest.mark.parametrize("server", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for all kinds; what is served borrows this environment, that of the notebook."""
    with contextlib.ExitStack() as stack:
        more = {"MP_SERVER_OWN_ENVIRONMENTS": "never"}
        if request.param == "postgresql":
            more["MP_SERVER_DATABASE_URL"] = stack.enter_context(fresh_database(request.getfixturevalue("postgresql")))
        found = stack.enter_context(running_server(tmp_path_factory.mktemp("home"), **more))
        wait_until(found.ready, 120, "MLflow's start")
        yield found


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_in_the_notebook_is_what_answers(mp: Any, project: Path, kind: str) -> None:
    made = KINDS[kind](project)
    with silence():
        published = mp.publish(made.model, kind, example=made.rows, **made.options)
    version = published.details
    assert str(version.format) == made.format
    storage = version.behaviour["storage"]
    assert storage["format"] == (made.kept or made.format)
    assert storage["because"]
    assert (storage["tier_2"] is None) == (made.format != "pickle")
    endpoint = mp.deploy(kind)
    try:
        deployment = endpoint.resource.status.deployments[0]
        assert deployment.parity.proven
        assert deployment.parity.rows == deployment.parity.equal > 0
        alike(made.answer, endpoint.predict(made.rows))
    finally:
        endpoint.stop()
