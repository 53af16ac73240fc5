"""The figures by which the local target acts. All are defaults; tests and operators give others."""

from __future__ import annotations

from dataclasses import dataclass

from model_platform_server.settings import OwnEnvironments


@dataclass(frozen=True)
class CallLimits:
    """What one runner takes on: bytes of a body, rows and seconds of a call, calls at once."""

    body_bytes: int = 16 << 20
    rows: int = 10_000
    seconds: float = 30.0
    concurrent: int = 1024


@dataclass(frozen=True)
class Patience:
    """How long is waited, in seconds, and how often something is tried again."""

    ready: float = 120.0
    """For a runner to be ready, before it is given up."""
    fork: float = 10.0
    """For a fork server to fork, before a runner is started without it."""
    imports: float = 60.0
    """The same where it has to import first."""
    idle: float = 600.0
    """A fork server without runners and orders stays for so long."""
    drain: float = 35.0
    """For requests that a deployment holds when it goes; longer than a call may take."""
    grace: float = 35.0
    """Between SIGTERM and SIGKILL: a runner finishes what it holds."""
    first_pause: float = 0.1
    longest_pause: float = 30.0
    """Before a runner that died is started again: doubled each time it dies quickly."""
    quick_death: float = 30.0
    """A runner that lived longer than this starts afresh; one that did not is on its way into a crash loop."""
    deaths: int = 5
    """Quick deaths in a row before a deployment is given up."""
    memory_deaths: int = 3
    """How often a runner may pass its memory before its deployment is given up."""
    silence: float = 60.0
    """A runner that answers its supervisor nothing for so long hangs, and is ended."""
    look: float = 10.0
    """Between two looks at a runner's metrics."""


@dataclass(frozen=True)
class EnvironmentPolicy:
    """When models get an environment of their own. Times are seconds."""

    own: OwnEnvironments = OwnEnvironments.LATER
    after: float = 30.0
    """How long a deployment has answered from a borrowed environment when its own begins to be built."""
    first_pause: float = 60.0
    longest_pause: float = 3600.0
    """Before a build that failed is tried again: doubled each time."""
