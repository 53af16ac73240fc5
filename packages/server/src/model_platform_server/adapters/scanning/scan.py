"""Which files of a model hold pickles, and whether any of these must not be loaded. Nothing is unpickled."""

from __future__ import annotations

import json
import subprocess
import sys
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
_OWN = (".skops", ".keras", ".onnx", ".ubj", ".safetensors", ".whl")
"""Archives and others that their own libraries read without unpickling; wheels are code, to be read as such."""


@dataclass(frozen=True)
class Scan:
    """What was found. `pickles` are the files that hold one; `by_value` is whether code travels inside of them."""

    pickles: frozenset[str] = frozenset()
    by_value: bool = False


def scan(root: Path, paths: Iterable[str], name: str) -> Scan:
    """Look into every file that may hold a pickle.

    Raises
    ------
    FormatRefusedError
        If something speaks against one, or it could not be looked into in time.
    """
    candidates = [path for path in paths if _is_candidate(root, path)]
    if not candidates:
        return Scan()
    answers = _ask(root, candidates, name)
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
    with (root / path).open("rb") as file:
        head = file.read(streams.HEAD_BYTES)
    if path.lower().endswith(_OWN) and not head.startswith(b"\x80"):
        return False
    return bool(head) and streams.may_hold_pickles(path, head)


def _ask(root: Path, paths: list[str], name: str) -> list[dict[str, Any]]:
    largest = max((root / path).stat().st_size for path in paths)
    memory = _MEMORY + _MEMORY_OF_SIZE * largest
    command = [sys.executable, "-P", "-m", f"{__package__}.worker", str(root), str(memory), str(SECONDS)]
    try:
        done = subprocess.run(
            command, input=json.dumps(paths).encode(), capture_output=True, timeout=SECONDS, check=False
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
