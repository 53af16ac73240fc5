"""What a model reaches: functions, classes and modules, found while it is pickled into nothing.

Nothing is copied, and the content of arrays is passed over. On the way it is seen what must not come along: open
connections, and data that a function drags along because its text mentions the name.
"""

from __future__ import annotations

import dis
import functools
import inspect
import sys
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import cloudpickle

from model_platform.capture.forbidden import connection_type, is_secret
from model_platform.capture.project import code_objects
from model_platform.capture.weight import weight
from model_platform.display import words
from model_platform_core.errors import InvalidModelError, ModelPlatformError

LARGEST_DRAGGED = 10_000_000
_MOST_LOOKED_AT = 20_000
_LONGEST_SECRET = 20_000
_MAIN = "__main__"

CacheWrapper = functools._lru_cache_wrapper  # noqa: SLF001
"""What `functools.cache` makes of a function: pickled as a name, which stands for nothing elsewhere."""


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
    if isinstance(model, dict | list | tuple | set):  # the pickler shows no plain containers
        check_safe("", model, "The model holds something")
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


def surroundings(owner: types.FunctionType | type) -> Iterator[tuple[str, Any]]:
    """What a function takes along, by name: globals that it mentions, its closure, its defaults. Of a class, its own.

    What was set on a function or class counts, methods do not: they are functions themselves.
    """
    if isinstance(owner, type):
        yield from ((name, value) for name, value in vars(owner).items() if not name.startswith("__"))
        return
    for name in sorted(global_names(owner.__code__)):
        if name in owner.__globals__:
            yield name, owner.__globals__[name]
    for name, cell in zip(owner.__code__.co_freevars, owner.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:
            continue  # not filled yet
    for value in (*(owner.__defaults__ or ()), *(owner.__kwdefaults__ or {}).values()):
        yield "a default", value
    yield from ((name, value) for name, value in vars(owner).items() if not name.startswith("__"))


def check_dragged(owner: types.FunctionType | type) -> None:
    """Nothing, or InvalidModelError with the name and size of what the function or class would drag along."""
    said = f"The {'class' if isinstance(owner, type) else 'function'} {owner.__name__}"
    for name, value in surroundings(owner):
        check_size(name, value, said)
        check_safe(name, value, f"{said} uses {name}")


def check_size(name: str, value: Any, said: str) -> None:
    """Nothing, or InvalidModelError for data above 10 MB."""
    size = weight(value)
    if size > LARGEST_DRAGGED:
        raise InvalidModelError(
            f"{said} drags {name} along, {words.size(size)} of data ({type(value).__name__}); 10 MB are the most.",
            hint=f"take from {name} what it needs, before: columns = list({name}.columns)"
            if hasattr(value, "columns")
            else f"take from {name} what it needs, before, or keep it in the model itself",
        )


def check_safe(name: str, value: Any, said: str) -> None:
    """Nothing, or InvalidModelError for a connection or a credential, also within dictionaries and lists."""
    for inner, one in _within(name, value):
        there = said if one is value else f"{said}, and {inner} in it" if inner else f"{said}, and something in it"
        if kind := connection_type(one):
            raise InvalidModelError(
                f"{there}: an open {kind}, and connections do not travel.",
                hint="open it where it is used, inside of predict",
            )
        text = one.decode(errors="replace") if isinstance(one, bytes) else one
        if isinstance(text, str) and is_secret(inner, text[:_LONGEST_SECRET]):
            which = ", which looks" if one is value else " looks"
            raise InvalidModelError(
                f"{there}{which} like a credential; credentials do not travel.",
                hint=f'os.environ["{inner.upper() or "…"}"] where it is used',
            )


def _within(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A value and what it holds as dictionaries and lists at any depth, each with the name that it stands under."""
    waiting, seen = [(name, value)], set[int]()
    while waiting and len(seen) < _MOST_LOOKED_AT:
        name, one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield name, one
        if isinstance(one, tuple) and hasattr(one, "_asdict"):  # a named tuple
            one = one._asdict()
        if isinstance(one, Mapping):
            inner = ((key if isinstance(key, str) else name, each) for key, each in one.items())
        elif isinstance(one, list | tuple | set | frozenset):
            inner = ((name, each) for each in one)
        else:
            continue
        waiting += islice(inner, _MOST_LOOKED_AT)


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
        elif isinstance(obj, types.FunctionType | type | CacheWrapper):
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
        inner = inspect.unwrap(obj) if isinstance(obj, CacheWrapper) else obj
        if isinstance(inner, types.FunctionType | type):
            check_dragged(inner)
        (self.found.defined if obj.__module__ == _MAIN else self.found.detached).append(obj)

    def _see_instance(self, obj: Any) -> None:
        kind = type(obj)
        self.found.modules.add(kind.__module__)
        check_safe("", obj, "The model holds something")
        for name, value in _attributes(obj):
            check_safe(name, value, f"The model's {kind.__name__} holds {name}")


def _attributes(obj: Any) -> Iterator[tuple[str, Any]]:
    yield from ((name, value) for name, value in getattr(obj, "__dict__", {}).items() if isinstance(name, str))
    for base in type(obj).__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in {"__dict__", "__weakref__"} and hasattr(obj, name):
                yield name, getattr(obj, name)
