"""From measurements to verdicts: medians of quiet rounds, and nothing said where there were too few of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from bench.figures import Figure

QUIET_BELOW = 1 / 3
"""Cores that other processes may take in a round that counts."""


@dataclass(frozen=True)
class Measurement:
    """One number taken once, the processor time that it took, and the cores that other processes took meanwhile."""

    value: float
    cpu: float | None
    others: float

    @property
    def quiet(self) -> bool:
        """Whether it counts."""
        return self.others <= QUIET_BELOW


@dataclass(frozen=True)
class Side:
    """The median of the rounds that count, and their range."""

    value: float
    low: float
    high: float
    cpu: float | None


@dataclass(frozen=True)
class Outcome:
    """What was measured for a figure. A side is None where too few rounds were quiet.

    `quiet` and `taken` count the rounds of the side that had fewer quiet ones; `trouble` says why nothing could be
    measured; `at` is when it was.
    """

    ours: Side | None = None
    peer: Side | None = None
    quiet: int = 0
    taken: int = 0
    trouble: str | None = None
    at: str = ""

    @property
    def stands(self) -> bool:
        """Whether it was measured; what was too noisy or failed is tried again by the next run."""
        return self.trouble is None and self.ours is not None


class Verdict(StrEnum):
    """How a figure stands."""

    AIM_MET = "as aimed"
    MET = "met"
    MISSED = "MISSED"
    SHOWN = "shown"
    NOT_MEASURED = "not measured"
    FAILED = "FAILED"


def side(measurements: Sequence[Measurement], wanted: int) -> Side | None:
    """The median of the quiet measurements; None if there are fewer than `wanted`."""
    counted = [one for one in measurements if one.quiet]
    if len(counted) < wanted or not counted:
        return None
    values, cpu = [one.value for one in counted], [one.cpu for one in counted if one.cpu is not None]
    return Side(statistics.median(values), min(values), max(values), statistics.median(cpu) if cpu else None)


def outcome(ours: Sequence[Measurement], peer: Sequence[Measurement] | None, wanted: int) -> Outcome:
    """Both sides of a figure; `peer` is None where it stands alone."""
    sides = [ours] if peer is None else [ours, peer]
    quiet, taken = min((sum(one.quiet for one in each), len(each)) for each in sides)
    return Outcome(side(ours, wanted), None if peer is None else side(peer, wanted), quiet, taken)


def exact(value: float) -> Outcome:
    """What is read off, not timed: other processes do not change it."""
    return Outcome(Side(value, value, value, None), None, 1, 1)


def compared(figure: Figure, found: Outcome) -> float | None:
    """The number that the bounds are about; None if it was not measured."""
    if found.ours is None:
        return None
    if figure.compared == "ours":
        return found.ours.value
    if found.peer is None:
        return None
    ratio = found.ours.value / found.peer.value
    return ratio if figure.compared == "ours / peer" else 1 / ratio


def verdict(figure: Figure, found: Outcome) -> Verdict:
    """How a figure stands; what was not measured is neither met nor missed."""
    if found.trouble is not None:
        return Verdict.FAILED
    number = compared(figure, found)
    if number is None:
        return Verdict.NOT_MEASURED
    if figure.required is not None and not figure.required.kept(number):
        return Verdict.MISSED
    if figure.aimed is not None and figure.aimed.kept(number):
        return Verdict.AIM_MET
    return Verdict.SHOWN if figure.required is None else Verdict.MET
