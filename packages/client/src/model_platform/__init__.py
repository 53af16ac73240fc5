"""Model Platform in the notebook: publish a model, deploy it, call it.

    import model_platform as mp

    mp.publish(model, "churn", data=X_train, example=X_test[:20])
    endpoint = mp.deploy("churn")
    endpoint.predict(X_test)

`%load_ext model_platform` gives the same as magics. Everything is loaded when it is first used, so that the import
costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model_platform.capture.result import Published
    from model_platform.client import Client, connect
    from model_platform.endpoint import EndpointHandle
    from model_platform.verbs import (
        card,
        delete,
        deploy,
        env,
        load,
        logs,
        models,
        predict,
        publish,
        rollback,
        start,
        status,
        stop,
        time,
        token,
        zone,
    )
    from model_platform_core.errors import ModelPlatformError

__version__ = "0.1.0"

_PLACES = {
    "Client": "client",
    "connect": "client",
    "EndpointHandle": "endpoint",
    "Published": "capture.result",
    "ModelPlatformError": "errors",
} | dict.fromkeys(
    (
        "card",
        "delete",
        "deploy",
        "env",
        "load",
        "logs",
        "models",
        "predict",
        "publish",
        "rollback",
        "start",
        "status",
        "stop",
        "time",
        "token",
        "zone",
    ),
    "verbs",
)

__all__ = [
    "Client",
    "EndpointHandle",
    "ModelPlatformError",
    "Published",
    "card",
    "connect",
    "delete",
    "deploy",
    "env",
    "load",
    "logs",
    "models",
    "predict",
    "publish",
    "rollback",
    "start",
    "status",
    "stop",
    "time",
    "token",
    "zone",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext model_platform`: the magics."""
    importlib.import_module(f"{__name__}.magics").load(shell)
