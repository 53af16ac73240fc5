"""Rounds: everything that is compared is measured in each, in another order, so that slow minutes hit all alike."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from bench.outcomes import Measurement

Measure = Callable[[], Measurement]


def in_rounds(
    measures: Mapping[str, Measure], wanted: int, retries: int, tell: Callable[[str], None]
) -> dict[str, list[Measurement]]:
    """Measure all in `wanted` rounds; then, in at most `retries` more, what was not quiet often enough.

    Parameters
    ----------
    measures
        What is compared, by name.
    tell
        Is told what is measured now.
    """
    taken: dict[str, list[Measurement]] = {name: [] for name in measures}
    for turn in range(wanted + retries):
        lacking = [name for name in measures if sum(one.quiet for one in taken[name]) < wanted]
        for name in random.Random(turn).sample(lacking, len(lacking)):
            tell(f"round {turn + 1}: {name}")
            taken[name].append(measures[name]())
    return taken
