"""Which Python runs a model: borrowed where it still has what the model needs, else built with uv."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from model_platform_core.environments import EnvironmentRecord
from model_platform_core.errors import EnvironmentFailedError
from model_platform_server.adapters.local.environments import Environments
from model_platform_server.adapters.local.interpreters import interpreter
from model_platform_server.ports import RunnerPlan
from targets import models
from targets.harness import REF, LocalHarness, bring_up
from targets.models import SavedModel, installed, plan

TINY = "iniconfig==2.0.0"


@pytest.fixture
def environments(tmp_path: Path) -> Environments:
    return Environments(tmp_path / "environments")


def _needing(small: SavedModel, *packages: str, python: str = platform.python_version()) -> RunnerPlan:
    """A plan for a model that was made elsewhere, and needs these packages."""
    record = EnvironmentRecord(python=python, platform="linux", packages=packages, interpreter="/no", host="elsewhere")
    return replace(plan(small), environment=record)


def _quiet(_words: str) -> None:
    pass


def test_the_interpreter_that_made_the_model_is_borrowed_while_it_has_all_that_is_needed(
    environments: Environments, small: SavedModel
) -> None:
    wanted = plan(small)
    assert wanted.environment is not None
    found = environments.make(wanted, _quiet)
    assert found.interpreter.python == Path(sys.executable)
    assert found.interpreter.version == sys.version_info[:2]
    for change in (
        {"packages": ("numpy==0.0.1",)},
        {"packages": ("package-of-nobody==1.0",)},
        {"host": "elsewhere"},
        {"interpreter": "/no/python"},
        {"python": "3.8.1"},
    ):
        changed = replace(wanted, environment=wanted.environment.model_copy(update=change))
        assert environments.find(changed) is None, change


def test_packages_in_the_folders_of_the_kernel_count_and_the_runner_looks_there(
    harness: LocalHarness, tmp_path: Path
) -> None:
    """What a kernel has by PYTHONPATH or in the user's site."""
    folder = tmp_path / "user-site"
    (folder / "helpers_of_mine-1.2.dist-info").mkdir(parents=True)
    (folder / "helpers_of_mine-1.2.dist-info" / "METADATA").write_text("Name: helpers-of-mine\nVersion: 1.2\n")
    (folder / "helpers_of_mine.py").write_text("FACTOR = 10")
    model = models.small(
        tmp_path / "model",
        "return self.factor * rows.sum(axis=1)",
        load="import helpers_of_mine; self.factor = helpers_of_mine.FACTOR",
    )
    model = SavedModel(model.directory, (*installed("numpy"), "Helpers.of_mine==1.2"))
    wanted = plan(model)
    assert wanted.environment is not None
    assert harness.target._environments.find(wanted) is None
    wanted = replace(wanted, environment=wanted.environment.model_copy(update={"paths": (str(folder),)}))
    bring_up(harness.target, wanted)
    assert harness.target.call(f"/{REF}", [[1, 2]], None) == [{"prediction": 30.0}]


