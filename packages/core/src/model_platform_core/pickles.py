"""What a pickle says, read from its opcodes alone: nothing is imported, nothing is built, nothing runs.

Equal objects may be pickled to different bytes: sets are written in the order of a random hash, a string is repeated or
referred to, a function tells the file and line where it was typed. `digest_of_pickle` is the same for all of these.
"""

from __future__ import annotations

import hashlib
import pickletools
import re
from collections.abc import Callable
from typing import IO, Any, Final

Node = list[Any]
"""A kind, and what belongs to it: nodes, and for an atom its text."""


class NotReadError(Exception):
    """The bytes are no pickle that can be read so."""


def digest_of_pickle(stream: IO[bytes]) -> str:
    """The SHA-256, in hexadecimal, of what a pickle says.

    Raises
    ------
    NotReadError
        If it is none, ends early, refers to what lies outside of it, or is nested too deeply.
    """
    try:
        return _digest(_Machine().run(stream), {})
    except (ValueError, LookupError, RecursionError, TypeError, OverflowError) as error:
        raise NotReadError(str(error)) from error


_TRACKER = re.compile(r"[0-9a-f]{32}")
_SKELETONS = ("cloudpickle.cloudpickle _make_skeleton_class", "cloudpickle.cloudpickle _make_skeleton_enum")
_PLACES_IN_CODE = {18: (10, 13, 14), 16: (10, 12, 13)}
"""By the number of arguments of a code object: its file, first line and table of lines."""

