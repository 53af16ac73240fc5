"""Functions and classes of the notebook as a module that a person can read.

The text is that of the cells as they were run. Imports, plain values and other definitions that it needs are written
with it; what cannot be written as text (a fitted scaler) lies pickled beside it. Whatever cannot be told so for sure is
left out, and travels by value: a function made by another one, a name that means something else by now, a cell whose
text is lost.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import linecache
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import cloudpickle

from model_platform.capture.project import code_objects
from model_platform.capture.reach import (
    CacheWrapper,
    check_dragged,
    check_safe,
    check_size,
    global_names,
    global_names_at_once,
    is_importable,
)
from model_platform.capture.told import gives

_MAIN = "__main__"
_LONGEST_VALUE = 2000
_ANNOTATIONS = 0x1000000  # CO_FUTURE_ANNOTATIONS


@dataclass(frozen=True)
class Definition:
    """A function or class with its text. `at_once` are names that it needs when it is defined, `later` when it runs."""

    name: str
    value: Any
    text: str
    at_once: frozenset[str]
    later: frozenset[str]


@dataclass
class SourceModule:
    """A generated module: its text, the objects it defines, and what it takes from the pickle beside it."""

    name: str
    source: str
    defined: Mapping[str, Any]
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def imports(self) -> set[str]:
        """Modules that it imports."""
        found = {
            alias.name
            for node in ast.walk(ast.parse(self.source))
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        return found | {
            node.module
            for node in ast.walk(ast.parse(self.source))
            if isinstance(node, ast.ImportFrom) and node.module and node.module != "__future__"
        }

    @contextmanager
    def standing_in(self) -> Iterator[None]:
        """For the time being, what it defines belongs to it: a pickle refers to this module, and holds no code."""
        module = types.ModuleType(self.name)
        moved = [one for value in self.defined.values() for one in _with_methods(value)]
        vars(module).update(self.defined)
        before = sys.modules.get(self.name)  # there, where a version with this very text was loaded
        sys.modules[self.name] = module
        for one in moved:
            one.__module__ = self.name
        try:
            yield
        finally:
            for one in moved:
                one.__module__ = _MAIN
            if before is None:
                del sys.modules[self.name]
            else:
                sys.modules[self.name] = before

    def pickled_values(self) -> bytes:
        """What lies beside the text; taken while this module stands in."""
        return bytes(cloudpickle.dumps(dict(self.values)))


def _with_methods(value: Any) -> Iterator[Any]:
    yield value
    for inner in vars(value).values() if isinstance(value, type) else ():
        function = getattr(inner, "__func__", inner)
        if isinstance(function, types.FunctionType | type | CacheWrapper) and function.__module__ == _MAIN:
            yield from _with_methods(function)


def source_module(objects: Iterable[Any], names: Mapping[str, Any]) -> SourceModule | None:
    """A module with the definitions of these objects, as far as their text is known; None if it is of none.

    Parameters
    ----------
    names
        The notebook's variables.

    Raises
    ------
    InvalidModelError
        If what they need is a connection, a credential, or data above 10 MB.
    """
    found = _Collection(names)
    for one in objects:
        if "<" not in one.__qualname__:  # neither a lambda nor made by another function
            found.add(one.__qualname__.partition(".")[0])
    return found.module() if found.definitions else None


class _Collection:
    """Definitions and whatever else they need, as lines of a module."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        self._names = names
        self._imports: dict[str, str] = {}
        self._constants: dict[str, str] = {}
        self._values: dict[str, Any] = {}
        self._refused: set[str] = set()
        self.definitions: dict[str, Definition] = {}

    def add(self, name: str) -> bool:
        """Take a definition in; whether that was possible."""
        if name in self.definitions or name in self._refused:
            return name in self.definitions
        definition = _definition(name, self._names.get(name), self._names)
        if definition is None:
            self._refused.add(name)
            return False
        self.definitions[name] = definition
        needed = {one for one in definition.at_once | definition.later if one in self._names and one != name}
        needed -= {one for one in needed if one.startswith("__")}  # every module has its own
        for one in sorted(needed):
            self._need(one)
        for one in _submodules(definition.text, self._names):
            self._imports[one] = f"import {one}"
        if any(one in self._values for one in definition.at_once):
            # It would be needed before it can be loaded: the pickle may hold objects of what is defined here.
            del self.definitions[name]
            self._refused.add(name)
            return False
        return True

    def _need(self, name: str) -> None:
        value = self._names[name]
        if name in self._imports or name in self._constants or name in self._values:
            return
        if isinstance(value, types.ModuleType):
            self._imports[name] = _import_of(name, value)
        elif isinstance(value, types.FunctionType | types.BuiltinFunctionType | type) and is_importable(value):
            self._imports[name] = _import_from(name, value)
        elif getattr(value, "__module__", None) == _MAIN and hasattr(value, "__qualname__") and self.add(name):
            pass
        elif (text := _as_text(value)) is not None:
            check_safe(name, value, f"The code of the model uses {name}")
            self._constants[name] = f"{name} = {text}"
        else:
            said = "The notebook's code for the model"
            check_size(name, value, said)
            check_safe(name, value, f"{said} uses {name}")
            self._values[name] = value

    def module(self) -> SourceModule:
        """The module, named after its text: two versions of it never meet under one name."""
        future = any(_wants_future(one.value) for one in self.definitions.values())
        blocks = ['"""What the notebook defined and the model uses, as it was run. Written at publish."""']
        blocks += ["from __future__ import annotations"] if future else []
        extra = ["import pickle as _pickle", "from pathlib import Path as _Path"] if self._values else []
        blocks += ["\n".join([*extra, *sorted(self._imports.values())])] if self._imports or extra else []
        blocks += ["\n".join(self._constants[name] for name in sorted(self._constants))] if self._constants else []
        blocks += [f"\n{one.text}" for one in self._ordered()]
        if self._values:
            blocks.append("\n# What cannot be written as text.")
            blocks[-1] += '\n_values = _pickle.loads(_Path(__file__).with_suffix(".pkl").read_bytes())\n'
            blocks[-1] += "\n".join(f'{name} = _values["{name}"]' for name in sorted(self._values))
        source = "\n\n".join(blocks) + "\n"
        name = f"notebook_{hashlib.sha256(source.encode()).hexdigest()[:8]}"
        return SourceModule(name, source, {one.name: one.value for one in self.definitions.values()}, self._values)

    def _ordered(self) -> list[Definition]:
        """Each after those that it needs when it is defined."""
        done: dict[str, Definition] = {}

        def visit(name: str) -> None:
            if name not in done and name in self.definitions:
                for before in sorted(self.definitions[name].at_once - {name}):
                    visit(before)
                done[name] = self.definitions[name]

        for name in self.definitions:
            visit(name)
        return list(done.values())


