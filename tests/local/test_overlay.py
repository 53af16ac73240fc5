"""The runner's packages, laid over another's environment."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

import model_platform_runner
from model_platform_server.adapters.local import interpreters
from model_platform_server.adapters.local.overlay import Overlays, main_file

NEEDED = (
    "uvicorn",
    "httptools",
    "uvloop",
    "orjson",
    "jwt",
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "yaml",
)


def _importable(folder: Path) -> str:
    """Import what the runner needs with nothing but the overlay; where it came from."""
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); import {', '.join(NEEDED)}, model_platform_runner"
    told = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"{code}; print(model_platform_runner.__file__)"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    return told.stdout.strip()


def test_for_a_python_of_our_own_kind_it_is_laid_from_our_own_environment_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
    words: list[str] = []
    overlays = Overlays(tmp_path / "overlays")
    folder = overlays.make(interpreters.own(), words.append)
    assert words == []
    assert _importable(folder).startswith(str(folder))
    assert main_file(folder).is_file()
    assert {"pydantic", "numpy", "mlflow", "httpx"}.isdisjoint(path.name for path in folder.iterdir())
    assert overlays.make(interpreters.own(), words.append) == folder
    assert list((tmp_path / "overlays").iterdir()) == [folder]


def test_for_another_python_it_is_made_by_uv(tmp_path: Path) -> None:
    words: list[str] = []
    other = replace(interpreters.own(), abi="another")
    folder = Overlays(tmp_path / "overlays").make(other, words.append)
    assert words[0] == "fetching the runner's packages"
    assert _importable(folder).startswith(str(folder))


def test_another_runner_makes_another_overlay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overlays = Overlays(tmp_path / "overlays")
    before = overlays.make(interpreters.own(), lambda _words: None)
    assert model_platform_runner.__file__
    shutil.copytree(Path(model_platform_runner.__file__).parent, tmp_path / "newer" / "model_platform_runner")
    (tmp_path / "newer" / "model_platform_runner" / "new.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path / "newer")
    monkeypatch.delitem(sys.modules, "model_platform_runner")
    after = overlays.make(interpreters.own(), lambda _words: None)
    assert after != before
    assert (after / "model_platform_runner" / "new.py").exists()
    assert before.exists()


def test_several_makers_at_once_make_one(tmp_path: Path) -> None:
    overlays, made = Overlays(tmp_path / "overlays"), set()
    makers = [
        threading.Thread(target=lambda: made.add(overlays.make(interpreters.own(), lambda _words: None)))
        for _ in range(4)
    ]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert len(made) == 1
    assert list((tmp_path / "overlays").iterdir()) == list(made)
