"""Counters of one runner, in Prometheus' text format. Nothing in them comes from a row."""

import time
from bisect import bisect_left
from collections.abc import Mapping

_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds


class Metrics:
    """Counts predicting calls; the counters start at 0 with the process, whose start is told beside them."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
        self._started = time.time()
        self._calls = [0] * 6  # by the hundreds of their status
        self._buckets = [0] * (len(_BOUNDS) + 1)
        self._seconds = 0.0
        self.rows = 0
        self.in_flight = 0

    def call(self, status: int, seconds: float, rows: int) -> None:
        """Count a predicting call that has been answered: with which status, in what time, for how many rows."""
        self._calls[status // 100] += 1
        self._buckets[bisect_left(_BOUNDS, seconds)] += 1
        self._seconds += seconds
        if status < 300:
            self.rows += rows

    def text(self, *, model_calls: int, discarded_writes: int, dropped_lines: int) -> str:
        """Return all metrics as text."""
        lines: list[str] = []
        self._add(lines, "mp_requests_total", "counter", "Predicting calls, by class of HTTP status.", self._by_class())
        self._add(lines, "mp_rows_total", "counter", "Rows answered.", {"": self.rows})
        self._add(lines, "mp_predict_seconds", "histogram", "Time of predicting calls.", self._histogram())
        self._add(lines, "mp_in_flight", "gauge", "Predicting calls being answered now.", {"": self.in_flight})
        self._add(
            lines, "mp_model_calls_total", "counter", "Calls of the model; a call may join requests.", {"": model_calls}
        )
        help_text = "Times that the model printed, warned or logged; thrown away unread."
        self._add(lines, "mp_model_output_total", "counter", help_text, {"": discarded_writes})
        self._add(lines, "mp_log_lines_dropped_total", "counter", "Log lines that nobody took.", {"": dropped_lines})
        self._add(lines, "mp_runner_start_time_seconds", "gauge", "When the runner started.", {"": self._started})
        return "\n".join([*lines, ""])

    def _by_class(self) -> dict[str, float]:
        return {f'|code="{hundreds}xx"': self._calls[hundreds] for hundreds in range(2, 6)}

    def _histogram(self) -> dict[str, float]:
        samples: dict[str, float] = {}
        total = 0
        for bound, count in zip((*_BOUNDS, float("inf")), self._buckets, strict=True):
            total += count
            samples[f'_bucket|le="{"+Inf" if bound == float("inf") else bound}"'] = total
        return {**samples, "_sum": self._seconds, "_count": total}

    def _add(self, lines: list[str], name: str, kind: str, help_text: str, samples: Mapping[str, float]) -> None:
        """Add one metric; a sample's key is the suffix of its name and, behind ``|``, a label of its own."""
        lines += [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]
        for key, value in samples.items():
            suffix, _, label = key.partition("|")
            lines.append(f"{name}{suffix}{{{self._labels}{',' + label if label else ''}}} {value}")


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
