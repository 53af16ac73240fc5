"""uv, which makes environments: started with what it needs to know, its words turned into progress or one sentence."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import uv

from model_platform_core.errors import EnvironmentFailedError
from model_platform_server.adapters.local import processes
from model_platform_server.adapters.local.indexes import Indexes, configured

_PROGRESS = re.compile(r"^(Resolved|Downloading|Building|Prepared|Installed)\b.*")
_PASSED_ON = ("UV_", "XDG_")
_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy", "netrc"})
_GIVE_WAY = {"UV_CONCURRENT_BUILDS": "1", "UV_CONCURRENT_INSTALLS": "1", "UV_CONCURRENT_DOWNLOADS": "2"}
_GRACE = 2.0  # seconds
_REASONS = (
    (
        r"no space left|os error 28",
        "There is no space left on the disk for the model's environment.",
        "make room, then deploy again; mp env prune removes environments that nothing uses",
    ),
    (
        r"Because ([\w.-]+) was not found in the (?:package registry|provided)",
        "The package {0} is not on the package index.",
        "publish the model from an environment whose packages can be installed",
    ),
    (
        r"([\w.-]+==[\w.!+-]+) has no usable wheels",
        "The package index has {0} as source only, and source is not built where a name may mean another package.",
        "let the server ask the notebook's package index alone (UV_DEFAULT_INDEX), or put a wheel on it",
    ),
    (
        r"there is no version of ([\w.-]+==[\w.!+-]+)",
        "The package index has no {0} for this Python and platform.",
        None,
    ),
    (
        (
            r"error sending request|failed to fetch|dns error|client error \(connect\)|tcp connect error"
            r"|network connectivity is disabled|network was disabled|operation timed out"
        ),
        "The package index cannot be reached, and the model needs {lines} from there.",
        "connect to the network, or set UV_INDEX_URL to an index that can be reached",
    ),
    (
        r"Distribution not found at: (\S+)",
        "The model's environment had a package installed from {0}, and nothing is there any more.",
        None,
    ),
    (
        r"Failed to (?:build|download and build) `?([\w.-]+(?:==[\w.!+-]+)?)",
        "The package {0} could not be built here.",
        None,
    ),
)


class Uv:
    """Runs uv. What it is doing can be ended: then it raises, and whoever called it clears away what is half made.

    Parameters
    ----------
    low
        Give way to everything else on the machine: the lowest priority, one thing at a time.
    """

    def __init__(self, *, low: bool = False) -> None:
        self._low = low
        self._lock = threading.Lock()
        self._running: set[int] = set()
        self._ended = False

    def indexes(self) -> Indexes:
        """The package indexes that it asks."""
        return configured(_environment())

    def make_environment(self, folder: Path, python: str, base: Path | None, report: Callable[[str], None]) -> None:
        """A virtual environment of a Python of this minor version, `3.11`, that can be moved.

        Parameters
        ----------
        base
            A Python of that version, where one is known; else uv looks for one.

        Raises
        ------
        EnvironmentFailedError
            If there is no such Python here.
        """
        report(f"making an environment of Python {python}")
        wanted = str(base) if base else python
        status, said = self._run(["venv", "--relocatable", "--no-project", "--python", wanted, str(folder)], report)
        if status == 0:
            return
        if re.search("no interpreter found|no download|is not supported but|failed to inspect", said, re.IGNORECASE):
            raise EnvironmentFailedError(
                f"Python {python}, with which the model was made, is not on this machine.",
                hint=f"uv python install {python}",
            )
        raise _failure(said, [], f"The model's environment could not be made: {_essence(said)}.")

    def install(
        self,
        lines: Sequence[str],
        python: Path,
        report: Callable[[str], None],
        *,
        target: Path | None = None,
        options: Sequence[str] = (),
    ) -> None:
        """Install requirements into the environment of `python`, or for it into the folder `target`.

        Raises
        ------
        EnvironmentFailedError
            Names the package that could not be had, and why.
        """
        where = ["--target", str(target)] if target else []
        with _listed(lines) as listed:
            arguments = ["pip", "install", "--python", str(python), *where, *options, "-r", str(listed)]
            status, said = self._run(arguments, report)
        if status != 0:
            raise _failure(said, lines, f"The model's packages could not be installed: {_essence(said)}.")

    def digests(
        self, lines: Sequence[str], python: Path, report: Callable[[str], None], *, options: Sequence[str] = ()
    ) -> dict[str, tuple[str, ...]]:
        """By package, the digests of the files that the index has of these `name==version` for this Python.

        Raises
        ------
        EnvironmentFailedError
            Names the package that the index does not have.
        """
        with _listed(lines) as listed:
            found = listed.with_name("pylock.toml")
            arguments = ["pip", "compile", "--python", str(python), "--no-deps", "--format", "pylock.toml"]
            status, said = self._run([*arguments, *options, "-o", str(found), str(listed)], report)
            if status != 0:
                raise _failure(said, lines, f"The model's packages could not be found: {_essence(said)}.")
            packages = tomllib.loads(found.read_text()).get("packages", [])
        return {one["name"]: tuple(_sha256s(one)) for one in packages}

    def end(self) -> None:
        """End what runs, and run nothing any more."""
        with self._lock:
            self._ended = True
            running = [processes.identity_of(pid) for pid in self._running]
        processes.end(running, _GRACE)

    def _run(self, arguments: Sequence[str], report: Callable[[str], None]) -> tuple[int, str]:
        """Status and output of uv; `report` gets its words on how far it is."""
        lines: list[str] = []
        with self._started(arguments) as process:
            for line in process.stderr or ():
                lines.append(line.rstrip())
                if found := _PROGRESS.match(line.strip()):
                    report(found[0][0].lower() + found[0][1:])
        if self._ended:
            raise EnvironmentFailedError("The server stops; the next one makes the environment.")
        return process.returncode, "\n".join(lines)

    @contextlib.contextmanager
    def _started(self, arguments: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
        nice = shutil.which("nice") if self._low else None
        options = ["--color", "never", "--no-progress"]
        command = [*([nice, "-n", "19"] if nice else []), uv.find_uv_bin(), *options, *arguments]
        with self._lock:
            if self._ended:
                raise EnvironmentFailedError("The server stops; the next one makes the environment.")
            process = subprocess.Popen(
                command,
                env=_environment() | (_GIVE_WAY if self._low else {}),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
            self._running.add(process.pid)
        try:
            with process:
                yield process
        finally:
            with self._lock:
                self._running.discard(process.pid)


@contextlib.contextmanager
def _listed(lines: Sequence[str]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "requirements.txt"
        listed.write_text("".join(f"{line}\n" for line in lines))
        yield listed


def _sha256s(package: Mapping[str, Any]) -> Iterator[str]:
    """Of a package's files, as PEP 751 lists them."""
    for file in (*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ())):
        if digest := file.get("hashes", {}).get("sha256"):
            yield f"sha256:{digest}"


