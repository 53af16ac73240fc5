"""How much data a value brings along, counted while it is pickled into nothing.

Models that a function calls may be as large as they are; what counts are frames, arrays, lists and texts.
"""

from __future__ import annotations

import types
from typing import Any

import cloudpickle

_ENOUGH = 100_000_000
_OF_MODELS = ("predict", "transform", "forward")


class _EnoughError(Exception):
    """More need not be counted."""


class _Scale:
    def __init__(self) -> None:
        self.bytes = 0

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self.add(size)
        return size

    def add(self, size: int) -> None:
        self.bytes += size
        if self.bytes > _ENOUGH:
            raise _EnoughError


class _Weigher(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, scale: _Scale) -> None:
        super().__init__(scale)
        self._scale = scale

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, types.ModuleType | types.FunctionType | type):  # they are looked at by themselves
            return NotImplemented if getattr(obj, "__module__", None) == "builtins" else (tuple, ())
        if any(callable(getattr(type(obj), method, None)) for method in _OF_MODELS):
            return tuple, ()
        if size := _of_data(obj):
            self._scale.add(size)
            return tuple, ()
        return super().reducer_override(obj)


def weight(value: Any) -> int:
    """Bytes of data in a value, at any depth; from 100 MB on no more is counted, unless the value itself is a table."""
    scale = _Scale()
    try:
        scale.bytes = _of_data(value)
        if not scale.bytes:
            _Weigher(scale).dump(value)
    except Exception:  # noqa: BLE001, S110 - enough, or what cannot be pickled: what was seen until then counts
        pass
    return scale.bytes


def _of_data(value: Any) -> int:
    """Bytes of a frame, an array or a tensor; 0 for other objects, and where its entries are objects themselves."""
    if isinstance(value, type | types.ModuleType):
        return 0
    try:
        return _size(value)
    except Exception:  # noqa: BLE001 - an object of somebody else that only looks like data
        return 0


def _size(value: Any) -> int:
    if hasattr(value, "memory_usage"):
        used = value.memory_usage(deep=True)  # pandas: a figure for each column, or one for a Series
        return int(used.sum() if hasattr(used, "sum") else used)
    if hasattr(value, "estimated_size"):
        return int(value.estimated_size())  # Polars
    if hasattr(value, "tocsr") and hasattr(value, "data"):
        return int(value.data.nbytes)  # a sparse matrix
    if getattr(getattr(value, "dtype", None), "kind", "") == "O":
        return 0
    size = getattr(value, "nbytes", 0)  # arrays, tensors, Arrow
    return size if isinstance(size, int) else 0
