"""What people install is whole: `pip install .` brings four distributions, and the locks fit what they ask for."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from uv import find_uv_bin

from support.private import bare_environment, run

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = REPOSITORY / "packages"
PYPROJECTS = [REPOSITORY / "pyproject.toml", *sorted(PACKAGES.glob("*/pyproject.toml"))]
LOCKS = {
    REPOSITORY / "locks" / "development.lock": PYPROJECTS,
    PACKAGES / "client/src/model_platform/data/server.lock": [
        PACKAGES / name / "pyproject.toml" for name in ("core", "runner", "server")
    ],
}
SHIPPED = {
    "model-platform": ["model_platform/py.typed", "model_platform/data/server.lock", "model_platform/display/card.css"],
    "model-platform-core": ["model_platform_core/py.typed"],
    "model-platform-runner": ["model_platform_runner/py.typed", "model_platform_runner/documents/page.html"],
    "model-platform-server": [
        "model_platform_server/py.typed",
        "model_platform_server/adapters/database/migrations/env.py",
    ],
}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment after `pip install .` in a checkout that is gone by now."""
    checkout, home = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("fresh") / "venv"
    for name in tracked():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, checkout / name)
    for command in (
        [find_uv_bin(), "venv", "--python", sys.executable, home],
        [find_uv_bin(), "pip", "install", "--python", home / "bin" / "python", "."],
    ):
        done = run(command, bare_environment(), checkout)
        assert done.returncode == 0, done.stderr
    shutil.rmtree(checkout)
    return home / "bin"


def tracked() -> Iterator[str]:
    """The files of the repository, as a clone has them."""
    listed = subprocess.run(["git", "-C", REPOSITORY, "ls-files", "-z"], capture_output=True, text=True, check=True)
    return (name for name in listed.stdout.split("\0") if name and (REPOSITORY / name).is_file())


def installed(programs: Path) -> dict[str, metadata.Distribution]:
    (packages,) = programs.parent.glob("lib/python*/site-packages")
    found = metadata.distributions(path=[str(packages)])
    return {canonicalize_name(one.name): one for one in found if one.name.startswith("model-platform")}


def test_the_root_brings_the_four_distributions(programs: Path) -> None:
    assert installed(programs).keys() == {*SHIPPED, "model-platform-workspace"}
    root = installed(programs)["model-platform-workspace"].files or []
    assert all(file.parts[0].endswith(".dist-info") for file in root), "it holds no code"


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (["mp", "--version"], r"mp, version \d+\.\d+\.\d+\n"),
        (["mp", "--help"], r"Usage: mp .*\n  deploy .*\n  publish .*"),
        (["model-platform-server", "--version"], r"\d+\.\d+\.\d+\n"),
        (["python", "-c", "import model_platform; print(model_platform.__version__)"], r"\d+\.\d+\.\d+\n"),
    ],
)
def test_the_programs_answer(programs: Path, command: list[str], answer: str, tmp_path: Path) -> None:
    done = run([programs / command[0], *command[1:]], bare_environment(MP_HOME=str(tmp_path)), tmp_path)
    assert re.fullmatch(answer, done.stdout, re.DOTALL), (done.stdout, done.stderr)
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", SHIPPED)
def test_nothing_that_is_read_at_run_time_is_missing(programs: Path, name: str) -> None:
    distribution = installed(programs)[name]
    files = {str(file) for file in distribution.files or []}
    assert set(SHIPPED[name]) <= files
    # Whatever lies in the source and is no build product is shipped, too: no template, migration or sheet stays behind.
    source = PACKAGES / {"model-platform": "client"}.get(name, name.removeprefix("model-platform-")) / "src"
    ours = {
        str((REPOSITORY / path).relative_to(source)) for path in tracked() if (REPOSITORY / path).is_relative_to(source)
    }
    assert ours - files == set()
    assert json.loads(distribution.read_text("direct_url.json") or "")["dir_info"].get("editable", False) is False


def test_mlflow_finds_the_governed_stores(programs: Path, tmp_path: Path) -> None:
    script = (
        "from importlib.metadata import entry_points\n"
        "for kind in ('model_registry_store', 'tracking_store', 'artifact_repository'):\n"
        "    (found,) = entry_points(group=f'mlflow.{kind}', name='governed')\n"
        "    print(kind, callable(found.load()))\n"
    )
    done = run([programs / "python", "-c", script], bare_environment(), tmp_path)
    assert done.stdout == "model_registry_store True\ntracking_store True\nartifact_repository True\n", done.stderr


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_holds_what_is_asked_for(lock: Path) -> None:
    versions = locked(lock)
    wanted = [
        requirement for file in LOCKS[lock] for requirement in asked(file, groups=lock.name == "development.lock")
    ]
    assert [
        str(requirement)
        for requirement in wanted
        if not any(
            requirement.specifier.contains(version) for version in versions.get(canonicalize_name(requirement.name), ())
        )
    ] == [], "run `make locks`"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_has_hashes_and_names_no_index(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    entries = re.split(r"\n(?=\S)", text.strip())
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


def locked(lock: Path) -> dict[str, list[str]]:
    """Versions by name; a package has several where they differ by platform or Python."""
    found: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", lock.read_text(), re.MULTILINE):
        found.setdefault(canonicalize_name(name), []).append(version)
    return found


def asked(pyproject: Path, *, groups: bool) -> list[Requirement]:
    """What a pyproject asks for directly, without our own distributions."""
    content = tomllib.loads(pyproject.read_text())
    lines = list(content["project"]["dependencies"])
    if groups:
        lines += [line for group in content.get("dependency-groups", {}).values() for line in group]
    requirements = [Requirement(line.replace("{root:uri}", "file:///root")) for line in lines]
    return [requirement for requirement in requirements if not requirement.name.startswith("model-platform")]
