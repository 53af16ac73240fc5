"""What a model reaches: functions, classes and modules, found while it is pickled into nothing.

Nothing is copied, and the content of arrays is passed over. On the way it is seen what must not come along: open
connections, and data that a function drags along because its text mentions the name.
"""

from __future__ import annotations

import dis
import inspect
import sys
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import cloudpickle

from model_platform.capture.forbidden import connection_type, is_secret
from model_platform.capture.project import code_objects
from model_platform.display import words
from model_platform_core.errors import InvalidModelError, ModelPlatformError

LARGEST_DRAGGED = 10_000_000
_MOST_LOOKED_AT = 1000
_MAIN = "__main__"


@dataclass(frozen=True)
class Reach:
    """`defined` are functions and classes of the notebook itself; `detached` are those that no import finds."""

    modules: set[str] = field(default_factory=set)
    defined: list[Any] = field(default_factory=list)
    detached: list[Any] = field(default_factory=list)


def reach_of(model: Any) -> Reach:
    """What the model reaches.

    What cannot be pickled whole still gives what was seen until then; the save that follows says why it fails.

    Raises
    ------
    InvalidModelError
        Names a connection or a credential within, or a frame or array above 10 MB that a function drags along.
    """
    walker = _Walker()
    walker.found.modules.update(base.__module__ for base in type(model).__mro__)
    try:
        walker.dump(model)
    except ModelPlatformError:
        raise
    except Exception:  # noqa: BLE001, S110 - see above
        pass
    return walker.found


def is_importable(value: Any) -> bool:
    """Whether an import statement and its name find this very function or class again, outside of the notebook."""
    module = getattr(value, "__module__", None)
    if not isinstance(module, str) or module == _MAIN:
        return False
    found: Any = sys.modules.get(module)
    for part in getattr(value, "__qualname__", "").split("."):
        found = getattr(found, part, None)
    return found is value


def global_names(code: types.CodeType) -> set[str]:
    """Names that code takes from its module, or from Python itself, when it runs; functions within it too."""
    return set().union(*map(_own_global_names, code_objects(code)))


def global_names_at_once(code: types.CodeType) -> set[str]:
    """Those that it takes before any function within it is called: bodies of classes run at once."""
    found = _own_global_names(code)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType) and not constant.co_flags & inspect.CO_OPTIMIZED:
            found |= global_names_at_once(constant)
    return found


def _own_global_names(code: types.CodeType) -> set[str]:
    found, own = set(), set()
    for instruction in dis.get_instructions(code):
        if instruction.opname in {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_GLOBALS"}:
            found.add(str(instruction.argval))
        elif instruction.opname == "STORE_NAME":
            own.add(str(instruction.argval))
    return found - own


def surroundings(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """What a function takes along, by name: globals that it mentions, its closure, its defaults."""
    for name in sorted(global_names(function.__code__)):
        if name in function.__globals__:
            yield name, function.__globals__[name]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:
            continue  # not filled yet
    for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield "a default", value


def check_dragged(function: types.FunctionType) -> None:
    """Nothing, or InvalidModelError with the name and size of what the function would drag along."""
    for name, value in surroundings(function):
        size = _data_size(value)
        if size > LARGEST_DRAGGED:
            raise InvalidModelError(
                f"The function {function.__name__} drags {name} along, {words.size(size)} of data"
                f" ({type(value).__name__}); 10 MB are the most.",
                hint=f"take from {name} what it needs, before: columns = list({name}.columns)"
                if hasattr(value, "columns")
                else f"take from {name} what it needs, before, or keep it in the model itself",
            )
        check_safe(name, value, f"The function {function.__name__} uses {name}")


def check_safe(name: str, value: Any, said: str) -> None:
    """Nothing, or InvalidModelError for a connection or a credential."""
    if kind := connection_type(value):
        raise InvalidModelError(
            f"{said}: an open {kind}, and connections do not travel.",
            hint="open it where it is used, inside of predict",
        )
    if isinstance(value, str) and is_secret(name, value):
        raise InvalidModelError(
            f"{said}, which looks like a credential; credentials do not travel.",
            hint=f'os.environ["{name.upper()}"] where it is used',
        )


def _data_size(value: Any, depth: int = 2) -> int:
    """Bytes of frames and arrays in a value, and in what it holds as a dictionary or list."""
    if isinstance(value, Mapping | list | tuple):
        inner = list(value.values() if isinstance(value, Mapping) else value)[:_MOST_LOOKED_AT]
        return sum(_data_size(one, depth - 1) for one in inner) if depth else 0
    if isinstance(value, type | types.ModuleType):
        return 0
    try:
        return _own_size(value)
    except Exception:  # noqa: BLE001 - an object of somebody else that only looks like data
        return 0


def _own_size(value: Any) -> int:
    if hasattr(value, "memory_usage"):
        used = value.memory_usage(deep=True)  # pandas: a figure for each column, or one for a Series
        return int(used.sum() if hasattr(used, "sum") else used)
    if hasattr(value, "estimated_size"):
        return int(value.estimated_size())  # Polars
    if hasattr(value, "tocsr") and hasattr(value, "data"):
        return int(value.data.nbytes)  # a sparse matrix
    size = getattr(value, "nbytes", 0)  # arrays, tensors, Arrow
    return size if isinstance(size, int) else 0


class _Nowhere:
    def write(self, data: Any) -> int:
        return len(data)


class _Walker(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(_Nowhere())
        self.found = Reach()

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, types.ModuleType):
            self.found.modules.add(obj.__name__)
        elif isinstance(obj, types.FunctionType | type):
            self._see(obj)
        elif isinstance(obj, types.BuiltinFunctionType):
            self.found.modules.add(obj.__module__ or "builtins")
        else:
            self._see_instance(obj)
            if getattr(getattr(obj, "dtype", None), "kind", "O") in "biufcmMSU" and hasattr(obj, "nbytes"):
                return tuple, ()  # its content reaches nothing
        return super().reducer_override(obj)

    def _see(self, obj: Any) -> None:
        self.found.modules.add(obj.__module__ or _MAIN)
        if is_importable(obj) or obj.__module__ == "builtins":  # a few types of Python's own have no public name
            return
        if isinstance(obj, types.FunctionType):
            check_dragged(obj)
        (self.found.defined if obj.__module__ == _MAIN else self.found.detached).append(obj)

    def _see_instance(self, obj: Any) -> None:
        kind = type(obj)
        self.found.modules.add(kind.__module__)
        check_safe("", obj, "The model holds something")
        for name, value in getattr(obj, "__dict__", {}).items():
            if isinstance(name, str) and isinstance(value, str):
                check_safe(name, value, f"The model's {kind.__name__} holds {name}")
