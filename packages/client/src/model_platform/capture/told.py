"""Whether the text of a definition gives what the notebook holds by now.

A class may have got another attribute in a later cell, a default was worked out when its name meant something else, a
decorator was written anew. So the text is run once more, beside the notebook, and both are compared. Decorators of the
notebook itself are only read: they may keep a list of what they were given.
"""

from __future__ import annotations

import ast
import builtins
import copy
import functools
import types
from collections.abc import Iterator, Mapping
from itertools import compress
from typing import Any

from model_platform.capture.project import code_objects
from model_platform.capture.reach import CacheWrapper, is_importable

_MAIN = "__main__"
_AS_IT_IS = "_as_it_is"
_PLAIN = (bool, int, float, complex, str, bytes, types.NoneType, types.CodeType)
_CALLED = (types.FunctionType, classmethod, staticmethod, property)


def gives(
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef,
    file: str,
    flags: int,
    value: Any,
    names: Mapping[str, Any],
) -> bool:
    """Whether a definition, run among the notebook's variables as they are now, gives the like of this value.

    Parameters
    ----------
    flags
        With which the file or cell was compiled.
    """
    if isinstance(value, type):
        if type(value).__module__ == _MAIN or any(_is_told_of_subclasses(base) for base in value.__mro__[1:]):
            return False  # running it again might replace what they keep
        return _same_as_run(node, file, flags, value, names)
    layers = [value]
    while hasattr(layers[-1], "__wrapped__"):
        layers.append(layers[-1].__wrapped__)
    if len(layers) != len(node.decorator_list) + 1:
        return False
    wrapped = zip(layers, layers[1:], node.decorator_list, strict=False)
    if not all(_is_wrapped_by(one, below, decorator, names) for one, below, decorator in wrapped):
        return False
    return _same_as_run(node, file, flags, layers[-1], names)


def _is_told_of_subclasses(base: type) -> bool:
    return base.__module__ == _MAIN and "__init_subclass__" in vars(base)


def _same_as_run(node: Any, file: str, flags: int, value: Any, names: Mapping[str, Any]) -> bool:
    bare = copy.copy(node)
    bare.decorator_list = [
        one
        if isinstance(value, type) and is_importable(_named(one, names))
        else ast.copy_location(ast.Name(_AS_IT_IS, ast.Load()), one)
        for one in node.decorator_list
    ]
    if not all(_leaves_no_trace(part, names) for part in _run_at_once(bare)):
        return False
    scratch = {**names, _AS_IT_IS: lambda one: one}
    try:
        exec(compile(ast.Module([bare], []), file, "exec", flags=flags, dont_inherit=True), scratch)  # noqa: S102
        return _Comparison().same(value, scratch[node.name])
    except Exception:  # noqa: BLE001 - what cannot be run again, or compared, is not known
        return False


