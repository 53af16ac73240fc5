"""To come."""

from bench.workbench import Bench


def run(_bench: Bench) -> None:
    """Nothing yet."""
