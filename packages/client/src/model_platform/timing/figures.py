"""What was measured on both sides, and the one setting that it speaks for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

PARTS = ("queue", "check", "model", "encode")
"""What a runner tells of a call, in `Server-Timing`: waiting for its turn, reading, the model, writing."""

_MOST = 0.5  # of the time: what takes less is not what to change
_MUCH_WAITING = 1 / 3  # of a runner's time: calls that come meanwhile share one turn, so no call waits for many
_MUCH_LONGER = MANY_MORE = 1.5
_BY_THREADS = 1.3  # the model is that much slower with fewer threads: they are the reason
_NOTICEABLE_SECONDS = 0.001
_REPLICAS_LIMIT = 100


@dataclass(frozen=True)
class Here:
    """The model in this process, asked for all rows at once.

    `threads` is how many it uses; with as many as a runner has it took `limited_seconds`, None where that was not
    measured. `one_in_runner`: a runner lets it use one thread only, whatever its share of the CPU.
    """

    seconds: float
    threads: int
    limited_seconds: float | None = None
    one_in_runner: bool = False
    from_kernel: bool = False


@dataclass(frozen=True)
class There:
    """The endpoint, asked for the same rows. `parts` in seconds, empty where its runner tells none; `cpu` of one runner."""

    seconds: float
    parts: Mapping[str, float]
    replicas: int
    cpu: float

    @property
    def way(self) -> float:
        """What is left: network, gateway, and JSON on this side."""
        return max(self.seconds - sum(self.parts.values()), 0.0)

    @property
    def threads(self) -> int:
        """How many threads numerical libraries may use in a runner with this share of the CPU."""
        return max(1, round(self.cpu))

    @property
    def around(self) -> float:
        """What a call takes beside waiting for its turn and the model."""
        return self.seconds - self.parts.get("queue", 0.0) - self.parts.get("model", 0.0)

    def mostly(self, seconds: float) -> bool:
        """Whether this is most of what the endpoint takes."""
        return seconds >= _MOST * self.seconds


@dataclass(frozen=True)
class More:
    """The endpoint, asked for so many rows in one call."""

    rows: int
    seconds: float

    def gains_over(self, other: More) -> bool:
        """Whether it answers many more rows in the same time."""
        return self.rows / self.seconds >= MANY_MORE * other.rows / other.seconds


@dataclass(frozen=True)
class Figures:
    """Both sides. `room` are the CPU cores that the zone leaves to the endpoint with what it has; None where unknown."""

    rows: int
    calls: int
    here: Here | None
    there: There
    more: More | None = None
    room: float | None = None
    rows_independent: bool = True

    @property
    def is_model_slower(self) -> bool:
        """Whether the model takes much longer there than here, and that is most of what the endpoint takes."""
        model = self.there.parts.get("model", 0.0)
        if self.here is None or not self.there.mostly(model):
            return False
        return model > _MUCH_LONGER * self.here.seconds and model - self.here.seconds > _NOTICEABLE_SECONDS


@dataclass(frozen=True)
class Advice:
    """The one setting to change, and why; with none of them set, there is none."""

    why: str
    replicas: int | None = None
    cpu: int | None = None
    rows: int | None = None


def advice(figures: Figures) -> Advice:
    """The one setting to change."""
    if not figures.there.parts:
        return Advice("its runner is of an earlier release and does not tell where the time goes: stop and start it")
    found = _waits(figures) or _lacks_threads(figures) or _small_calls(figures)
    return found or Advice(f"nothing: {_why_not(figures)}")


def _waits(figures: Figures) -> Advice | None:
    """Calls wait for one another: more runners."""
    there = figures.there
    queue = there.parts["queue"]
    if queue < _NOTICEABLE_SECONDS or queue < _MUCH_WAITING * sum(there.parts.values()):
        return None
    wanted = _replicas_with_room(figures, 2 * there.replicas)
    why = "calls wait there for those of others"
    if wanted <= there.replicas:
        return Advice(f"nothing: {why}, and the zone has no room for another runner")
    return Advice(why, replicas=wanted)


def _lacks_threads(figures: Figures) -> Advice | None:
    """The model is quicker here because it uses more threads."""
    here, there = figures.here, figures.there
    if here is None or not figures.is_model_slower:
        return None
    threads = 1 if here.one_in_runner else there.threads
    by_threads = here.limited_seconds is None or here.limited_seconds >= _BY_THREADS * here.seconds
    if here.threads <= threads or not by_threads:
        return None
    why = f"the model uses {here.threads} threads here and {threads} there"
    return _more_runners(figures, here.threads, why) if here.one_in_runner else _more_cpu(figures, here.threads, why)


def _more_cpu(figures: Figures, threads: int, why: str) -> Advice:
    there = figures.there
    cpu = threads if figures.room is None else min(threads, math.floor(figures.room / there.replicas + 1e-9))
    return Advice(why, cpu=cpu) if cpu > there.threads else Advice(f"nothing: {why}, and the zone has no room for more")


def _more_runners(figures: Figures, threads: int, why: str) -> Advice:
    """For a model to which a runner gives one thread only: its rows can be shared out."""
    if not figures.rows_independent:
        return Advice(f"nothing: {why}, as in every runner, and its rows do not answer one by one")
    wanted = _replicas_with_room(figures, threads)
    if wanted <= figures.there.replicas:
        return Advice(f"nothing: {why}, as in every runner, and the zone has no room for another")
    return Advice(f"{why}, as in every runner: ask several at once, each for a part of the rows", replicas=wanted)


def _small_calls(figures: Figures) -> Advice | None:
    """Each call costs more than its rows: more of them in one."""
    there, more = figures.there, figures.more
    if more is None or not there.mostly(there.around):
        return None
    if not more.gains_over(More(figures.rows, there.seconds)):
        return None
    before, after = figures.rows / there.seconds, more.rows / more.seconds
    times = f"{after / before:.1f}" if after < 10 * before else f"{after / before:,.0f}"
    return Advice(f"{after:,.0f} rows per second, {times} × as many", rows=more.rows)


def _why_not(figures: Figures) -> str:
    here, there = figures.here, figures.there
    if figures.is_model_slower:
        return "the model takes longer there with as many threads; that machine is slower, or busy"
    if here is not None and there.seconds <= here.seconds:
        return "the endpoint is quicker than the notebook"
    if there.mostly(there.parts["model"]):
        return "the model itself takes the time" + (", there as here" if here else "")
    if not there.mostly(there.around):
        return "no part takes much more than the others"
    if figures.rows_independent:
        return "sending, reading and writing the rows takes the time, however many are in a call"
    return "each call costs more than its rows, which do not answer one by one"


def _replicas_with_room(figures: Figures, wanted: int) -> int:
    most = _REPLICAS_LIMIT if figures.room is None else math.floor(figures.room / figures.there.cpu + 1e-9)
    return min(wanted, most, _REPLICAS_LIMIT)
