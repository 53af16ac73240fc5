"""What is required and aimed at: one table, in the words of those who asked for it."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Compared = Literal["ours", "ours / peer", "peer / ours"]
_SIGNS: dict[str, Callable[[float, float], bool]] = {"≥": operator.ge, "≤": operator.le, "<": operator.lt}


@dataclass(frozen=True)
class Bound:
    """A limit that a number keeps or not: `≥ 15`."""

    sign: Literal["≥", "≤", "<"]
    value: float

    def kept(self, number: float) -> bool:
        """Whether the number is on the right side."""
        return _SIGNS[self.sign](number, self.value)

    def __str__(self) -> str:
        return f"{self.sign} {self.value:g}"


def at_least(value: float) -> Bound:
    """No less than."""
    return Bound("≥", value)


def at_most(value: float) -> Bound:
    """No more than."""
    return Bound("≤", value)


def below(value: float) -> Bound:
    """Less than."""
    return Bound("<", value)


@dataclass(frozen=True)
class Figure:
    """One number that is measured, and what is wanted of it.

    Parameters
    ----------
    key
        Its name in `results.json`.
    group
        What `make bench BENCH=…` runs it with.
    what
        The row, in words.
    unit
        Of ours and of the peer's number.
    peer
        Whom it is compared with; None if it stands alone.
    compared
        What the bounds are about.
    required, aimed
        None where it is only shown.
    cpu
        The unit of the processor time beside it; of one request, or of one time that it was done.
    """

    key: str
    group: str
    what: str
    unit: str
    required: Bound | None = None
    aimed: Bound | None = None
    peer: str | None = None
    compared: Compared = "ours"
    cpu: str = "ms"


KSERVE, KSERVE_TUNED = "KServe", "KServe without logs"
MLFLOW, STARLETTE = "MLflow", "Starlette"
KSERVE_ENVOY, ONE_ENDPOINT, LOG_MODEL = "KServe, same Envoy", "one endpoint", "MLflow log_model"


def _rate(key: str, what: str, peer: str, required: float | None = None, aimed: float | None = None) -> Figure:
    return Figure(
        key,
        "serving",
        what,
        "requests/s",
        at_least(required) if required else None,
        at_least(aimed) if aimed else None,
        peer,
        "ours / peer",
        "µs",
    )


_REGRESSION = "logistic regression, one row, 32 connections, direct"
_PENGUINS = "the quickstart's pipeline on mixed rows, 32 connections"
_MANY = "200 small deployments on one machine, numpy path"
_AGAIN = "%mp_publish of the quickstart model, second time in a kernel"
_BIG = "500 MB of weights published"
_SIZE = "2,000 endpoints in one Envoy"

FIGURES = (
    _rate("regression-kserve", _REGRESSION, KSERVE, 15, 20),
    _rate("regression-kserve-tuned", _REGRESSION, KSERVE_TUNED),
    _rate("regression-mlflow", _REGRESSION, MLFLOW, 60, 80),
    _rate("regression-starlette", _REGRESSION, STARLETTE),
    _rate("penguins-kserve", _PENGUINS, KSERVE, 6, 10),
    _rate("penguins-mlflow", _PENGUINS, MLFLOW, 10, 16),
    _rate("pyfunc-kserve", "any pyfunc, 32 connections", KSERVE, 8, 12),
    _rate("forest-kserve", "random forest of 100", KSERVE, 60, 100),
    _rate("boosting-kserve", "LightGBM, 100 trees", KSERVE, 8, 15),
    Figure(
        "latency-kserve",
        "serving",
        "p50, one connection, logistic regression",
        "µs",
        below(0.4),
        below(0.25),
        KSERVE,
        "ours / peer",
        "µs",
    ),
    _rate("envoy-kserve", "logistic regression through Envoy, 32 connections", KSERVE_ENVOY, None, 10),
    Figure("fork", "start", "fork to first answer", "ms", at_most(50), at_most(20)),
    Figure("memory-numpy", "start", "memory per further runner: numpy path", "MB", at_most(12), at_most(8)),
    Figure("memory-pandas", "start", "memory per further runner: pandas path", "MB", at_most(30), at_most(20)),
    Figure("many-answer", "start", f"{_MANY}: all answer", "%", at_least(100)),
    Figure("many-memory", "start", f"{_MANY}: in all", "GB", at_most(3.5), at_most(2)),
    Figure("many-p99", "start", f"{_MANY}: p99 over 200 × 20 sequential requests", "ms", at_most(50)),
    Figure("publish-again", "publish", _AGAIN, "s", at_most(0.4), at_most(0.2)),
    Figure(
        "publish-again-mlflow",
        "publish",
        f"{_AGAIN}; MLflow's default log_model + register beside",
        "s",
        at_least(12),
        at_least(25),
        LOG_MODEL,
        "peer / ours",
    ),
    Figure("publish-first", "publish", "first publish, 15 s after %load_ext", "s", at_most(2), at_most(1)),
    Figure("deploy", "publish", "%mp_deploy to proven answer, environment present", "s", at_most(0.6), at_most(0.3)),
    Figure("import", "publish", "import model_platform and %load_ext", "s", at_most(0.3), at_most(0.15)),
    Figure("server-api", "server", "server: to first answer of /api/v1", "s", at_most(2), at_most(1)),
    Figure("server-mlflow", "server", "server: to /mlflow ready", "s", at_most(12), at_most(8)),
    Figure("server-memory", "server", "server: memory", "MB", at_most(400), at_most(300)),
    Figure("gateway-change", "gateway", f"{_SIZE}: a change is in force", "ms", at_most(200)),
    Figure("gateway-p50", "gateway", f"{_SIZE}: p50", "µs", at_most(1.2), None, ONE_ENDPOINT, "ours / peer", "µs"),
    Figure("big-client", "big", f"{_BIG}: peak memory of the kernel above its level before", "MB"),
    Figure("big-server", "big", f"{_BIG}: peak memory of the server above its level before", "MB"),
    Figure("big-seconds", "big", f"{_BIG}: time", "s"),
)

GROUPS = tuple(dict.fromkeys(figure.group for figure in FIGURES))


def of_group(group: str) -> list[Figure]:
    """The figures of a group, in order."""
    return [figure for figure in FIGURES if figure.group == group]
