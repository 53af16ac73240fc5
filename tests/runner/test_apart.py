"""What is tried in a process of its own tells its outcome, and harms nobody however it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# In an interpreter of its own: pytest's has threads, and a copy of it would run its clearing up.
SCRIPT = """
import os, threading, time
from pathlib import Path
from model_platform_runner import apart

def long():
    time.sleep(600)

def wrong():
    raise ValueError("secret row")

kinds = {{
    "fine": lambda: None,
    "objects": lambda: "It differs: ß.",
    "ends": lambda: os._exit(7),
    "dies": os.abort,
    "raises": wrong,
    "hangs": long,
    "here": lambda: str(os.getpid()),
}}
apart._SECONDS = 5.0
if {threads}:
    threading.Thread(target=long, daemon=True).start()
before = sorted(os.listdir("/proc/self/fd"))
print(repr(apart.tried_apart(kinds[{kind!r}])))
assert sorted(os.listdir("/proc/self/fd")) == before
assert not Path(f"/proc/self/task/{{os.getpid()}}/children").read_text(), "a process is left"
print(os.getpid())
"""


def tried(kind: str, *, threads: bool = False) -> tuple[str, str]:
    """What it told, and which process asked."""
    script = SCRIPT.format(kind=kind, threads=threads)
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "secret row" not in done.stdout
    told, asked = done.stdout.splitlines()
    return told, asked


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("fine", "None"),
        ("objects", "'It differs: ß.'"),
        ("ends", "'It ended its process while it was tried.'"),
        ("dies", "'It ended its process while it was tried.'"),
        ("raises", "'It ended its process while it was tried.'"),
        ("hangs", "'It took too long to be tried.'"),
    ],
)
def test_however_it_ends(kind: str, told: str) -> None:
    assert tried(kind)[0] == told


def test_it_is_another_process_unless_threads_run() -> None:
    assert Path("/proc/self/task").is_dir(), "forks are for Linux"
    told, asked = tried("here")
    assert told != repr(asked)
    told, asked = tried("here", threads=True)
    assert told == repr(asked)
    assert os.getpid() != int(asked)
