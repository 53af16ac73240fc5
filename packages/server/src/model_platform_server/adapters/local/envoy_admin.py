"""Asking Envoy how it is: its admin on a Unix socket."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from model_platform_server.adapters.local import sockets


@dataclass(frozen=True)
class Seen:
    """What Envoy has of a discovery file: the version that it took last, and how often it refused one."""

    version: str
    refusals: int
    warming: bool


@dataclass(frozen=True)
class Admin:
    """The admin of an Envoy that may not run: where it does not answer, nothing is known.

    Parameters
    ----------
    socket
        Where it listens.
    """

    socket: Path

    def live(self) -> bool:
        """Whether it takes calls."""
        with contextlib.suppress(OSError):
            return sockets.ask(self.socket, "/ready")[1].strip() == "LIVE"
        return False

    def seen(self, scope: str) -> Seen | None:
        """What it has of the discovery file whose statistics are below `scope`."""
        with contextlib.suppress(OSError):
            found = self._statistics(f"^({re.escape(scope)}|cluster_manager)\\.")
            return Seen(
                version=found.get(f"{scope}.version_text", "").strip('"'),
                refusals=sum(int(found.get(f"{scope}.update_{word}", "0")) for word in ("rejected", "failure")),
                warming=found.get("cluster_manager.warming_clusters") != "0",
            )
        return None

    def active(self, cluster: str) -> int:
        """How many requests a cluster is answering."""
        name = f"cluster.{cluster}.upstream_rq_active"
        with contextlib.suppress(OSError):
            return int(self._statistics(f"^{re.escape(name)}$").get(name, "0"))
        return 0

    def _statistics(self, pattern: str) -> Mapping[str, str]:
        quoted = "".join(letter if letter.isalnum() else f"%{ord(letter):02X}" for letter in pattern)
        _, text = sockets.ask(self.socket, f"/stats?filter={quoted}")
        return dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
