"""Our own judgement of a pickle: what it may name, and what it may call while it is loaded.

Classes of libraries and of the user's own files are what models are made of; functions are called by a pickle only to
put objects together again, and those are known. Everything of Python itself that is not plain data is refused.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from model_platform_server.adapters.scanning import packages
from model_platform_server.adapters.scanning.machine import Made, Name, Reading

CLOUDPICKLE = ("cloudpickle.cloudpickle", "cloudpickle.cloudpickle_fast", "cloudpickle")
BY_VALUE = frozenset(
    {
        *("_builtin_type", "_class_setstate", "_empty_cell_value", "_function_setstate", "_get_bases", "_make_cell"),
        *("_make_empty_cell", "_make_function", "_make_skeleton_class", "_make_skeleton_enum", "_make_typevar"),
        *(
            "_get_dataclass_field_type_sentinel",
            "_make_dict_items",
            "_make_dict_keys",
            "_make_dict_values",
            "subimport",
        ),
    }
)
"""What cloudpickle calls to bring functions and classes that it stores by value."""

_PLAIN: dict[str, frozenset[str]] = {
    "builtins": frozenset(
        {
            *("bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "object"),
            *("range", "set", "slice", "str", "tuple", "type"),
        }
    ),
    "collections": frozenset({"Counter", "OrderedDict", "defaultdict", "deque"}),
    "copyreg": frozenset({"_reconstructor", "__newobj__", "__newobj_ex__"}),
    "datetime": frozenset({"date", "datetime", "time", "timedelta", "timezone"}),
    "dataclasses": frozenset({"Field", "_DataclassParams", "_MISSING_TYPE", "_HAS_DEFAULT_FACTORY_CLASS"}),
    "decimal": frozenset({"Decimal"}),
    "fractions": frozenset({"Fraction"}),
    "functools": frozenset({"partial"}),
    "pathlib": frozenset({"PosixPath", "PurePosixPath", "PureWindowsPath", "WindowsPath"}),
    "re": frozenset({"_compile"}),
    "_codecs": frozenset({"encode"}),
    "array": frozenset({"array", "_array_reconstructor"}),
    "random": frozenset({"Random"}),
    "types": frozenset({"SimpleNamespace"}),
    "uuid": frozenset({"UUID"}),
    "zoneinfo": frozenset({"ZoneInfo", "ZoneInfo._unpickle"}),
    "abc": frozenset({"ABC", "ABCMeta"}),
}
_FORMS = frozenset(
    {
        *("AbstractSet", "Annotated", "Any", "AnyStr", "AsyncGenerator", "AsyncIterable", "AsyncIterator", "Awaitable"),
        *("ByteString", "Callable", "ChainMap", "ClassVar", "Collection", "Concatenate", "Container", "Coroutine"),
        *("Counter", "DefaultDict", "Deque", "Dict", "Final", "FrozenSet", "Generator", "Generic", "Hashable"),
        *("ItemsView", "Iterable", "Iterator", "KeysView", "List", "Literal", "LiteralString", "Mapping"),
        *(
            "MappingView",
            "Match",
            "MutableMapping",
            "MutableSequence",
            "MutableSet",
            "Never",
            "NoReturn",
            "NotRequired",
        ),
        *(
            "Optional",
            "OrderedDict",
            "Pattern",
            "Protocol",
            "Required",
            "Reversible",
            "Self",
            "Sequence",
            "Set",
            "Sized",
        ),
        *("SupportsAbs", "SupportsBytes", "SupportsComplex", "SupportsFloat", "SupportsIndex", "SupportsInt"),
        *("SupportsRound", "Text", "Tuple", "Type", "TypeAlias", "TypeGuard", "Union", "Unpack", "ValuesView"),
        *("ParamSpecArgs", "ParamSpecKwargs", "Buffer", "ReadOnly", "TypeIs"),
    }
)
"""What annotations are made of."""

for _module in ("typing", "typing_extensions", "collections.abc"):
    _PLAIN[_module] = _FORMS
_PLAIN["collections.abc"] |= {"_CallableGenericAlias"}
_PLAIN["types"] |= {"GenericAlias", "NoneType", "UnionType"}
_PLAIN["builtins"] |= {"Ellipsis", "NotImplemented", "classmethod", "property", "staticmethod"}
_PLAIN["__builtin__"] = _PLAIN["builtins"]
_PLAIN["copy_reg"] = _PLAIN["copyreg"]
_SUBSCRIPT = frozenset({Name("_operator", "getitem"), Name("operator", "getitem")})
_OR = frozenset({Name("_operator", "or_"), Name("operator", "or_")})
_REDUCE = frozenset({Name("_functools", "reduce"), Name("functools", "reduce")})
_STATE_THAT_RUNS = frozenset({"__setstate__", "append", "extend", "add"})
"""Attributes that loading itself calls: an object that was given one of these would call it."""

_PROGRAMS = frozenset(
    {
        *("Popen", "check_call", "check_output"),
        *("exec", "__import__", "import_module", "ctypes", "fork", "forkpty", "marshal", "popen", "posix_spawn", "pty"),
        *("runpy", "spawnl", "spawnv", "spawnve", "subprocess", "system", "execv", "execve", "execl", "execvp"),
    }
)


def carries_code(reading: Reading) -> bool:
    """Whether it brings functions or classes by value."""
    return any(_by_value(name) for name in reading.names)


def objections(reading: Reading, modules: frozenset[str] = frozenset()) -> Iterator[str]:
    """What speaks against loading it, each as the end of a sentence that begins with the file's name.

    Parameters
    ----------
    modules
        The modules that come along as code to read.
    """
    for name in sorted(reading.names, key=str):
        if not _may_be_named(name):
            yield f"refers to {name}, which no model is made of"
    for name in sorted(reading.changed, key=str):
        yield f"changes {name} while it is loaded"
    for call in reading.calls:
        yield from _against(call, modules)
        if any(_runs(state) for state in call.states):
            yield "makes an object that calls something while it is loaded"


def _by_value(name: Name) -> bool:
    return name.module in CLOUDPICKLE and name.name in BY_VALUE


def _of_python(name: Name) -> bool:
    return name.module.partition(".")[0] in sys.stdlib_module_names | {"__builtin__", "typing_extensions"}


def _may_be_named(name: Name) -> bool:
    if _by_value(name) or name in _SUBSCRIPT | _OR | _REDUCE:
        return True
    if name.module.partition(".")[0] in CLOUDPICKLE:
        return False
    if _of_python(name):
        return name.name in _PLAIN.get(name.module, frozenset()) or _is_exception(name)
    return packages.may_be_named(name)


def _is_exception(name: Name) -> bool:
    return name.module == "builtins" and name.name.endswith(("Error", "Warning", "Exception"))


def _against(call: Made, modules: frozenset[str]) -> Iterator[str]:
    callee = call.callee
    if isinstance(callee, Made):
        yield from _against_made(call, callee.callee)
    elif not isinstance(callee, Name):
        yield "calls something that is no name"
    elif _by_value(callee):
        yield from _in_code(call)
    elif _may_be_named(callee) and not _may_be_called(callee, call, modules):
        yield f"calls {callee} while it is loaded"


def _may_be_called(callee: Name, call: Made, modules: frozenset[str]) -> bool:
    if callee in _SUBSCRIPT | _OR | _REDUCE:
        return _is_annotation(call)
    if callee.module in {"copyreg", "copy_reg"}:
        return _made_anew(call, modules)
    if _of_python(callee):
        return callee.module not in {"typing", "typing_extensions"}  # what else may be named of Python is plain data
    return packages.may_be_called(callee, modules, by_class=call.by_class, empty=not call.arguments)


def _made_anew(call: Made, modules: frozenset[str]) -> bool:
    """Whether what copyreg makes, of a class that is its first argument, might be made by the class itself."""
    kind, *arguments = call.arguments if isinstance(call.arguments, list) and call.arguments else [None]
    if call.callee.name == "_reconstructor":
        base = arguments.pop(0) if arguments else None
        arguments = [one for one in arguments if one is not None]
        if not (isinstance(base, Name) and (_of_python(base) or not list(_against(Made(base, arguments), modules)))):
            return False
    made = Made(kind, arguments, by_class=True)
    if isinstance(kind, Made):
        return not list(_against_made(made, kind.callee))
    return isinstance(kind, Name) and not list(_against(made, modules))


def _is_annotation(call: Made) -> bool:
    """Whether it makes `X[…]` or `X | Y` of types, as annotations are pickled."""
    arguments = call.arguments if isinstance(call.arguments, list) else []
    if call.callee in _SUBSCRIPT:
        return len(arguments) == 2 and _is_form(arguments[0])
    return call.callee in _REDUCE and len(arguments) == 2 and arguments[0] in _OR and isinstance(arguments[1], list)


def _is_form(value: Any) -> bool:
    if isinstance(value, Made):
        return value.callee in _SUBSCRIPT and _is_annotation(value)
    return isinstance(value, Name) and (value.module in _TYPED or value.module == "builtins") and _may_be_named(value)


_TYPED = frozenset({"typing", "typing_extensions", "collections", "collections.abc"})


def _runs(state: Any) -> bool:
    """Whether a state names an attribute that loading calls, in its dictionary or in that of its slots."""
    waiting = [state]
    for _ in range(_MOST_STATES):
        if not waiting:
            return False
        one = waiting.pop()
        if isinstance(one, Made):
            waiting += [one.filled, one.arguments]
        elif isinstance(one, list):
            keys = [key for key in one[::2] if isinstance(key, str)]
            if _STATE_THAT_RUNS & set(keys):
                return True
            if not keys:
                waiting += [inner for inner in one[:2] if isinstance(inner, list | Made)]
    return False


_MOST_STATES = 20


def _against_made(call: Made, maker: Any) -> Iterator[str]:
    if not (isinstance(maker, Name) and _by_value(maker)):
        yield "calls what it has just made"
    elif maker.name == "_builtin_type":
        yield from _in_code(call)
    elif maker.name == "_make_function":
        yield "calls a function of its own while it is loaded"
    # else: an object of a class that it brings


def _in_code(call: Made) -> Iterator[str]:
    """Code by value is the user's own, but what starts programs travels where it can be read."""
    for word in sorted(_PROGRAMS & set(_texts(call.arguments))):
        yield f"carries code that uses {word}; put that code into a .py file and import it"


def _texts(value: Any) -> Iterator[str]:
    waiting = [value]
    for _ in range(100_000):
        if not waiting:
            return
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, list):
            waiting += one
