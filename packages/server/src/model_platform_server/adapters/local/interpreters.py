"""Python interpreters: what they are, and which packages they have."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from model_platform_core.environments import PackageOrigin
from model_platform_server.adapters.local import installed, processes
from model_platform_server.adapters.local.requirements import applies, required

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

    def lacks(self, lines: Iterable[str], origins: Mapping[str, PackageOrigin], also: Iterable[str] = ()) -> list[str]:
        """Those requirements that its packages, and those of the folders `also`, do not fulfil.

        Parameters
        ----------
        origins
            By package name, where those came from that are meant: others of the same version do not do.
        """
        paths = [*also, *self.paths]
        return [line for line in lines if not _fulfilled(line, origins, paths)]

    def version_of(self, line: str, also: Iterable[str] = ()) -> str | None:
        """Which version it has of the package that a requirement names; None if it has none."""
        try:
            found = installed.find(required(line).name, [*also, *self.paths])
        except InvalidRequirement:
            return None
        return installed.version_of(found) if found else None


def interpreter(python: Path) -> Interpreter | None:
    """What a Python is; None if it is none that runs here."""
    try:
        return _interpreter(python, python.stat().st_mtime_ns, _configured(python))
    except (OSError, subprocess.SubprocessError, ValueError):
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
def _interpreter(python: Path, _changed: int, _configured: int) -> Interpreter:
    """What a Python says of itself. One that did not answer is asked again the next time: an error is not kept."""
    environment = processes.allowed_environment()
    asked = subprocess.run(
        [str(python), "-c", _ASK], capture_output=True, env=environment, timeout=_ASK_SECONDS, check=True
    )
    version, abi, platform, paths = json.loads(asked.stdout)
    return Interpreter(python, (version[0], version[1]), _abi(abi, platform), tuple(paths))


def _own_abi() -> tuple[str, str]:
    return str(sysconfig.get_config_var("SOABI")), sysconfig.get_platform()


def _abi(abi: str, platform: str) -> str:
    return f"{abi}-{platform}".replace("/", "-")


@functools.lru_cache(maxsize=4096)
def _asked(line: str) -> tuple[Requirement, bool]:
    """What a line asks for, and whether it counts here."""
    return required(line), applies(line)


def _fulfilled(line: str, origins: Mapping[str, PackageOrigin], paths: list[str]) -> bool:
    try:
        wanted, counts = _asked(line)
    except ValueError:  # no requirement that anybody can read
        return False
    if not counts:
        return True
    found = installed.find(wanted.name, paths)
    version = installed.version_of(found) if found is not None else None
    if found is None or version is None or not wanted.specifier.contains(version, prereleases=True):
        return False
    origin = origins.get(canonicalize_name(wanted.name))
    return origin is None or installed.is_of(found, origin)
