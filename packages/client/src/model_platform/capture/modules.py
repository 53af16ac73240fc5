"""Which modules a model needs, found in this process while it is pickled into nothing.

A pickler that writes nowhere passes every function, class, module and object by us, so nothing is loaded, started or
copied. Functions that live in the notebook are read for the imports in their code.
"""

from __future__ import annotations

import contextlib
import dis
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle

from model_platform.capture.distributions import in_place, is_installed

_OURS = frozenset({"model_platform", "model_platform_core"})
_NOT_A_PACKAGE = frozenset({"__main__", "__mp_main__", "builtins"})


class _Nowhere:
    def write(self, data: Any) -> int:
        return len(data)


class _Recorder(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(_Nowhere())
        self.modules: set[str] = set()

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, types.ModuleType):
            self.modules.add(obj.__name__)
        elif isinstance(obj, types.FunctionType):
            self.modules.add(obj.__module__ or "__main__")
            self.modules.update(_imports_in(obj.__code__))
        else:
            named = obj if isinstance(obj, type | types.BuiltinFunctionType) else type(obj)
            self.modules.add(getattr(named, "__module__", None) or "builtins")
        return super().reducer_override(obj)


def modules_of(model: Any) -> set[str]:
    """Every module that the model refers to, by full name.

    What cannot be pickled whole still gives what was seen until then; the save that follows says why it fails.
    """
    recorder = _Recorder()
    recorder.modules.update(base.__module__ for base in type(model).__mro__)
    with contextlib.suppress(Exception):
        recorder.dump(model)
    found, looked_into = recorder.modules, set[str]()
    while waiting := [module for module in local_modules(found) if module.__name__ not in looked_into]:
        for module in waiting:  # the user's own files travel whole, and with them what they import
            looked_into.add(module.__name__)
            found.update(_used_by(module))
    return {name for name in found if _top(name) not in _NOT_A_PACKAGE | _OURS}


def _used_by(module: types.ModuleType) -> Iterator[str]:
    for value in vars(module).values():
        if isinstance(value, types.ModuleType):
            yield value.__name__
        elif isinstance(value, types.FunctionType) and value.__module__ == module.__name__:
            yield from _imports_in(value.__code__)
        elif isinstance(value, type | types.FunctionType):
            yield value.__module__ or "builtins"


def _imports_in(code: types.CodeType) -> Iterator[str]:
    """Modules that a function imports when it runs, and those within functions inside of it."""
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME" and isinstance(instruction.argval, str) and instruction.argval:
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _imports_in(constant)


def _top(module: str) -> str:
    return module.partition(".")[0]


def local_modules(modules: set[str]) -> list[types.ModuleType]:
    """Modules of the user's own files: from no distribution and not of Python itself. They travel by value."""
    found = []
    for name in sorted(modules):
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        if module is None or file is None or _top(name) in sys.stdlib_module_names or is_installed(_top(name)):
            continue
        if _top(name) in _NOT_A_PACKAGE | _OURS:
            continue
        if "site-packages" not in Path(file).parts and in_place(Path(file)) is None:
            found.append(module)
    return found
