"""Serving: requests per second and latency, ours and the peers' with the same model, side by side."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from bench.direct import direct
from bench.figures import KSERVE, KSERVE_ENVOY, KSERVE_TUNED, MLFLOW, STARLETTE, of_group
from bench.home import Home
from bench.kernel import Kernel, kernel
from bench.load import Target, answer
from bench.models import PREPARE, SAMPLES
from bench.workbench import Bench, Found

OURS = "ours"


@dataclass(frozen=True)
class Published:
    """A deployed sample: a row of it, what was saved for the peers, and its endpoint."""

    row: dict[str, Any]
    folder: Path
    url: str
    token: str

    @property
    def values(self) -> dict[str, Any]:
        """KServe's V1 body: a row as a list."""
        return {"instances": [list(self.row.values())]}

    @property
    def named(self) -> dict[str, Any]:
        """A row by names, as our V1 takes it."""
        return {"instances": [self.row]}

    @property
    def kserve_named(self) -> dict[str, Any]:
        """A row by names, as KServe makes a table of it."""
        return {"instances": [{name: [value] for name, value in self.row.items()}]}

    @property
    def mlflow(self) -> dict[str, Any]:
        """A row by names, as MLflow's server takes it."""
        return {"dataframe_records": [self.row]}


def run(bench: Bench) -> None:
    """Measure the group."""
    if not bench.due(*(figure.key for figure in of_group("serving"))):
        return
    home = bench.home("serving")
    with ExitStack() as stack:
        stack.callback(home.remove)
        group = Serving(bench, home, stack)
        bench.row(
            ("regression-kserve", "regression-kserve-tuned", "regression-mlflow", "regression-starlette"),
            group.regression,
        )
        bench.row(("latency-kserve",), group.latency)
        bench.row(("envoy-kserve",), group.through_envoy)
        bench.row(("penguins-kserve", "penguins-mlflow"), group.penguins)
        bench.row(("pyfunc-kserve",), group.pyfunc)
        bench.row(("forest-kserve",), group.forest)
        bench.row(("boosting-kserve",), group.boosting)


