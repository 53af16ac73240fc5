"""The client as a notebook has it: on the embedded server of a state directory, which it starts when it finds none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from model_platform.client import Client, connect
from model_platform.embedded.discovery import read_discovery
from model_platform.embedded.launcher import terminate


@contextmanager
def notebook(state: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A connected client. The server that it finds, or starts, is ended at the end; what is deployed goes on."""
    monkeypatch.setenv("MP_HOME", str(state))
    monkeypatch.setenv("MP_SERVER_OWNER", "alice")
    for name in ("MP_SERVER", "MP_TOKEN", "MP_ZONE"):
        monkeypatch.delenv(name, raising=False)
    client = connect()
    try:
        yield client
    finally:
        client.close()
        found = read_discovery(state)
        if found is not None:
            terminate(found)
