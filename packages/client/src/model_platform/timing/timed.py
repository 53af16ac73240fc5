"""What `time` answers: five lines."""

from __future__ import annotations

from typing import Any

from model_platform.display import words
from model_platform.display.card import Card, Inline, code, quiet
from model_platform.display.shown import Shown
from model_platform.timing.figures import PARTS, Advice, Figures, advice
from model_platform_core.cards import Resources
from model_platform_core.deployments import DeploymentSpec
from model_platform_core.models import ModelVersion
from model_platform_core.refs import endpoint_name_for

_MEBIBYTE = 1 << 20


class Timed(Shown):
    """The notebook and an endpoint side by side.

    Parameters
    ----------
    zone
        The zone in which bare names are meant.
    why_not_here
        One sentence, where the model could not be asked in this process.
    """

    def __init__(
        self,
        endpoint: str,
        version: ModelVersion,
        deployment: DeploymentSpec,
        figures: Figures,
        *,
        zone: str,
        why_not_here: str = "",
    ) -> None:
        self._endpoint, self._version, self._deployment = endpoint, version, deployment
        self._zone, self._why_not_here = zone, why_not_here
        self.figures = figures
        self.advice: Advice = advice(figures)

    def __repr__(self) -> str:
        return f"<Timed {self._endpoint} version {self._version.version}>"

    @property
    def line(self) -> str | None:
        """The line to type; None where no setting of the endpoint is to be changed."""
        if self.advice.replicas is None and self.advice.cpu is None:
            return None
        return deploy_line(self._endpoint, self._version, self._deployment, self.advice, self._zone)

    def card(self) -> Card:
        """The five lines."""
        return Card(
            kind="timed",
            title=self._endpoint,
            subtitle=f"version {self._version.version}",
            aside=self._asked(),
            rows=(
                ("notebook", self._here()),
                ("endpoint", self._there()),
                ("of which", self._parts()),
                ("threads", self._threads()),
                ("change", self._change()),
            ),
            data=self._data(),
        )

    def _asked(self) -> str:
        rows, calls = words.plural(self.figures.rows, "row"), self.figures.calls
        return f"{rows} in one call" if calls == 1 else f"{rows} in {calls} calls"

    def _here(self) -> Inline:
        here = self.figures.here
        if here is None:
            return self._why_not_here
        what = "the object that was published" if here.from_kernel else "the version, loaded from the platform"
        return [self._speed(here.seconds), quiet(f"   {what}")]

    def _there(self) -> Inline:
        here, there = self.figures.here, self.figures.there
        compared = f"   {_ratio(there.seconds / here.seconds)} × the notebook's time" if here else ""
        return [self._speed(there.seconds), compared]

    def _speed(self, seconds: float) -> str:
        return f"{_milliseconds(seconds):>5} ms   {self.figures.rows / seconds:>7,.0f} rows per second"

    def _parts(self) -> Inline:
        there = self.figures.there
        if not there.parts:
            return "not told by its runner"
        told = " · ".join(f"{name} {_milliseconds(there.parts[name])}" for name in PARTS)
        return [f"way {_milliseconds(there.way)} ", quiet("(network, gateway, JSON here)"), f" · {told} ms"]

    def _threads(self) -> Inline:
        here, there = self.figures.here, self.figures.there
        runners = f"{words.plural(there.replicas, 'runner')} of {words.cores(there.cpu)} CPU"
        threads = 1 if here and here.one_in_runner else there.threads
        each = f", {words.plural(threads, 'thread')}{'' if there.replicas == 1 else ' each'}"
        return (f"{here.threads} here · there " if here else "there ") + runners + each

    def _change(self) -> Inline:
        if self.line is not None:
            return [code(self.line), f"   {self.advice.why}"]
        if self.advice.rows is not None:
            return [f"send {words.plural(self.advice.rows, 'row')} in a call: ", self.advice.why]
        return self.advice.why

    def _data(self) -> dict[str, Any]:
        here, there = self.figures.here, self.figures.there
        return {
            "zone": self._version.zone,
            "endpoint": self._endpoint,
            "version": self._version.version,
            "rows": self.figures.rows,
            "calls": self.figures.calls,
            "notebook": {"seconds": here.seconds, "threads": here.threads} if here else None,
            "why_no_notebook": self._why_not_here or None,
            "endpoint_seconds": there.seconds,
            "parts": {"way": there.way, **there.parts} if there.parts else None,
            "replicas": there.replicas,
            "cpu": there.cpu,
            "change": self.line,
            "rows_per_call": self.advice.rows,
            "why": self.advice.why,
        }


def deploy_line(endpoint: str, version: ModelVersion, live: DeploymentSpec, change: Advice, zone: str) -> str:
    """The line that changes one setting of an endpoint and leaves the others as they are."""
    # A deploy that does not say them takes the card's.
    known, now = version.card.resources or Resources(), live.resources
    cpu = change.cpu if change.cpu is not None else now.cpu
    model = version.name if version.zone == zone else version.full_name
    parts = [f"%mp_deploy {model}:{version.version}"]
    parts += [f"--name {endpoint}"] if endpoint != endpoint_name_for(version.name) else []
    parts += [f"--replicas {change.replicas}"] if change.replicas is not None else []
    parts += [f"--cpu {words.cores(cpu)}"] if cpu != known.cpu or change.cpu is not None else []
    parts += [f"--memory {_memory(now.memory)}"] if now.memory != known.memory else []
    return " ".join(parts)


def _memory(count: int) -> str:
    return str(count) if count % _MEBIBYTE else f"{count // _MEBIBYTE}Mi"


def _milliseconds(seconds: float) -> str:
    value = seconds * 1000
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value < 0.995 else f"{value:.1f}" if value < 9.95 else f"{value:,.0f}"
