"""`results.json`: written after each row, so that a run that was interrupted goes on where it was."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.figures import FIGURES
from bench.outcomes import Outcome, Side


def this_machine() -> str:
    """The machine in a line: what figures are worth little without."""
    models = [line.partition(": ")[2] for line in _text("/proc/cpuinfo").splitlines() if line.startswith("model name")]
    memory = int(_text("/proc/meminfo").split()[1]) / 2**20
    return f"{os.cpu_count()} × {models[0] if models else platform.machine()}, {memory:.0f} GiB, Python {platform.python_version()}"


def _text(path: str) -> str:
    return Path(path).read_text()


@dataclass
class Results:
    """What was measured with these settings on this machine, by the figures' keys."""

    file: Path
    rounds: int
    seconds: int
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    machine: str = field(default_factory=this_machine)

    def put(self, key: str, found: Outcome) -> None:
        """Keep an outcome, and write all."""
        self.outcomes[key] = replace(found, at=dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M"))
        self.write()

    def write(self) -> None:
        """Replace the file whole."""
        ordered = {each.key: asdict(self.outcomes[each.key]) for each in FIGURES if each.key in self.outcomes}
        document = {name: value for name, value in vars(self).items() if name not in ("file", "outcomes")}
        beside = self.file.with_suffix(".new")
        self.file.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps({**document, "outcomes": ordered}, indent=1, ensure_ascii=False) + "\n")
        beside.replace(self.file)

    def complete(self, keys: Sequence[str]) -> bool:
        """Whether each of these is there."""
        return all(key in self.outcomes for key in keys)

    def go_on_after(self, earlier: Results, keys: Sequence[str], *, anew: bool = False) -> None:
        """Take over what an earlier run of the same settings on this machine has measured.

        Of the figures that are asked for (`keys`), that is what it had measured when it was interrupted; nothing of them
        if it had come to its end, or with `anew`.
        """
        if (earlier.rounds, earlier.seconds, earlier.machine) != (self.rounds, self.seconds, self.machine):
            return
        standing = {key: one for key, one in earlier.outcomes.items() if one.stands}
        again = anew or all(key in standing for key in keys)
        self.outcomes = {key: one for key, one in standing.items() if not (again and key in keys)}


def read(file: Path) -> Results | None:
    """What an earlier run left; None if it left nothing that can be read."""
    try:
        document = json.loads(file.read_text())
        outcomes = {key: _outcome(each) for key, each in document.pop("outcomes").items()}
        return Results(file=file, outcomes=outcomes, **document)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _outcome(document: dict[str, Any]) -> Outcome:
    sides = {name: Side(**document[name]) if document[name] else None for name in ("ours", "peer")}
    return Outcome(**{**document, **sides})
