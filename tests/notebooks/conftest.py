"""The private server of one user, for all notebooks of these tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.private import private_server


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What programs are started with: no server yet, the first of them starts it."""
    with private_server(tmp_path_factory.mktemp("home")) as found:
        yield found
