"""Laid over a model's environment, the runner works with its own packages and the model with its own."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

import model_platform_runner

OWN = ("click", "cryptography", "cffi", "h11", "httptools", "orjson", "PyJWT", "PyYAML", "uvicorn", "uvloop")
MODELS = ("cloudpickle", "numpy", "pandas", "python-dateutil", "six")


def lay(folder: Path, distributions: tuple[str, ...]) -> Path:
    """Put the files of installed distributions into a folder, as an installation into that folder would."""
    folder.mkdir()
    installed = Path(sysconfig.get_path("purelib"))
    for distribution in distributions:
        files = importlib.metadata.files(distribution) or []
        for top in {file.parts[0] for file in files if file.parts[0] != ".."}:
            if not (folder / top).exists():
                (folder / top).symlink_to(installed / top)
    return folder


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = lay(tmp_path_factory.mktemp("overlay") / "overlay", OWN)
    source = Path(model_platform_runner.__file__).parent
    shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's environment: its libraries, and a YAML library of its own that is not the runner's."""
    folder = lay(tmp_path_factory.mktemp("environment") / "environment", MODELS)
    (folder / "yaml").mkdir()
    (folder / "yaml" / "__init__.py").write_text("__version__ = 'the model\\'s own'\n")
    return folder


MODEL = """
import yaml
import orjson

try:
    import model_platform_server
except ModuleNotFoundError:
    pass


class Doubling:
    def predict(self, rows):
        return [yaml.__version__] * len(rows)
"""


@pytest.mark.parametrize("safe", [["-P"], []])
def test_the_models_own_packages_win_for_the_model(
    launch: Any, models: Any, overlay: Path, environment: Path, tmp_path: Path, safe: list[str]
) -> None:
    directory = shutil.copytree(models["doubling"].directory, tmp_path / "model")
    (directory / "code" / "machines.py").write_text(MODEL)
    runner = launch(
        directory,
        command=[sys.executable, "-S", *safe, str(overlay / "model_platform_runner" / "__main__.py")],
        environment={"PATH": os.environ["PATH"], "PYTHONPATH": str(environment)},
    )
    assert runner.wait_for_event("ready", "failed")["event"] == "ready"
    row = {"value": 1, "seconds": 0, "fail": False}
    assert runner.calls.post("/", json=[row]).json() == [{"prediction": "the model's own"}]
    assert runner.stop() == 0


def test_an_overlay_that_lacks_something_says_so(
    launch: Any, models: Any, overlay: Path, environment: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "overlay"
    shutil.copytree(overlay, broken, symlinks=True)
    (broken / "uvicorn").unlink()
    runner = launch(
        models["doubling"].directory,
        command=[sys.executable, "-S", str(broken / "model_platform_runner" / "__main__.py")],
        environment={"PATH": os.environ["PATH"], "PYTHONPATH": str(environment)},
    )
    assert runner.process.wait(60) == 3
    (failed,) = runner.events()
    assert failed == {
        "event": "failed",
        "code": "failed_import",
        "message": "The runner's environment has no usable module named uvicorn.",
    }
