"""Python interpreters: what they are, and which packages they have."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from model_platform_server.adapters.local import processes

_ASK = (
    "import json, sys, sysconfig;"
    "print(json.dumps([list(sys.version_info[:2]), sysconfig.get_config_var('SOABI'), sysconfig.get_platform(),"
    " [each for each in sys.path if each]]))"
)
_ASK_SECONDS = 30


@dataclass(frozen=True)
class Interpreter:
    """A Python: where it is, its version, what its extension modules are built for, where it looks for modules."""

    python: Path
    version: tuple[int, int]
    abi: str
    paths: tuple[str, ...]

    def lacks(self, lines: Iterable[str], also: Iterable[str] = ()) -> list[str]:
        """Those requirements that its packages, and those of the folders `also`, do not fulfil."""
        paths = [*also, *self.paths]
        return [line for line in lines if not _fulfilled(line, paths)]

    def version_of(self, line: str, also: Iterable[str] = ()) -> str | None:
        """Which version it has of the package that a requirement names; None if it has none."""
        try:
            name = Requirement(line).name
        except InvalidRequirement:
            return None
        found = next(iter(metadata.distributions(name=name, path=[*also, *self.paths])), None)
        return found.version if found else None


def interpreter(python: Path) -> Interpreter | None:
    """What a Python is; None if it is none that runs here."""
    try:
        return _interpreter(python, python.stat().st_mtime_ns, _configured(python))
    except OSError:
        return None


def own() -> Interpreter:
    """The one that runs this server."""
    version = (sys.version_info.major, sys.version_info.minor)
    return Interpreter(Path(sys.executable), version, _abi(*_own_abi()), tuple(each for each in sys.path if each))


def _configured(python: Path) -> int:
    """When its virtual environment was made: the Python in it is a link to one that does not change with it."""
    for folder in (python.parent, python.parent.parent):
        if (folder / "pyvenv.cfg").exists():
            return (folder / "pyvenv.cfg").stat().st_mtime_ns
    return 0


@functools.lru_cache(maxsize=256)
def _interpreter(python: Path, _changed: int, _configured: int) -> Interpreter | None:
    environment = processes.allowed_environment()
    try:
        asked = subprocess.run(
            [str(python), "-c", _ASK], capture_output=True, env=environment, timeout=_ASK_SECONDS, check=True
        )
        version, abi, platform, paths = json.loads(asked.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return Interpreter(python, (version[0], version[1]), _abi(abi, platform), tuple(paths))


def _own_abi() -> tuple[str, str]:
    return str(sysconfig.get_config_var("SOABI")), sysconfig.get_platform()


def _abi(abi: str, platform: str) -> str:
    return f"{abi}-{platform}".replace("/", "-")


def _fulfilled(line: str, paths: list[str]) -> bool:
    try:
        wanted = Requirement(line)
    except InvalidRequirement:
        return False
    if wanted.marker is not None and not wanted.marker.evaluate():
        return True
    found = next(iter(metadata.distributions(name=wanted.name, path=paths)), None)
    return found is not None and wanted.specifier.contains(found.version, prereleases=True)