def _environment() -> dict[str, str]:
    """Besides what any process of ours sees: where packages come from. No Python is downloaded unless it is allowed."""
    passed = {
        name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON) or name.lower() in _PROXIES
    }
    return {"UV_PYTHON_DOWNLOADS": "never", **processes.allowed_environment(), **passed}


def _failure(said: str, lines: Sequence[str], otherwise: str) -> EnvironmentFailedError:
    """One sentence on what uv said, `otherwise` where nothing of it is known."""
    flat = " ".join(_plain(said))
    for pattern, message, hint in _REASONS:
        if found := re.search(pattern, flat, re.IGNORECASE):
            named = [part.rstrip(".") for part in found.groups()]
            return EnvironmentFailedError(message.format(*named, lines=_some(lines)), hint=hint)
    return EnvironmentFailedError(otherwise)


def _some(lines: Sequence[str]) -> str:
    return ", ".join(lines[:3]) + (f" and {len(lines) - 3} more" if len(lines) > 3 else "")


def _essence(said: str) -> str:
    """The first line that says something, without uv's drawing and without credentials of an index."""
    told = [line for line in _plain(said) if line and not line.startswith(("Using", "Creating", "Resolved", "warning"))]
    first = (told or ["uv ended without a word"])[0].removeprefix("error: ")
    return re.sub(r"://[^/@\s]+@", "://", first).rstrip(".")[:300]


def _plain(said: str) -> list[str]:
    return [re.sub(r"^[\s×╰─▶│├]+", "", line).rstrip() for line in said.splitlines()]
