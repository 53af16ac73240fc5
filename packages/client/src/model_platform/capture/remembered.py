"""Which object of this process became which version: for as long as somebody else holds the object."""

from __future__ import annotations

import contextlib
import weakref
from typing import Any

from model_platform_core.models import ModelVersion

_published: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()


def remember(version: ModelVersion, model: Any) -> None:
    """Note that this object was published as that version."""
    with contextlib.suppress(TypeError):  # there are objects that cannot be held weakly
        _published[version.artifact_sha256] = model


def remembered(version: ModelVersion) -> Any:
    """The object that was published in this process as a version; None where there is none, or no more."""
    return _published.get(version.artifact_sha256)