_MARK: Final = "mark"
_UNORDERED = frozenset({"dict", "set", "frozenset"})
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY = {"EMPTY_LIST": "list", "EMPTY_TUPLE": "tuple", "EMPTY_DICT": "dict", "EMPTY_SET": "set"}
_FROM_MARK = {"LIST": "list", "TUPLE": "tuple", "FROZENSET": "frozenset"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_NOTHING = frozenset({"PROTO", "FRAME", "STOP"})


class _Machine:
    """The stack and the memo that opcodes work on, and what they took off the stack unused."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._popped: list[Any] = []

    def run(self, stream: IO[bytes]) -> Any:
        """What stands on the stack at the end, and what was done beside it: calls that change an object are popped."""
        for opcode, argument, _ in pickletools.genops(stream):
            self._step(opcode.name, argument)
        if len(self._stack) != 1 or self._stack[0] is _MARK:
            raise NotReadError("it leaves more or less than one object")
        return ["pickle", *self._stack, *self._popped]

    def _step(self, name: str, argument: Any) -> None:
        if name in _CONSTANTS:
            self._push("atom", _CONSTANTS[name])
        elif name in _EMPTY:
            self._push(_EMPTY[name])
        elif name in _FROM_MARK:
            self._push(_FROM_MARK[name], *self._to_mark())
        elif name in _TUPLES:
            self._push("tuple", *self._take(_TUPLES[name]))
        elif (act := _ACTS.get(name)) is not None:
            act(self, argument)
        elif argument is not None and name.endswith(_ATOMS):
            self._push("atom", bytes(argument) if isinstance(argument, bytearray) else argument)
        elif name not in _NOTHING:
            raise NotReadError(f"{name} refers to what lies outside")

    def _push(self, *node: Any) -> None:
        self._stack.append(list(node))

    def _take(self, count: int) -> list[Any]:
        taken = self._stack[-count:]
        if len(taken) < count:
            raise NotReadError("it takes more than there is")
        del self._stack[-count:]
        return taken

    def _to_mark(self) -> list[Any]:
        taken = []
        while (one := self._stack.pop()) is not _MARK:
            taken.append(one)
        return taken[::-1]

    # ------------------------------------------------------------ opcodes

    def mark(self, _: Any) -> None:
        self._stack.append(_MARK)

    def pop(self, _: Any) -> None:
        (popped,) = self._take(1)
        if popped is not _MARK:
            self._popped.append(popped)

    def pop_mark(self, _: Any) -> None:
        self._popped += self._to_mark()

    def duplicate(self, _: Any) -> None:
        self._stack.append(self._stack[-1])

    def get(self, index: Any) -> None:
        self._stack.append(self._memo[int(index)])

    def put(self, index: Any) -> None:
        self._memo[len(self._memo) if index is None else int(index)] = self._stack[-1]

    def dictionary(self, _: Any) -> None:
        self._push("dict", *_pairs(self._to_mark()))

    def append(self, _: Any) -> None:
        (item,) = self._take(1)
        self._stack[-1].append(item)

    def extend(self, _: Any) -> None:
        items = self._to_mark()
        self._stack[-1].extend(items)

    def set_item(self, _: Any) -> None:
        pair = self._take(2)
        self._stack[-1].extend(_pairs(pair))

    def set_items(self, _: Any) -> None:
        items = self._to_mark()
        self._stack[-1].extend(_pairs(items))

    def name(self, text: Any) -> None:
        self._push("name", str(text))

    def name_on_stack(self, _: Any) -> None:
        module, name = self._take(2)
        self._push("name", f"{module[1]} {name[1]}")

    def instance(self, text: Any) -> None:
        self._push("call", ["name", str(text)], ["tuple", *self._to_mark()])

    def object(self, _: Any) -> None:
        kind, *arguments = self._to_mark()
        self._push("call", kind, ["tuple", *arguments])

    def call(self, _: Any) -> None:
        function, arguments = self._take(2)
        self._push("call", function, _without_places(function, arguments))

    def make(self, _: Any) -> None:
        self._push("new", *self._take(2))

    def make_with_names(self, _: Any) -> None:
        self._push("new", *self._take(3))

    def build(self, _: Any) -> None:
        (state,) = self._take(1)
        self._stack[-1].append(["state", state])


_ATOMS = (
    "INT",
    "INT1",
    "INT2",
    "LONG",
    "LONG1",
    "LONG4",
    "STRING",
    "BYTES",
    "BYTES8",
    "ARRAY8",
    "CODE",
    "CODE8",
    "FLOAT",
)
_ACTS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "POP": _Machine.pop,
    "POP_MARK": _Machine.pop_mark,
    "DUP": _Machine.duplicate,
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.put),
    "DICT": _Machine.dictionary,
    "APPEND": _Machine.append,
    **dict.fromkeys(("APPENDS", "ADDITEMS"), _Machine.extend),
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.name_on_stack,
    "INST": _Machine.instance,
    "OBJ": _Machine.object,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.make,
    "NEWOBJ_EX": _Machine.make_with_names,
    "BUILD": _Machine.build,
}


def _pairs(items: list[Any]) -> list[Node]:
    return [["pair", key, value] for key, value in zip(items[::2], items[1::2], strict=True)]


def _without_places(function: Node, arguments: Node) -> Node:
    """A call's arguments without what tells where and when something was made: cloudpickle writes it for what it copies."""
    if function[:1] == ["name"] and function[1] in _SKELETONS:
        return [one for one in arguments if not _is_tracker(one)]
    if function[:1] == ["call"] and function[1:] == _CODE_TYPE and len(arguments) - 1 in _PLACES_IN_CODE:
        left_out = {place + 1 for place in _PLACES_IN_CODE[len(arguments) - 1]}
        return [one for index, one in enumerate(arguments) if index not in left_out]
    return arguments


_CODE_TYPE = [["name", "cloudpickle.cloudpickle _builtin_type"], ["tuple", ["atom", "CodeType"]]]


def _is_tracker(node: Any) -> bool:
    return node[0] == "atom" and isinstance(node[1], str) and _TRACKER.fullmatch(node[1]) is not None


def _digest(node: Node, known: dict[int, str]) -> str:
    """Of a node and all below it; `known` holds those that are done, and for those that are not how deep they stand."""
    if id(node) in known:
        return known[id(node)]
    kind, *parts = node
    if kind in {"atom", "name"}:
        (value,) = parts
        text = value if isinstance(value, bytes) else repr(value).encode("utf-8", "surrogatepass")
        return hashlib.sha256(f"{kind} {type(value).__name__} ".encode() + text).hexdigest()
    known[id(node)] = f"cycle {len(known)}"
    inner = [_digest(part, known) for part in parts]
    if kind in _UNORDERED:
        inner.sort()
    known[id(node)] = found = hashlib.sha256(" ".join((kind, *inner)).encode()).hexdigest()
    return found
