"""What libraries warn of while they read a model."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

_MOST = 5
_LONGEST = 300
_NOBODYS = DeprecationWarning | PendingDeprecationWarning | FutureWarning | ResourceWarning


def told(caught: Iterable[warnings.WarningMessage]) -> tuple[str, ...]:
    """The first lines of those that say something of the model, each once; not what is about code."""
    kept = (one for one in caught if not issubclass(one.category, _NOBODYS))
    return tuple(dict.fromkeys(str(one.message).splitlines()[0][:_LONGEST] for one in kept))[:_MOST]
