"""Which files of a model hold pickles, and whether any of these must not be loaded. Nothing is unpickled."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_platform_core.errors import FieldProblem, FormatRefusedError
from model_platform_server.adapters.scanning import streams

SECONDS = 120
_MEMORY = 3 << 30
_MEMORY_OF_SIZE = 3
_SHOWN = 3
_CODE = ".whl"
_ARCHIVES = (".skops", ".keras")
"""Archives that their own libraries read; nothing in them is unpickled, so they hold no pickles."""


@dataclass(frozen=True)
class Brought:
    """What MLmodel says of a version: the files that are unpickled, the modules that come along as code to read."""

    unpickled: frozenset[str] = frozenset()
    modules: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Scan:
    """What was found. `pickles` are the files that hold one; `by_value` is whether code travels inside of them."""

    pickles: frozenset[str] = frozenset()
    by_value: bool = False


def is_archive(path: Path) -> bool:
    """Whether a file is a zip file from its first byte on: nobody can take it for a pickle."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04" and zipfile.is_zipfile(file)


def scan(root: Path, paths: Iterable[str], name: str, brought: Brought = Brought()) -> Scan:
    """Look into every file that is unpickled, and every other that may hold a pickle.

    Raises
    ------
    FormatRefusedError
        If something speaks against one, or it could not be looked into in time.
    """
    candidates = [path for path in paths if path in brought.unpickled or _is_candidate(root, path)]
    if not candidates:
        return Scan()
    answers = _ask(root, candidates, name, brought)
    problems = [
        FieldProblem(field=answer["path"], problem=objection)
        for answer in answers
        for objection in dict.fromkeys(answer["objections"])
    ]
    if problems:
        raise _refusal(name, problems)
    return Scan(
        frozenset(answer["path"] for answer in answers if answer["pickles"]),
        any(answer["by_value"] for answer in answers),
    )


def _is_candidate(root: Path, path: str) -> bool:
    if path.lower().endswith(_CODE):
        return False  # to be read as code
    if path.lower().endswith(_ARCHIVES) and is_archive(root / path):
        with (root / path).open("rb") as file, contextlib.suppress(zipfile.BadZipFile, OSError, ValueError):
            return streams.archive_may_hold_pickles(file)
    with (root / path).open("rb") as file:
        head = file.read(streams.HEAD_BYTES)
    return bool(head) and streams.may_hold_pickles(path, head)


def _ask(root: Path, paths: list[str], name: str, brought: Brought) -> list[dict[str, Any]]:
    largest = max((root / path).stat().st_size for path in paths)
    memory = _MEMORY + _MEMORY_OF_SIZE * largest
    command = [sys.executable, "-P", "-m", f"{__package__}.worker", str(root), str(memory), str(SECONDS)]
    question = {"paths": paths, "unpickled": sorted(brought.unpickled), "modules": sorted(brought.modules)}
    try:
        done = subprocess.run(
            command, input=json.dumps(question).encode(), capture_output=True, timeout=SECONDS, check=False
        )
        answers: list[dict[str, Any]] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise _refusal(name, [_not_looked(paths, f"could not be looked into within {SECONDS} s")]) from None
    except ValueError:
        raise _refusal(name, [_not_looked(paths, "could not be looked into; the scan ended early")]) from None
    if [answer.get("path") for answer in answers] != paths:
        raise _refusal(name, [_not_looked(paths, "could not be looked into; the scan is incomplete")])
    return answers


def _not_looked(paths: list[str], why: str) -> FieldProblem:
    return FieldProblem(field=paths[0], problem=why)


def _refusal(name: str, problems: list[FieldProblem]) -> FormatRefusedError:
    shown = "; ".join(f"{one.field} {one.problem}" for one in problems[:_SHOWN])
    more = f" (and {len(problems) - _SHOWN} more)" if len(problems) > _SHOWN else ""
    return FormatRefusedError(
        f"{name} was not published: {shown}{more}",
        hint="save it in a format that runs nothing when it is loaded (skops, ONNX, the library's own file), or"
        " bring the code for it as .py files",
        fields=problems,
    )
