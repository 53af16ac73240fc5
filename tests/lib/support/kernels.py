"""Small virtual environments as kernels have them, and what our code finds out in one of them."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from uv import find_uv_bin

from model_platform_core.environments import EnvironmentRecord

_RECORD = """
from pathlib import Path
from model_platform.capture.environment import record_environment
print(record_environment({names}, Path({folder!r})).model_dump_json())
"""


class Kernel:
    """A virtual environment in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.python = folder, folder / "bin" / "python"
        _uv("venv", "-q", "--python", sys.executable, folder)

    @property
    def site_packages(self) -> Path:
        return next(self.folder.glob("lib/python*/site-packages"))

    def install(self, *what: object, **variables: str) -> None:
        _uv("pip", "install", "-q", "--python", self.python, *what, **variables)

    def record(self, names: Iterable[str], folder: Path, *, project: Path) -> EnvironmentRecord:
        """What a publish from a notebook in `project` records: the lock, and wheels below `folder`."""
        program = _RECORD.format(names=sorted(names), folder=str(folder))
        return EnvironmentRecord.model_validate_json(self.run_with_ours(program, project))

    def run_with_ours(self, program: str, project: Path) -> str:
        """What a program prints that imports the client, which is found behind all that the kernel has."""
        ours = [path for path in sys.path if path.endswith("/src")] + [sysconfig.get_path("purelib")]
        return self.run(f"import sys\nsys.path.extend({ours})\n{program}", project)

    def run(self, program: str, project: Path) -> str:
        """What a program prints that is run in the folder `project`."""
        done = subprocess.run([self.python, "-c", program], cwd=project, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


def _uv(*arguments: object, **variables: str) -> None:
    command = [find_uv_bin(), *map(str, arguments)]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def write_project(
    folder: Path,
    name: str,
    *,
    version: str = "1.0",
    backend: str = "hatchling",
    layout: str = "src",
    says: str = "ours",
    needs: str = '"iniconfig==2.0.0"',
) -> Path:
    """A project of one package whose module `says()` something, and reads a data file beside it."""
    module = name.replace("-", "_")
    root = folder / "src" if layout == "src" else folder
    package = root / module
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "from pathlib import Path\n\ndef says():\n"
        f"    return {says!r} + (Path(__file__).parent / 'words.txt').read_text()\n"
    )
    (package / "words.txt").write_text("!")
    (package / ".env").write_text("TOKEN=secret")
    (folder / "tests").mkdir()
    (folder / "tests" / "test_it.py").write_text("")
    builds = {"hatchling": "hatchling.build", "setuptools": "setuptools.build_meta"}[backend]
    lines = ["[build-system]", f'requires = ["{backend}"]', f'build-backend = "{builds}"']
    lines += ["[project]", f'name = "{name}"', f'version = "{version}"', f"dependencies = [{needs}]"]
    if backend == "setuptools":
        lines += [
            "[tool.setuptools.packages.find]",
            f'where = ["{root.relative_to(folder)}"]',
            f'include = ["{module}*"]',
        ]
        lines += ["[tool.setuptools.package-data]", '"*" = ["*.txt"]']
    (folder / "pyproject.toml").write_text("\n".join(lines))
    return folder