def _import_of(name: str, module: types.ModuleType) -> str:
    return f"import {module.__name__}" + (f" as {name}" if module.__name__ != name else "")


def _import_from(name: str, value: Any) -> str:
    own = value.__qualname__
    return f"from {value.__module__} import {own}" + (f" as {name}" if own != name else "")


def _as_text(value: Any) -> str | None:
    """A plain value as Python writes it; None for what is no plain value, or a long one."""
    text = repr(value)
    if len(text) > _LONGEST_VALUE:
        return None
    try:
        same = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError):
        return None
    return text if type(same) is type(value) and same == value else None


def _wants_future(value: Any) -> bool:
    functions = [one for one in _with_methods(value) if isinstance(one, types.FunctionType)]
    return any(function.__code__.co_flags & _ANNOTATIONS for function in functions)


# ---------------------------------------------------------------- the text of a definition


def _definition(name: str, value: Any, names: Mapping[str, Any]) -> Definition | None:
    """The definition of a variable's value; None where the text is not known for sure."""
    if getattr(value, "__module__", None) != _MAIN or getattr(value, "__qualname__", None) != name:
        return None
    if isinstance(value, types.FunctionType | CacheWrapper):
        inner = inspect.unwrap(value)
        if not isinstance(inner, types.FunctionType) or inner.__closure__ or inner.__qualname__ != name:
            return None
        codes = [inner.__code__]
        check_dragged(inner)
    elif isinstance(value, type):
        check_dragged(value)
        functions = [one for one in _with_methods(value) if isinstance(one, types.FunctionType)]
        for function in functions:
            check_dragged(function)
        # What a decorator such as dataclass wrote itself stands in no file.
        own = [one.__code__ for one in functions if one.__globals__.get("__name__") == _MAIN]
        codes = [code for code in own if linecache.getlines(code.co_filename)]
    else:
        return None
    for file in _files(codes):
        text = _text_in(file, value, codes, names)
        if text is not None:
            at_once, later = _needs(text)
            return Definition(name, value, text, at_once - {name}, later)
    return None


def _files(codes: list[types.CodeType]) -> list[str]:
    """Where the text may stand: the file of the code; for a class without code of its own, any cell, newest first."""
    if codes:
        return list(dict.fromkeys(code.co_filename for code in codes))[:1]
    main = getattr(sys.modules.get(_MAIN), "__file__", None)
    cells = [file for file, entry in linecache.cache.items() if len(entry) > 1 and entry[1] is None]
    return [*([main] if main else []), *reversed(cells)]


def _text_in(file: str, value: Any, codes: list[types.CodeType], names: Mapping[str, Any]) -> str | None:
    """The text of a top-level definition in a file or cell, if it gives exactly this value."""
    source = "".join(linecache.getlines(file))
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | (_ANNOTATIONS if any(one.co_flags & _ANNOTATIONS for one in codes) else 0)
    try:
        tree = ast.parse(source)
        written = set(code_objects(compile(source, file, "exec", flags=flags, dont_inherit=True)))
    except (SyntaxError, ValueError):
        return None
    if not all(code in written for code in codes):
        return None
    lines = {code.co_firstlineno for code in codes}
    for node in reversed(tree.body):
        if (
            not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            or node.name != value.__qualname__
        ):
            continue
        first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
        if all(first <= line <= (node.end_lineno or first) for line in lines):
            told = gives(node, file, flags, value, names)
            return "\n".join(source.splitlines()[first - 1 : node.end_lineno]) if told else None
    return None


def _submodules(text: str, names: Mapping[str, Any]) -> set[str]:
    """Modules that are reached through a package: `xml.dom.minidom`, where the notebook's name is `xml`."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        parts: list[str] = []
        inner: ast.AST = node
        while isinstance(inner, ast.Attribute):
            parts, inner = [inner.attr, *parts], inner.value
        if isinstance(inner, ast.Name) and isinstance(package := names.get(inner.id), types.ModuleType):
            for depth in range(1, len(parts) + 1):
                full = ".".join([package.__name__, *parts[:depth]])
                if isinstance(sys.modules.get(full), types.ModuleType):
                    found.add(full)
    return found


def _needs(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """Names that a definition takes from its module: when it is defined, and when it runs."""
    module = compile(text, "<definition>", "exec", dont_inherit=True)
    at_once = global_names_at_once(module)
    return frozenset(at_once), frozenset(global_names(module) - at_once)
