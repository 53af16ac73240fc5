"""Progress of what takes long: nothing under 0.3 s, then named steps with their times."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from model_platform.display import words
from model_platform.display.card import Card, Step
from model_platform.display.shown import Shown
from model_platform.display.surface import Nowhere, Surface, surface_here
from model_platform_core.deployments import StepState

PATIENCE_SECONDS = 0.3
LONG_SECONDS = 10.0
_TICK_SECONDS = 0.5


@dataclass
class _Running:
    name: str
    began: float
    detail: str = ""
    ended: float | None = None
    failed: bool = False

    def shown(self, now: float) -> Step:
        took = words.seconds((self.ended or now) - self.began)
        state = StepState.RUNNING if self.ended is None else StepState.FAILED if self.failed else StepState.DONE
        return Step(self.name, state, f"{self.detail} {took}".strip())


class Progress:
    """Steps of one piece of work. A thread of its own shows them once the work takes longer than people wait gladly.

    Use as a context manager. At its end a terminal's line is cleared; a cell's output stays, with what was done, or
    with the card that `end_with` gave.
    """

    def __init__(self, title: str, surface: Surface | None = None) -> None:
        self._title = title
        self._surface = surface or surface_here()
        self._steps: list[_Running] = []
        self._began = time.monotonic()
        self._shown = False
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._result: Shown | None = None
        self.said = ""

    @classmethod
    def silent(cls) -> Progress:
        """Progress that nobody sees."""
        return cls("", Nowhere())

    def __enter__(self) -> Progress:
        if not isinstance(self._surface, Nowhere):
            context = contextvars.copy_context()  # a kernel knows by its context to which cell an output belongs
            threading.Thread(target=context.run, args=(self._watch,), name="progress", daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        with self._lock:
            if not self._shown:
                return
            if self._result is not None and self._surface.stays:
                self._surface.show(self._result.card())
                self._result.mark_shown()
            elif self._surface.stays:
                self._surface.show(self._card())
            else:
                self._surface.clear()

    def end_with(self, result: Shown) -> None:
        """Let the card of a result take the place of the progress, so that the cell does not show both."""
        self._result = result

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A named step; it is marked as failed if an error leaves it."""
        running = _Running(name, time.monotonic())
        self._steps.append(running)
        try:
            yield
        except BaseException:
            running.failed = True
            raise
        finally:
            running.ended = time.monotonic()

    def say(self, sentence: str) -> None:
        """Something to be known before the work goes on, shown at once; an empty sentence says nothing."""
        self.said = sentence
        if sentence and not isinstance(self._surface, Nowhere):
            with self._lock:
                self._surface.show(self._card())
                self._shown = True

    def detail(self, text: str) -> None:
        """A few words on the step that runs."""
        if self._steps:
            self._steps[-1].detail = text

    def _watch(self) -> None:
        if self._over.wait(PATIENCE_SECONDS):
            return
        while True:
            with self._lock:
                if self._over.is_set():
                    return
                self._surface.show(self._card())
                self._shown = True
            if self._over.wait(_TICK_SECONDS):
                return

    def _card(self) -> Card:
        now = time.monotonic()
        long = now - self._began > LONG_SECONDS
        return Card(
            kind="progress",
            title=self._title,
            aside=words.seconds(now - self._began),
            steps=tuple(step.shown(now) for step in list(self._steps)),
            message=(self.said,) if self.said else (),
            rows=(("stop", "interrupt the kernel; nothing is left half-done"),)
            if long and not self._over.is_set()
            else (),
        )
