"""Our own judgement of a pickle: what it may name, and what it may call while it is loaded.

Classes of libraries and of the user's own files are what models are made of; functions are called by a pickle only to
put objects together again, and those are known. Everything of Python itself that is not plain data is refused.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

from model_platform_server.adapters.scanning.machine import Made, Name, Reading

CLOUDPICKLE = ("cloudpickle.cloudpickle", "cloudpickle.cloudpickle_fast", "cloudpickle")
BY_VALUE = frozenset(
    {
        *("_builtin_type", "_class_setstate", "_empty_cell_value", "_function_setstate", "_get_bases", "_make_cell"),
        *("_make_empty_cell", "_make_function", "_make_skeleton_class", "_make_skeleton_enum", "_make_typevar"),
        *("_make_dict_items", "_make_dict_keys", "_make_dict_values", "subimport"),
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
_PLAIN["__builtin__"] = _PLAIN["builtins"]
_PLAIN["copy_reg"] = _PLAIN["copyreg"]
_REBUILDERS = re.compile(
    r"_*(pyx_|py_|c_|np_)*(re)?(build|construct|unpickle|restore|make|new|from|load_from_state)(_|s?$|\w*ctor|buffer|pickle)"
    r"|__pyx_unpickle_\w+|__\w+_ctor|_reconstruct|_frombuffer|_rebuild\w*|_unpickle\w*|_new_\w+|_restore_\w+"
)
_FUNCTIONS = frozenset(
    {
        *(
            "sklearn.neighbors._ball_tree.newObj",
            "sklearn.neighbors._kd_tree.newObj",
            "sklearn.metrics._dist_metrics.newObj",
        ),
        *("numpy.dtype", "numpy.ndarray", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"),
        *("pyarrow.lib.type_for_alias", "pyarrow.lib.py_buffer", "pandas._libs.tslibs.offsets._offset_from_str"),
        *("scipy.interpolate._bsplines.make_interp_spline", "scipy.stats._distn_infrastructure.rv_frozen"),
    }
)
_CLASS = re.compile(r"_*[A-Z]\w*|[a-z]+_(array|matrix)|float\d+|u?int\d+|bool_|str_|complex\d+|datetime64|timedelta64")
_PROGRAMS = frozenset(
    {
        *("exec", "__import__", "import_module", "ctypes", "fork", "forkpty", "marshal", "popen", "posix_spawn", "pty"),
        *("runpy", "spawnl", "spawnv", "spawnve", "subprocess", "system", "execv", "execve", "execl", "execvp"),
    }
)


def carries_code(reading: Reading) -> bool:
    """Whether it brings functions or classes by value."""
    return any(_by_value(name) for name in reading.names)


def objections(reading: Reading) -> Iterator[str]:
    """What speaks against loading it, each as the end of a sentence that begins with the file's name."""
    for name in sorted(reading.names, key=str):
        if not _may_be_named(name):
            yield f"refers to {name}, which no model is made of"
    for call in reading.calls:
        yield from _against(call)


def _by_value(name: Name) -> bool:
    return name.module in CLOUDPICKLE and name.name in BY_VALUE


def _may_be_named(name: Name) -> bool:
    if _by_value(name):
        return True
    top = name.module.partition(".")[0]
    if top in CLOUDPICKLE:
        return False
    if top in sys.stdlib_module_names or top == "__builtin__":
        return name.name in _PLAIN.get(name.module, frozenset()) or _is_exception(name)
    return "." not in name.name or _CLASS.fullmatch(name.name.partition(".")[0]) is not None


def _is_exception(name: Name) -> bool:
    return name.module == "builtins" and name.name.endswith(("Error", "Warning", "Exception"))


def _against(call: Made) -> Iterator[str]:
    callee = call.callee
    if isinstance(callee, Made):
        yield from _against_made(call, callee.callee)
    elif not isinstance(callee, Name):
        yield "calls something that is no name"
    elif _by_value(callee):
        yield from _in_code(call)
    elif not (call.by_class or not _may_be_named(callee) or _puts_together(callee)):
        yield f"calls {callee} while it is loaded"


def _against_made(call: Made, maker: Any) -> Iterator[str]:
    if not (isinstance(maker, Name) and _by_value(maker)):
        yield "calls what it has just made"
    elif maker.name == "_builtin_type":
        yield from _in_code(call)
    elif maker.name == "_make_function":
        yield "calls a function of its own while it is loaded"
    # else: an object of a class that it brings


def _puts_together(callee: Name) -> bool:
    """Whether it is a class, or a function that is known to put objects together and do nothing else."""
    if callee.module.partition(".")[0] in sys.stdlib_module_names | {"__builtin__"}:
        return True  # what may be named of Python itself is plain data
    return bool(_CLASS.fullmatch(callee.name) or str(callee) in _FUNCTIONS or _REBUILDERS.fullmatch(callee.name))


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