def _run_at_once(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a definition that run when it is defined: all but the bodies of functions."""
    yield node
    for name, value in ast.iter_fields(node):
        if name == "body" and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _run_at_once(child)


def _leaves_no_trace(part: ast.AST, names: Mapping[str, Any]) -> bool:
    """Whether running it again changes nothing in the notebook: no object of its own is changed, called or handed on."""
    if isinstance(part, ast.Attribute | ast.Subscript):
        return isinstance(part.ctx, ast.Load)
    if not isinstance(part, ast.Call):
        return not isinstance(part, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom | ast.Global)
    root = part.func
    while isinstance(root, ast.Attribute):
        root = root.value
    if not isinstance(root, ast.Name):
        return False
    if root.id not in names and hasattr(builtins, root.id):
        return isinstance(getattr(builtins, root.id), type) and _hands_on_nothing(part, names)
    called = names.get(root.id)
    return (isinstance(called, types.ModuleType) or is_importable(called)) and _hands_on_nothing(part, names)


def _hands_on_nothing(call: ast.Call, names: Mapping[str, Any]) -> bool:
    given = [node for one in (*call.args, *call.keywords) for node in ast.walk(one) if isinstance(node, ast.Name)]
    values = [names[one.id] for one in given if one.id in names]
    return all(isinstance(one, (*_PLAIN, types.ModuleType)) or is_importable(one) for one in values)


# ---------------------------------------------------------------- decorators


def _is_wrapped_by(layer: Any, below: Any, decorator: ast.expr, names: Mapping[str, Any]) -> bool:
    """Whether a wrapper is what this decorator makes of the function below it, as far as that can be told."""
    head = _named(decorator, names)
    given = _given(decorator, names)
    if head is None or given is None:
        return False
    if isinstance(layer, CacheWrapper):
        return head in (functools.cache, functools.lru_cache)
    if head is functools.singledispatch:
        return dict(layer.registry) == {object: below}
    marked = vars(layer).keys() - {"__wrapped__"} - vars(below).keys()
    return isinstance(layer, types.FunctionType) and not marked and _is_made_by(head, layer, below, given)


def _is_made_by(head: Any, layer: types.FunctionType, below: Any, given: tuple[Any, ...]) -> bool:
    if is_importable(head):
        return layer.__globals__.get("__name__") != _MAIN
    if not isinstance(head, types.FunctionType) or layer.__code__ not in set(code_objects(head.__code__)):
        return False
    given += head.__defaults__ or ()
    held = [cell.cell_contents for cell in layer.__closure__ or ()]
    return all(one is below or is_importable(one) or _Comparison().among(one, given) for one in held)


def _named(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """What `name`, `package.name` or `name(…)` means among the notebook's variables; None if that is not clear."""
    if isinstance(node, ast.Call):
        return _named(node.func, names)
    if isinstance(node, ast.Attribute):
        return getattr(_named(node.value, names), node.attr, None)
    return names.get(node.id) if isinstance(node, ast.Name) else None


def _given(decorator: ast.expr, names: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """The arguments of `@name(…)`, where they cannot have changed since; None where they can."""
    if not isinstance(decorator, ast.Call):
        return ()
    found = []
    for node in [*decorator.args, *(one.value for one in decorator.keywords)]:
        try:
            found.append(ast.literal_eval(node))
        except ValueError:
            if not is_importable(value := _named(node, names)) or isinstance(node, ast.Call):
                return None
            found.append(value)
    return tuple(found)


# ---------------------------------------------------------------- the same in all its parts


class _Comparison:
    """Compares what is live with what was run again; the two classes themselves count as one."""

    def __init__(self) -> None:
        self._taken: dict[tuple[int, int], Any] = {}  # holds both: their ids stay theirs

    def among(self, value: Any, others: tuple[Any, ...]) -> bool:
        return any(self.same(value, other) for other in others)

    def same(self, live: Any, told: Any) -> bool:
        pair = (id(live), id(told))
        if live is told or pair in self._taken:
            return True
        kinds = type(live), type(told)
        if kinds[0] is not kinds[1] and (id(kinds[0]), id(kinds[1])) not in self._taken:
            return False
        self._taken[pair] = (live, told)
        return self._same_inside(live, told)

    def _same_inside(self, live: Any, told: Any) -> bool:
        if isinstance(live, _PLAIN):
            return bool(live == told or (live != live and told != told))  # noqa: PLR0124 - not a number
        if isinstance(live, list | tuple):
            return len(live) == len(told) and all(map(self.same, live, told))
        if isinstance(live, dict | types.MappingProxyType):
            return self.same([*live.items()], [*told.items()])
        if (parts := _parts(live)) is not None:
            return self.same(parts, _parts(told))
        return (live == told) is True or self.same(_state(live), _state(told))


def _parts(value: Any) -> list[Any] | None:
    """What makes up a function or class; None for other objects."""
    parts: list[Any] | None = None
    if isinstance(value, types.FunctionType):
        if {"registry", "dispatch"} <= vars(value).keys():  # functools.singledispatch
            return [dict(vars(value)["registry"])]
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        parts = [value.__code__, value.__defaults__, value.__kwdefaults__, vars(value), cells]
    elif isinstance(value, type):
        own = vars(value).items()
        counts = (name != "_abc_impl" and (isinstance(one, _CALLED) or not name.startswith("__")) for name, one in own)
        parts = [list(value.__bases__), dict(compress(own, counts))]
    elif isinstance(value, classmethod | staticmethod):
        parts = [value.__func__]
    elif isinstance(value, property):
        parts = [value.fget, value.fset, value.fdel]
    elif isinstance(value, functools.cached_property):
        parts = [value.func]
    elif isinstance(value, functools.singledispatchmethod):
        parts = [value.dispatcher]
    elif isinstance(value, CacheWrapper):
        parts = [value.__wrapped__, value.cache_parameters()]
    return parts


def _state(value: Any) -> list[Any]:
    """What a pickle would hold of it."""
    made = value.__reduce_ex__(4)
    if isinstance(made, str):
        return [made]
    return [list(one) if hasattr(one, "__next__") else one for one in made]
