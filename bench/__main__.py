"""`make bench`, or `python -m bench [GROUP …]`: measures ours and the peers in the same run.

One line for each figure as it comes; `bench/results.json` after each. A run that was interrupted goes on where it was,
one that came to its end begins anew. The exit status is 1 where a required figure is missed or a row failed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench import load, results, table
from bench.figures import FIGURES, GROUPS, of_group
from bench.groups import big, gateway, publish, server, serving, start
from bench.outcomes import Outcome, Verdict, verdict
from bench.progress import Progress
from bench.results import Results
from bench.workbench import Bench

_ROOT = Path(__file__).resolve().parents[1]
_RESULTS, _DOCUMENT = _ROOT / "bench" / "results.json", _ROOT / "docs" / "performance.md"
_WORK = _ROOT / "build" / "bench"
_RUN: dict[str, Callable[[Bench], None]] = {
    "serving": serving.run,
    "start": start.run,
    "publish": publish.run,
    "server": server.run,
    "gateway": gateway.run,
    "big": big.run,
}


def main() -> int:
    """Run the command line."""
    options = _options()
    if options.table:
        return _write_table()
    if not load.installed():
        print(load.MISSING, file=sys.stderr)
        return 2
    groups: list[str] = options.groups or list(GROUPS)
    keys = [figure.key for group in groups for figure in of_group(group)]
    found = _results(options, keys)
    bench = Bench(
        folder=_WORK,
        results=found,
        rounds=options.rounds,
        retries=0 if options.quick else options.rounds,
        seconds=options.seconds,
        quick=options.quick,
        lock=_ROOT / "locks" / "bench.lock",
        progress=Progress(),
    )
    try:
        for group in groups:
            began = time.monotonic()
            bench.group(group, _RUN[group])
            bench.progress.line(f"── {group}: {time.monotonic() - began:.0f} s")
    except KeyboardInterrupt:
        print(f"Interrupted; the same command goes on after {len(found.outcomes)} figures.", file=sys.stderr)
        return 130
    if not options.quick:
        table.write_into(_DOCUMENT, found)
    return _tell(found, keys, judged=not options.quick)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("groups", nargs="*", choices=[[], *GROUPS], metavar="GROUP", help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--rounds", type=int, default=3, help="quiet rounds that a figure needs (3)")
    parser.add_argument("--seconds", type=int, default=4, help="of load in each (4)")
    parser.add_argument("--quick", action="store_true", help="one round of 1 s, nothing kept: does it work?")
    parser.add_argument("--anew", action="store_true", help="measure again what an interrupted run has measured")
    parser.add_argument("--table", action="store_true", help="only write the table of docs/performance.md")
    options = parser.parse_args()
    if options.quick:
        options.rounds = options.seconds = 1
    return options


def _results(options: argparse.Namespace, keys: list[str]) -> Results:
    """What is there already, and where the rest is written."""
    _WORK.mkdir(parents=True, exist_ok=True)
    (_WORK / "trouble.log").unlink(missing_ok=True)
    found = Results(_WORK / "quick.json" if options.quick else _RESULTS, options.rounds, options.seconds)
    earlier = None if options.quick else results.read(found.file)
    if earlier is not None:
        found.go_on_after(earlier, keys, anew=options.anew)
    return found


def _tell(found: Results, keys: list[str], *, judged: bool) -> int:
    """Say how it stands; the exit status. Where it was only tried, nothing but a failure counts."""
    verdicts = {one.key: verdict(one, found.outcomes.get(one.key, Outcome())) for one in FIGURES if one.key in keys}
    counts = {each: sum(one is each for one in verdicts.values()) for each in Verdict}
    print(", ".join(f"{count} {each}" for each, count in counts.items() if count))
    return int(bool(counts[Verdict.FAILED] or (judged and counts[Verdict.MISSED])))


def _write_table() -> int:
    found = results.read(_RESULTS)
    if found is None:
        print(f"{_RESULTS.name} is not there yet: make bench", file=sys.stderr)
        return 1
    table.write_into(_DOCUMENT, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