class Serving:
    """The group's rows; models are published and deployed from a kernel when a row needs them."""

    def __init__(self, bench: Bench, home: Home, stack: ExitStack) -> None:
        self._bench, self._home = bench, home
        self._peers, self._load = bench.peers(home), bench.load(home)
        self.kernel = cache(lambda: _prepared(stack.enter_context(kernel(home.environment, home.folder / "work"))))
        self.published = cache(self._publish)

    def _publish(self, name: str) -> Published:
        self._bench.progress(f"publishing and deploying {name}")
        folder = self._home.folder / "models" / name
        shutil.rmtree(folder, ignore_errors=True)  # what a row left that failed
        folder.mkdir(parents=True)
        printed = self.kernel().run(SAMPLES[name].publish(folder))
        self.kernel().run(f"%mp_deploy {name}")
        (row,) = json.loads(printed.rpartition("ROW ")[2])
        return Published(row, folder, *self._home.endpoint(name))

    # ---------------------------------------------------------------- rows

    def regression(self) -> Found:
        """Logistic regression at 32 connections, against all peers."""
        model = self.published("regression")
        path = model.folder / "model.joblib"
        with ExitStack() as stack:
            targets = [
                stack.enter_context(direct(self._home, "regression", model.values, model.token)),
                stack.enter_context(self._peers.kserve(KSERVE, "joblib", path, model.values)),
                stack.enter_context(self._peers.kserve(KSERVE_TUNED, "joblib", path, model.values, "--without-logs")),
                stack.enter_context(self._peers.mlflow(MLFLOW, model.folder / "mlflow", model.mlflow)),
                stack.enter_context(self._peers.starlette(STARLETTE, path, model.values)),
            ]
            return self._rates(
                targets,
                {
                    "regression-kserve": KSERVE,
                    "regression-kserve-tuned": KSERVE_TUNED,
                    "regression-mlflow": MLFLOW,
                    "regression-starlette": STARLETTE,
                },
            )

    def latency(self) -> Found:
        """Logistic regression at one connection."""
        model = self.published("regression")
        with (
            direct(self._home, "regression", model.values, model.token) as ours,
            self._peers.kserve(KSERVE, "joblib", model.folder / "model.joblib", model.values) as peer,
        ):
            measures = {target.name: partial(self._load.median_latency, target) for target in (ours, peer)}
            found = self._bench.in_rounds(measures)
        return {"latency-kserve": self._bench.outcome(found[OURS], found[KSERVE])}

    def through_envoy(self) -> Found:
        """Ours through the platform's gateway, KServe through an Envoy of the same configuration."""
        model = self.published("regression")
        runners = set(self._home.runners("regression"))
        ours = Target(
            OURS,
            f"{model.url}/v1/models/regression:predict",
            model.values,
            lambda: runners | _envoys(self._home),
            model.token,
        )
        path, folder = model.folder / "model.joblib", self._home.folder / "envoy"
        with self._peers.kserve_behind(KSERVE_ENVOY, path, model.values, folder) as peer:
            return self._rates([ours, peer], {"envoy-kserve": KSERVE_ENVOY})

    def penguins(self) -> Found:
        """The quickstart's pipeline, rows by name."""
        model = self.published("penguins")
        path = model.folder / "model.joblib"
        with (
            direct(self._home, "penguins", model.named, model.token) as ours,
            self._peers.kserve(KSERVE, "joblib", path, model.kserve_named) as kserve,
            self._peers.mlflow(MLFLOW, model.folder / "mlflow", model.mlflow) as mlflow,
        ):
            return self._rates([ours, kserve, mlflow], {"penguins-kserve": KSERVE, "penguins-mlflow": MLFLOW})

    def pyfunc(self) -> Found:
        """A custom model of MLflow's."""
        model = self.published("pyfunc")
        with (
            direct(self._home, "pyfunc", model.named, model.token) as ours,
            self._peers.kserve(KSERVE, "pyfunc", model.folder / "mlflow", model.kserve_named) as peer,
        ):
            return self._rates([ours, peer], {"pyfunc-kserve": KSERVE})

    def forest(self) -> Found:
        """A random forest."""
        model = self.published("forest")
        with (
            direct(self._home, "forest", model.values, model.token) as ours,
            self._peers.kserve(KSERVE, "joblib", model.folder / "model.joblib", model.values) as peer,
        ):
            return self._rates([ours, peer], {"forest-kserve": KSERVE})

    def boosting(self) -> Found:
        """LightGBM."""
        model = self.published("boosting")
        with (
            direct(self._home, "boosting", model.values, model.token) as ours,
            self._peers.kserve(KSERVE, "booster", model.folder / "model.txt", model.values) as peer,
        ):
            return self._rates([ours, peer], {"boosting-kserve": KSERVE})

    def _rates(self, targets: list[Target], peers: Mapping[str, str]) -> Found:
        """Ours against each of the peers, by the figures' keys; what answers otherwise than ours is no peer."""
        said = {target.name: _predictions(target) for target in targets}
        for name, predictions in said.items():
            if not _alike(predictions, said[OURS]):
                raise RuntimeError(f"{name} answers {predictions}, ours {said[OURS]}: it is not the same model.")
        taken = self._bench.in_rounds({target.name: partial(self._load.rate, target) for target in targets})
        return {key: self._bench.outcome(taken[OURS], taken[name]) for key, name in peers.items()}


def _prepared(found: Kernel) -> Kernel:
    found.run(PREPARE)
    return found


def _predictions(target: Target) -> list[Any]:
    found = answer(target)["predictions"]
    return [value for each in found for value in (each if isinstance(each, list) else [each])]


def _alike(one: list[Any], other: list[Any]) -> bool:
    with suppress(TypeError):
        return all(abs(a - b) < 1e-9 for a, b in zip(one, other, strict=True))
    return one == other


def _envoys(home: Home) -> set[int]:
    record = home.state / "local" / "gateway" / "envoy.json"
    return {int(json.loads(record.read_text())["pid"])}
