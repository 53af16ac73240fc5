"""Models that no library has: slow ones, failing ones, ones that remember. They need NumPy alone."""

from __future__ import annotations

import time
from typing import Any

import numpy as np


class Doubling:
    """Answers twice the value, after as many seconds as the slowest row says; fails if a row says so."""

    def predict(self, rows: Any) -> Any:
        seconds = float(rows["seconds"].max())
        if seconds:
            time.sleep(seconds)
        if rows["fail"].any():
            raise ValueError(f"told to fail: {rows.to_dict()}")
        return rows["value"].to_numpy() * 2


class Counting:
    """Answers how many rows it has seen before: what a model does for which rows are not independent."""

    def __init__(self) -> None:
        self.seen = 0

    def predict(self, rows: Any) -> Any:
        answers = np.arange(self.seen, self.seen + len(rows))
        self.seen += len(rows)
        return answers


class Constant:
    """Answers 1.5 to every row, whatever holds the rows."""

    def predict(self, rows: Any) -> Any:
        first = next(iter(rows.values())) if isinstance(rows, dict) else rows
        return np.full(len(first), 1.5)
