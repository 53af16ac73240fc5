"""What an upgrade of MLflow breaks: everything that we rely on is compared with the MLflow that is installed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from governed_mlflow.world import ROOT
from model_platform_server.adapters.mlflow.mount import is_open

# Features that are not open to anybody; every route that is shut belongs to one of them.
SHUT = re.compile(
    "|".join(
        (
            r"/gateway/.*",
            r"/v1/traces",
            r"/build/.*",
            r"/(ajax-)?api/2\.0mlflow/.*",  # a slip of MLflow's own
            r"/(ajax-)?api/2\.0/mlflow/(webhooks|unified-traces|get-online-trace-details|gateway-proxy)(/.*)?",
            r"/(ajax-)?api/2\.0/mlflow/runs/create-promptlab-run",
            r"/(ajax-)?api/2\.0/mlflow/artifacts/presigned-(up|down)load-url",
            r"/(ajax-)?api/3\.0/jobs/.*",
            r"/(ajax-)?api/3\.0/mlflow/(assistant|demo|gateway|genai|jobs|mcp-servers|prompt-optimization|ui-telemetry)(/.*)?",
            r"/(ajax-)?api/3\.0/mlflow/(datasets|issues|label-schemas|review-queues|scorers?|workspaces)(/.*)?",
        )
    )
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the installed MLflow has."""
    folder = tmp_path_factory.mktemp("introspect")
    script = ROOT / "tests" / "lib" / "governed_mlflow" / "introspect.py"
    command = [sys.executable, "-W", "ignore", str(script), f"sqlite:///{folder}/x.db", str(folder)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, check=False)
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout.splitlines()[-1])


def test_every_public_method_of_the_stores_is_in_a_table(installed: dict[str, Any]) -> None:
    assert installed["methods"] == []


def test_every_table_is_tied_to_a_zone_or_closed(installed: dict[str, Any]) -> None:
    assert installed["classes"] == []
    assert installed["gone"] == []


def test_nothing_open_is_loaded_inside_another_tables_statement(installed: dict[str, Any]) -> None:
    """The select net sees what stands in a statement; the one place that joins while loading is archiving: closed."""
    assert installed["joined"] == ["joinedload(SqlTraceInfo.tags)"]


def test_the_private_names_of_the_environment_are_still_these(installed: dict[str, Any]) -> None:
    assert all(ours == theirs for ours, theirs in installed["constants"].items())


def test_every_route_is_open_or_belongs_to_a_closed_feature(installed: dict[str, Any]) -> None:
    paths = {re.sub(r"<[^>]+>|\{[^}]+\}", "x", route) for route in installed["routes"]}
    shut = {path for path in paths if not is_open(path)}
    assert [path for path in sorted(shut) if not SHUT.fullmatch(path)] == []
    assert [path for path in sorted(paths - shut) if SHUT.fullmatch(path)] == []
    assert len(paths) > 300


@pytest.mark.parametrize(
    "path",
    [
        "/api/3.0/mlflow/assistant/message",
        "/ajax-api/3.0/mlflow/gateway/secrets/list",
        "/api/2.0/mlflow/webhooks",
        "/v1/traces",
        "/api/2.0/mlflow/new-feature/create",
        "/api/2.0/mlflow/runs/create-promptlab-run",
        "//api/2.0/mlflow/webhooks",
        "/api/2.0/mlflow/runs\n",
        "/etc/passwd",
    ],
)
def test_what_nobody_named_is_shut(path: str) -> None:
    assert not is_open(path)
