"""Publish and deploy, as a notebook has them: timed from sending a cell until its kernel is idle again."""

from __future__ import annotations

import itertools
import time
from contextlib import ExitStack

from bench.figures import LOG_MODEL
from bench.home import Home
from bench.kernel import Kernel, kernel
from bench.models import PREPARE, QUICKSTART
from bench.outcomes import Measurement
from bench.workbench import Bench, Found

_LOAD = "import model_platform\n%load_ext model_platform"
_PUBLISH = "%mp_publish model --name penguins --data X_train --example X_test[:20]"
_DEPLOY = "%mp_deploy penguins"
_PAUSE = 15.0  # seconds between %load_ext and the first publish

_WITH_MLFLOW = """
import warnings
warnings.simplefilter("ignore")
import mlflow.sklearn
mlflow.set_tracking_uri("sqlite:///mlflow.db")
"""
# By default, with skops, MLflow refuses this pipeline; cloudpickle is the faster of the two ways around.
_LOG_MODEL = """
with mlflow.start_run():
    mlflow.sklearn.log_model(
        model,
        name="model",
        input_example=X_test[:20],
        registered_model_name="penguins",
        serialization_format="cloudpickle",
    )
"""


def run(bench: Bench) -> None:
    """Measure the group."""
    keys = ("publish-again", "publish-again-mlflow", "deploy", "publish-first", "import")
    if not bench.due(*keys):
        return
    home = bench.home("publish")
    with ExitStack() as stack:
        stack.callback(home.remove)
        group = Publish(bench, home)
        with kernel(home.environment, home.folder / "before") as first:
            bench.progress("starting the server of this home")
            first.run(PREPARE + QUICKSTART)
            first.run(_PUBLISH)  # the first of all: it starts the server, as once on a machine
            first.run(_DEPLOY)
        home.wait_for_mlflow()
        bench.row(keys[:3], group.again)
        bench.row(keys[3:4], group.first)
        bench.row(keys[4:], group.load)


class Publish:
    """The group's rows."""

    def __init__(self, bench: Bench, home: Home) -> None:
        self._bench, self._home = bench, home
        self._numbers = itertools.count(1)

    def again(self) -> Found:
        """Publish and deploy again and again in one kernel, and MLflow's `log_model` in another."""
        with (
            kernel(self._home.environment, self._home.folder / "ours") as ours,
            kernel(self._home.environment, self._home.folder / "mlflow") as theirs,
        ):
            ours.run(PREPARE + QUICKSTART)
            ours.run(_PUBLISH)
            theirs.run(_WITH_MLFLOW + QUICKSTART)
            theirs.run(_LOG_MODEL)
            found = self._bench.in_rounds(
                {
                    "%mp_publish": lambda: self._timed(ours, _PUBLISH),
                    "%mp_deploy": lambda: self._timed(ours, _DEPLOY, before=_PUBLISH),
                    LOG_MODEL: lambda: self._timed(theirs, _LOG_MODEL),
                }
            )
        published = found["%mp_publish"]
        return {
            "publish-again": self._bench.outcome(published),
            "publish-again-mlflow": self._bench.outcome(published, found[LOG_MODEL]),
            "deploy": self._bench.outcome(found["%mp_deploy"]),
        }

    def first(self) -> Found:
        """The first publish of a kernel whose user has fitted a model meanwhile."""
        found = self._bench.in_rounds({"first publish": self._first})
        return {"publish-first": self._bench.outcome(found["first publish"])}

    def load(self) -> Found:
        """The import, in a kernel that has done nothing yet."""
        found = self._bench.in_rounds({"import": self._load})
        return {"import": self._bench.outcome(found["import"])}

    def _timed(self, where: Kernel, cell: str, before: str = "") -> Measurement:
        """Time a cell after the model was fitted anew, so that there is something to do."""
        where.run(f"model = pipeline(LogisticRegression(C={0.01 * next(self._numbers):.2f})).fit(X_train, y_train)")
        if before:
            where.run(before)
        return self._bench.watched(self._home, lambda: where.timed(cell)[0])

    def _first(self) -> Measurement:
        with kernel(self._home.environment, self._home.folder / "first") as fresh:
            fresh.run(_LOAD)
            loaded = time.monotonic()
            fresh.run(
                f"{QUICKSTART}\nmodel = pipeline(LogisticRegression(C={next(self._numbers)})).fit(X_train, y_train)"
            )
            time.sleep(max(0.0, loaded + _PAUSE - time.monotonic()))
            return self._bench.watched(self._home, lambda: fresh.timed(_PUBLISH)[0])

    def _load(self) -> Measurement:
        with kernel(self._home.environment, self._home.folder / "load") as fresh:
            fresh.run("1")
            return self._bench.watched(self._home, lambda: fresh.timed(_LOAD)[0])
