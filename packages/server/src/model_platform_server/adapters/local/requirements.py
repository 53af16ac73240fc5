"""What a model needs to run: a Python and packages, from its environment record or from its MLflow folder."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, Specifier
from packaging.utils import canonicalize_name

from model_platform_core.environments import EnvironmentRecord, PackageOrigin, Source
from model_platform_core.errors import EnvironmentFailedError
from model_platform_core.requirements import RequirementLine
from model_platform_core.values import digest_of
from model_platform_server.adapters.local import files
from model_platform_server.ports import RunnerPlan

_NATIVE = "sklearn"  # the flavour that the runner loads without MLflow
_MLFLOW = frozenset({"mlflow", "mlflow-skinny"})
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the former, where it is there, takes a tenth of the time


@dataclass(frozen=True)
class Needs:
    """What a model asks of an environment.

    Attributes
    ----------
    python
        As `3.11`.
    lines
        Requirements one a line, sorted: what an environment must fulfil.
    lock
        Where a lock says it: the record, by which every package is had from where it came from, and nothing else is
        looked for.
    folder
        The version's folder, in which the lock's wheels lie.
    origins
        By package name, where those came from that are meant, as far as that was recorded.
    native
        Whether the runner loads it without MLflow.
    """

    python: str
    lines: tuple[str, ...]
    lock: EnvironmentRecord | None = None
    folder: Path | None = field(default=None, compare=False)
    origins: Mapping[str, PackageOrigin] = field(default_factory=dict)
    native: bool = field(default=False, compare=False)

    @property
    def libraries(self) -> frozenset[str]:
        """The packages that its runner imports, by name, and others beside; MLflow only if it needs that."""
        names = {name for line in self.lines if (name := named(line))}
        return frozenset(names - _MLFLOW if self.native else names)

    @functools.cached_property
    def key(self) -> str:
        """The same for the same needs: the name of the environment that is built for them."""
        if self.lock:
            return self.lock.lock_sha256[7:31]
        named_by_index = {Source.INDEX, Source.CONDA}
        others = {name: one for name, one in self.origins.items() if one.source not in named_by_index}
        known = [{name: one.model_dump(mode="json") for name, one in sorted(others.items())}] if others else []
        return digest_of([self.python, self.lines, *known])[7:31]

    @property
    def only_here(self) -> tuple[str, ...]:
        """The lines that no other machine can have: their names mean nothing to an index."""
        return tuple(line for line in self.lines if not self.origin_of(line).elsewhere)

    @property
    def wheels(self) -> dict[str, Path]:
        """Packages that travel with the version, by name: a borrowed environment has them as they are today."""
        return {
            name: (self.folder or Path()) / str(origin.location)
            for name, origin in sorted(self.origins.items())
            if origin.source is Source.WHEEL
        }

    def origin_of(self, line: str) -> PackageOrigin:
        """Where the package of a line came from; from an index where nobody says more."""
        return self.origins.get(named(line) or "", PackageOrigin())


def needs_of(plan: RunnerPlan) -> Needs:
    """What the plan's model needs.

    Raises
    ------
    EnvironmentFailedError
        If its folder says nothing that can be read.
    """
    record, folder = plan.environment, plan.directory
    described = _yaml(folder / "MLmodel")
    flavors = described.get("flavors") or {}
    if record and record.locked and (_NATIVE in flavors or _MLFLOW & {named(line) for line in record.packages}):
        return Needs(record.minor, record.packages, record, folder, record.origins, _NATIVE in flavors)
    lines = list(record.packages) if record and record.packages else _lines_of(folder)
    python = record.python if record else _python_of(folder)
    lines = _for_runner(lines, native=_NATIVE in flavors, mlflow=described.get("mlflow_version"))
    origins = record.origins if record else {}
    minor = ".".join(python.split(".")[:2])
    return Needs(minor, tuple(sorted(set(lines))), folder=folder, origins=origins, native=_NATIVE in flavors)


def named(line: str) -> str | None:
    """The package that a line asks for, in its canonical spelling; None for an option."""
    try:
        return canonicalize_name(required(line).name)
    except InvalidRequirement:
        return None


def required(line: str) -> Requirement:
    """What a line asks for, without its marker; raises InvalidRequirement for what asks for no package."""
    return Requirement(RequirementLine.split(line).wanted)


def applies(line: str, extras: Iterable[str] = ("",)) -> bool:
    """Whether a line's marker counts here, for one of the extras; raises ValueError if nobody can read it."""
    here = {key: str(value) for key, value in default_environment().items()}
    read = RequirementLine.split(line)
    return any(read.applies(here, _fulfils, extra) for extra in extras)


def _fulfils(version: str, asked: str) -> bool | None:
    try:
        return Specifier(asked).contains(version, prereleases=True)
    except InvalidSpecifier:
        return None


def _for_runner(lines: list[str], *, native: bool, mlflow: str | None) -> list[str]:
    """The runner loads scikit-learn by itself, and everything else through the small distribution of MLflow."""
    kept = [line for line in lines if named(line) != "mlflow"]
    if native:
        return kept
    asked = next((str(required(line).specifier) for line in lines if named(line) == "mlflow"), None)
    version = asked if asked is not None else f"=={mlflow}" if mlflow else ""
    names = {named(line) for line in kept}
    return kept + [
        line
        for name, line in (("mlflow-skinny", f"mlflow-skinny{version}"), ("numpy", "numpy"), ("pandas", "pandas"))
        if name not in names
    ]


def _lines_of(folder: Path) -> list[str]:
    text = files.read(folder / "requirements.txt")
    if text is not None:
        lines = [line.split(" #")[0].strip() for line in text.splitlines()]
        return [_absolute(line, folder) for line in lines if line and not line.startswith("#")]
    for dependency in _yaml(folder / "conda.yaml").get("dependencies") or []:
        if isinstance(dependency, dict) and "pip" in dependency:
            return [str(line) for line in dependency["pip"]]
    raise EnvironmentFailedError(
        "Nobody knows which packages the model needs: its folder has neither requirements.txt nor conda.yaml. "
        "Publish it again, or log it with pip_requirements."
    )


def _absolute(line: str, folder: Path) -> str:
    """MLflow writes `-c constraints.txt`, which lies beside."""
    option, _, name = line.partition(" ")
    return f"{option} {folder / name.strip()}" if option in {"-c", "--constraint", "-r", "--requirement"} else line


def _python_of(folder: Path) -> str:
    python = _yaml(folder / "python_env.yaml").get("python")
    if python:
        return str(python)
    for dependency in _yaml(folder / "conda.yaml").get("dependencies") or []:
        if isinstance(dependency, str) and (found := re.match(r"python\s*=+\s*([0-9.]+)", dependency)):
            return found[1]
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _yaml(path: Path) -> Mapping[str, Any]:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return _read(path, found.st_mtime_ns, found.st_size)


@functools.lru_cache(maxsize=256)
def _read(path: Path, _changed: int, _size: int) -> Mapping[str, Any]:
    """What a file of the model says: asked for several times in each deployment, and slow to read."""
    try:
        found = yaml.load(files.read(path) or "", _Loader)  # noqa: S506 - either of them is a safe one
    except yaml.YAMLError as error:
        raise EnvironmentFailedError(f"The model's {path.name} cannot be read as YAML; publish it again.") from error
    return found if isinstance(found, dict) else {}
