"""Processes: known by pid and start, given nothing that they need not have, ended with all that they started."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import psutil
import pytest

from model_platform_server.adapters.local import processes
from model_platform_server.adapters.local.processes import ProcessIdentity
from support.servers import wait_until
from targets.harness import REF, LocalHarness, bring_up
from targets.models import SavedModel, plan

CANARY = "canary-3f1b"


def _start(tmp_path: Path, code: str) -> ProcessIdentity:
    return processes.start(
        [sys.executable, "-c", code],
        environment=processes.allowed_environment(),
        directory=tmp_path,
        log=tmp_path / "log",
    )


def test_a_process_is_known_by_its_start_and_not_by_its_pid_alone(tmp_path: Path) -> None:
    one = _start(tmp_path, "import time; time.sleep(60)")
    assert processes.alive(one)
    assert processes.from_this_boot(one)
    assert not processes.alive(ProcessIdentity(pid=one.pid, started="another"))
    assert not processes.alive(None)
    processes.kill(ProcessIdentity(pid=one.pid, started="another"))
    processes.send(ProcessIdentity(pid=one.pid, started="another"), signal.SIGKILL)
    assert processes.alive(one)
    processes.end([one], grace=5)
    assert not processes.alive(one)
    assert not psutil.pid_exists(one.pid)


def test_a_process_that_ends_by_itself_is_not_alive_and_leaves_no_zombie(tmp_path: Path) -> None:
    one = _start(tmp_path, "print('done')")
    wait_until(lambda: not processes.alive(one))
    assert not psutil.pid_exists(one.pid)
    assert (tmp_path / "log").read_text() == "done\n"
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_who_does_not_go_is_made_to_with_all_that_it_started(tmp_path: Path) -> None:
    code = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid, flush=True); time.sleep(60)"
    )
    one = _start(tmp_path, code)
    wait_until(lambda: (tmp_path / "log").read_text().endswith("\n"))
    child = int((tmp_path / "log").read_text())
    processes.end([one], grace=0.2)
    assert not processes.alive(one)
    wait_until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


def test_memory_counts_children_and_shared_pages_in_parts(tmp_path: Path) -> None:
    code = "import os, time; block = b'x' * (100 << 20); os.fork(); print('.', flush=True); time.sleep(60)"
    one = _start(tmp_path, code)
    wait_until(lambda: (tmp_path / "log").read_text().count(".") == 2)
    plain, parts = processes.memory(one, enough=1 << 40), processes.memory(one, enough=0)
    processes.end([one], grace=0)
    assert plain > 200 << 20
    if sys.platform == "linux":
        assert 100 << 20 < parts < 150 << 20


def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        processes.start([str(tmp_path / "none")], environment={}, directory=tmp_path, log=tmp_path / "log")


def test_runners_and_the_gateway_see_nothing_of_the_environment_of_the_server(
    harness: LocalHarness, small: SavedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_TRACKING_URI", "DATABASE_URL", "AWS_SECRET_ACCESS_KEY", "MP_TOKEN", "PYTHONPATH"):
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    bring_up(harness.target, plan(small, cpu=1.6))
    (runner,) = harness.processes(REF, "v1")
    for process in (runner, harness.gateway_process()):
        seen = psutil.Process(process.pid).environ()
        assert CANARY not in " ".join(seen.values())
        assert seen["LC_ALL"] == "C.UTF-8"
        assert {"PATH", "HOME"} <= seen.keys()
    seen = psutil.Process(runner.pid).environ()
    assert {seen[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")} == {"2"}
    # In a folder of its own, below its deployment's: what the model's code writes is neither ours nor another's.
    assert Path(psutil.Process(runner.pid).cwd()).samefile(next(harness.state.glob("deployments/*/*/*/*/work")))


def test_threads_are_at_least_one() -> None:
    assert set(processes.thread_environment(0.25).values()) == {"1"}
    assert set(processes.thread_environment(3.6).values()) == {"4"}
