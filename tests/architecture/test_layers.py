"""What may touch what, and how large a file may grow."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LONGEST_FILE = 600


def _tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--", *patterns], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).exists()]


def test_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_no_file_outgrows_the_limit() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in _tracked("*.py")
        if (lines := len(path.read_text().splitlines())) > LONGEST_FILE
    }
    assert not long


def test_importing_the_client_loads_nothing_heavy() -> None:
    code = "import sys, model_platform; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {
        "mlflow",
        "pandas",
        "numpy",
        "sklearn",
        "ipywidgets",
        "model_platform_server",
        "model_platform_runner",
    }


def test_locks_name_no_index() -> None:
    for lock in [ROOT / "locks/development.lock", ROOT / "packages/client/src/model_platform/data/server.lock"]:
        text = lock.read_text()
        assert "://" not in text
        assert "--index" not in text
        pinned = re.findall(r"^[A-Za-z0-9._-]+==", text, re.MULTILINE)
        assert len(pinned) > 50
        assert text.count("--hash=sha256:") >= len(pinned)


def test_every_distribution_has_one_version() -> None:
    versions = {
        re.search(r'^version = "(.+)"', path.read_text(), re.MULTILINE)[1]
        for path in _tracked("packages/*/pyproject.toml")
    }  # type: ignore[index]
    assert len(versions) == 1


def test_every_error_code_belongs_to_a_status() -> None:
    from model_platform_core.errors import all_codes
    from model_platform_server.routes.errors import status_of

    unknown = [code for code in all_codes() if status_of(code) == 500 and code != "internal_error"]
    assert not unknown
