"""What all groups have: where they lie, how often they measure, and what becomes of what they found."""

from __future__ import annotations

import os
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench import machine
from bench.figures import FIGURES, of_group
from bench.home import Home
from bench.load import Load
from bench.outcomes import Measurement, Outcome, outcome
from bench.peers import Peers
from bench.progress import Progress
from bench.results import Results
from bench.rounds import Measure, in_rounds
from bench.table import line

Found = Mapping[str, Outcome]
_FIGURES = {figure.key: figure for figure in FIGURES}


@dataclass
class Bench:
    """The surroundings of a run.

    `rounds` is how many quiet ones a number needs, `retries` how many more are tried for that. With `quick` everything
    is smaller: to see whether it works.
    """

    folder: Path
    results: Results
    rounds: int
    retries: int
    seconds: int
    quick: bool
    lock: Path
    progress: Progress

    def home(self, name: str) -> Home:
        """A home of its own for a group; what an interrupted run left of it is ended."""
        Home(self.folder / name).remove()
        home = Home(self.folder / name)
        os.environ["TMPDIR"] = tempfile.tempdir = str(home.mark)  # by which all that is started here is known as ours
        return home

    def peers(self, home: Home) -> Peers:
        """The peers, whose servers count as ours where noise is looked for."""
        peers = Peers(self.folder, self.lock, home.mark)
        peers.make(self.progress)
        return peers

    def load(self, home: Home) -> Load:
        """The load that wrk makes."""
        return Load(self.folder, home.mark, self.seconds)

    def due(self, *keys: str) -> bool:
        """Whether one of these figures is still to be measured."""
        return not self.results.complete(list(keys))

    def group(self, name: str, run: Callable[[Bench], None]) -> None:
        """Measure a group; what cannot even be prepared is the trouble of all of its figures."""
        try:
            run(self)
        except Exception as error:  # noqa: BLE001 - the other groups are measured all the same
            due = [figure.key for figure in of_group(name) if self.due(figure.key)]
            self._keep(due, dict.fromkeys(due, self._trouble(error)))

    def row(self, keys: Sequence[str], measure: Callable[[], Found]) -> None:
        """Measure figures, unless they are there; tell and keep what came out, trouble too."""
        if not self.due(*keys):
            return
        try:
            found = measure()
        except Exception as error:  # noqa: BLE001 - the other rows are measured all the same
            found = dict.fromkeys(keys, self._trouble(error))
        self._keep(keys, found)

    def _keep(self, keys: Sequence[str], found: Found) -> None:
        for key in keys:
            self.results.put(key, found[key])
            self.progress.line(line(_FIGURES[key], found[key]))

    def _trouble(self, error: Exception) -> Outcome:
        with (self.folder / "trouble.log").open("a") as file:
            traceback.print_exception(error, file=file)
        words = str(error).strip().splitlines() or [type(error).__name__]
        return Outcome(trouble=words[-1][:300])

    def in_rounds(self, measures: Mapping[str, Measure]) -> dict[str, list[Measurement]]:
        """All of them in shuffled rounds."""
        return in_rounds(measures, self.rounds, self.retries, self.progress)

    def outcome(
        self, ours: Sequence[Measurement], peer: Sequence[Measurement] | None = None, wanted: int | None = None
    ) -> Outcome:
        """Both sides of a figure, of which so many quiet measurements are wanted: by default as many as rounds."""
        if self.quick:  # whether it works shows beside other work too
            ours = _as_if_quiet(ours)
            peer = None if peer is None else _as_if_quiet(peer)
        return outcome(ours, peer, wanted or self.rounds)

    def watched(self, home: Home, measure: Callable[[], float]) -> Measurement:
        """A number, the milliseconds of processor time that we and all from `home` took meanwhile, and how quiet it was."""
        before = self._used(home)
        with machine.Watch(home.mark) as watch:
            value = measure()
        return Measurement(value, max(0.0, self._used(home) - before) * 1000, watch.others)

    def _used(self, home: Home) -> float:
        return machine.processor_seconds(home.processes() | machine.family(os.getpid()))


def _as_if_quiet(measurements: Sequence[Measurement]) -> list[Measurement]:
    return [replace(one, others=0.0) for one in measurements]
