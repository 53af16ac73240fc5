"""Big models: what publishing 500 MB of weights takes of the memory of the kernel and of the server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from bench import machine
from bench.home import Home
from bench.kernel import Kernel, kernel
from bench.models import PREPARE
from bench.outcomes import exact
from bench.workbench import Bench, Found

_MEGABYTES, _MEGABYTES_QUICK = 500, 50
_MODEL = """
import numpy as np


class Weights:
    def __init__(self, megabytes, seed):
        self.weights = np.random.default_rng(seed).random((megabytes * 125, 1000))

    def predict(self, rows):
        return rows.sum(axis=1)


rows = np.ones((20, 4))
small = Weights(1, 0)
"""
_LOOK_SECONDS = 0.02


def run(bench: Bench) -> None:
    """Measure the group."""
    keys = ("big-client", "big-server", "big-seconds")
    if not bench.due(*keys):
        return
    home = bench.home("big")
    try:
        with kernel(home.environment, home.folder / "work") as ours:
            bench.progress("publishing a small one first")
            ours.run(PREPARE + _MODEL)
            ours.run("%mp_publish small --name weights --example rows")  # all is imported, the server is up
            home.wait_for_mlflow()
            bench.row(keys, lambda: _publish(bench, home, ours))
    finally:
        home.remove()


def _publish(bench: Bench, home: Home, ours: Kernel) -> Found:
    megabytes = _MEGABYTES_QUICK if bench.quick else _MEGABYTES
    bench.progress(f"publishing {megabytes} MB")
    ours.run(f"large = Weights({megabytes}, 1)")
    with _peaks([ours.pid, home.server()]) as above:
        measured = bench.watched(home, lambda: ours.timed("%mp_publish large --name weights --example rows")[0])
    return {
        "big-client": exact(above[ours.pid]),
        "big-server": exact(above[home.server()]),
        "big-seconds": bench.outcome([measured], wanted=1),
    }


@contextmanager
def _peaks(pids: list[int]) -> Iterator[dict[int, float]]:
    """MB by which the memory of processes, with what they start, rises above its level before, at most."""
    before = {pid: _level(pid) for pid in pids}
    above = dict.fromkeys(pids, 0.0)
    done = threading.Event()

    def look() -> None:
        while not done.wait(_LOOK_SECONDS):
            for pid in pids:
                above[pid] = max(above[pid], _level(pid) - before[pid])

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield above
    finally:
        done.set()
        thread.join()


def _level(pid: int) -> float:
    return sum(machine.anonymous(member) for member in machine.family(pid))
