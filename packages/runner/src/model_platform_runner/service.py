"""What one runner holds while it serves: the model, the line in front of it, who may call, what is counted."""

import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from model_platform_runner import __version__
from model_platform_runner.batching import Line
from model_platform_runner.config import Config
from model_platform_runner.journal import Journal
from model_platform_runner.metrics import Metrics
from model_platform_runner.predictor import Predictor
from model_platform_runner.silence import Discarded
from model_platform_runner.tokens import Tokens

_LIBRARIES = ("numpy", "pandas", "scipy", "sklearn", "skops", "mlflow", "xgboost", "lightgbm", "catboost", "torch")


@dataclass
class Service:
    """One version being served. Made on the event loop that serves it."""

    config: Config
    predictor: Predictor
    tokens: Tokens | None
    metrics: Metrics
    journal: Journal
    discarded: Sequence[Discarded]
    line: Line
    draining: bool = False
    started: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))

    def metrics_text(self) -> str:
        """Return all metrics in Prometheus' text format."""
        return self.metrics.text(
            model_calls=self.line.calls,
            discarded_writes=sum(each.writes for each in self.discarded),
            dropped_lines=self.journal.dropped,
        )

    def info(self) -> dict[str, Any]:
        """Return what serves: for the supervisor, never routed to callers."""
        config, predictor = self.config, self.predictor
        versions = {name: getattr(sys.modules.get(name), "__version__", None) for name in _LIBRARIES}
        return {
            "zone": config.zone,
            "endpoint": config.endpoint,
            "model": config.model,
            "version": config.version,
            "deployment": config.deployment,
            "runner_id": config.runner_id,
            "runner_version": __version__,
            "started": self.started,
            "draining": self.draining,
            "access": config.access,
            "flavor": predictor.flavor,
            "method": predictor.method,
            "path": predictor.path,
            "path_note": predictor.note,
            "batching": self.line.joining,
            "python": platform.python_version(),
            "libraries": {name: version for name, version in versions.items() if version},
        }
