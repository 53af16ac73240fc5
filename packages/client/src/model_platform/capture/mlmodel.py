"""The MLmodel file of a saved model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

# Python's own reader takes ten times as long; distributions without libyaml have no other.
_Reader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_mlmodel(folder: Path) -> dict[str, Any]:
    """What the file says.

    Raises
    ------
    OSError, UnicodeDecodeError, yaml.YAMLError
        If there is none that can be read.
    """
    described: dict[str, Any] = yaml.load((folder / "MLmodel").read_text(encoding="utf-8"), _Reader)  # noqa: S506
    return described