def test_an_environment_is_built_once_and_kept_by_what_is_in_it(
    environments: Environments, small: SavedModel, tmp_path: Path
) -> None:
    words: list[str] = []
    found = environments.make(_needing(small, TINY), words.append)
    assert any("python" in word.lower() for word in words)
    assert any(word.startswith("installed 1 package") for word in words)
    told = subprocess.run(
        [found.interpreter.python, "-c", "import iniconfig; print(iniconfig.__file__)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.startswith(str(tmp_path / "environments"))
    words.clear()
    assert environments.make(_needing(small, TINY), words.append) == found
    assert Environments(tmp_path / "environments").make(_needing(small, TINY), words.append) == found
    assert words == []


def test_two_builders_of_one_environment_build_it_once(environments: Environments, small: SavedModel) -> None:
    words: list[str] = []
    builders = [
        threading.Thread(target=environments.make, args=(_needing(small, TINY), words.append)) for _ in range(3)
    ]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert sum(word.startswith("installed") for word in words) == 1
    assert environments.find(_needing(small, TINY)) is not None


@pytest.mark.parametrize(
    ("packages", "python", "said"),
    [
        (("iniconfig==99.0",), None, "no iniconfig==99.0"),
        ((TINY, "model-platform-package-of-nobody==1.0"), None, "model-platform-package-of-nobody is not on the"),
        ((TINY, "pluggy @ file:///no/such/folder"), None, "file:///no/such/folder"),
        ((TINY,), "3.2.1", "Python 3.2, with which the model was made, is not on this machine"),
    ],
)
def test_what_cannot_be_had_is_named_and_nothing_half_built_is_left(
    environments: Environments,
    small: SavedModel,
    tmp_path: Path,
    packages: tuple[str, ...],
    python: str | None,
    said: str,
) -> None:
    wanted = _needing(small, *packages, python=python or platform.python_version())
    with pytest.raises(EnvironmentFailedError) as refused:
        environments.make(wanted, _quiet)
    assert said in refused.value.message
    assert refused.value.message.endswith(".")
    assert len(refused.value.message) < 300
    assert [path for path in (tmp_path / "environments").iterdir() if path.suffix != ".lock"] == []


def test_without_a_network_the_message_says_so(
    environments: Environments, small: SavedModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty-cache"))
    monkeypatch.setenv("UV_INDEX_URL", "http://user:secret@127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(EnvironmentFailedError, match="package index cannot be reached") as refused:
        environments.make(_needing(small, TINY), _quiet)
    assert TINY in refused.value.message
    assert "secret" not in f"{refused.value.message} {refused.value.hint}"


def test_a_disk_that_fills_while_an_environment_is_built_is_told_and_nothing_half_is_left(
    small: SavedModel, small_disk: Path
) -> None:
    """Really full: numpy is larger than the disk."""
    environments = Environments(small_disk / "environments")
    with pytest.raises(EnvironmentFailedError) as refused:
        environments.make(_needing(small, *installed("numpy")), _quiet)
    assert refused.value.message == "There is no space left on the disk for the model's environment."
    assert "mp env prune" in (refused.value.hint or "")
    assert [path for path in (small_disk / "environments").iterdir() if path.suffix != ".lock"] == []
    assert environments.make(_needing(small, TINY), _quiet).interpreter.python.exists()


def test_an_environment_of_conda_is_not_built_upon_where_there_is_another_python(
    environments: Environments, small: SavedModel, tmp_path: Path
) -> None:
    """It would go when the user removes it; that of a virtual environment does not."""
    python = tmp_path / "conda" / "bin" / "python"
    python.parent.mkdir(parents=True)
    (tmp_path / "conda" / "conda-meta").mkdir()
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    wanted = _needing(small, TINY)
    assert wanted.environment is not None
    here = {"interpreter": str(python), "host": platform.node()}
    made = environments.make(replace(wanted, environment=wanted.environment.model_copy(update=here)), _quiet)
    assert str(tmp_path / "conda") not in (made.interpreter.python.parent.parent / "pyvenv.cfg").read_text()


def test_an_interpreter_that_failed_to_answer_once_is_asked_again(tmp_path: Path) -> None:
    python, ready = tmp_path / "python", tmp_path / "ready"
    python.write_text(f'#!/bin/sh\ntest -e {ready} && exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    assert interpreter(python) is None
    ready.touch()
    found = interpreter(python)
    assert found is not None
    assert found.version == sys.version_info[:2]


def test_a_python_that_is_too_old_for_the_runner_is_refused(
    environments: Environments, small: SavedModel, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho '{json.dumps([[3, 9], 'cpython-39', 'linux', []])}'\n")
    python.chmod(0o755)
    wanted = plan(small)
    assert wanted.environment is not None
    old = wanted.environment.model_copy(update={"python": "3.9.1", "interpreter": str(python), "packages": ()})
    (small.directory / "requirements.txt").write_text("")
    try:
        with pytest.raises(EnvironmentFailedError, match=r"Python 3\.9; models are served with Python 3\.10 or later"):
            environments.make(replace(wanted, environment=old), _quiet)
    finally:
        (small.directory / "requirements.txt").unlink()


def test_a_model_of_a_plain_mlflow_client_is_served_from_an_environment_of_its_own(
    harness: LocalHarness, tmp_path: Path
) -> None:
    """Nobody recorded where it was made: its folder says what it needs."""
    model = models.small(tmp_path / "model")
    (numpy,) = installed("numpy")
    (model.directory / "requirements.txt").write_text(f"mlflow==3.17.2\n{numpy}  # the arrays\n")
    (model.directory / "python_env.yaml").write_text(f"python: {platform.python_version()}\n")
    bring_up(harness.target, replace(plan(model), environment=None))
    assert harness.target.call(f"/{REF}", [[1, 2]], None) == [{"prediction": 3.0}]
    (runner,) = harness.processes(REF, "v1")
    program = psutil.Process(runner.pid).cmdline()[0]
    assert program.startswith(str(harness.state / "environments"))


def test_a_runner_whose_environment_is_gone_says_so_when_it_has_to_start_again(
    harness: LocalHarness, small: SavedModel, tmp_path: Path
) -> None:
    python = tmp_path / "kernel" / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", "--system-site-packages", tmp_path / "kernel"], check=True
    )
    lines = [path for path in sys.path if path.endswith("site-packages")]
    (next((tmp_path / "kernel").glob("lib/python*/site-packages")) / "own.pth").write_text("\n".join(lines))
    wanted = plan(small)
    assert wanted.environment is not None
    bring_up(
        harness.target, replace(wanted, environment=wanted.environment.model_copy(update={"interpreter": str(python)}))
    )
    python.unlink()
    harness.kill_runner(REF, "v1")
    from support.servers import wait_until

    def failure() -> object:
        harness.target.maintain()
        return harness.target.observe(REF)["v1"].failure

    found = wait_until(failure)
    assert found.code == "failed_environment"
    assert found.hint == "%mp_deploy churn:1"
