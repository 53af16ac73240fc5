"""A pickle read by its opcodes: what it names and what it calls. Nothing is imported, nothing is built, nothing runs.

Beside that the stream is written down again without large contents, so that other scanners read kilobytes of a model of
gigabytes; and the arrays that joblib writes between the opcodes are passed over.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

KEPT_BYTES = 512
MOST_OPCODES = 5_000_000
DEEPEST = 40

_ARRAY_WRAPPER = "NumpyArrayWrapper"
_CONTENTS = {"SHORT_BINBYTES": 1, "BINBYTES": 4, "BINBYTES8": 8, "BYTEARRAY8": 8}
_WRITTEN_ANEW = {1: b"C", 4: b"B", 8: b"\x8e"}
_CHARACTER_BYTES = 4
_VALUES = frozenset(
    {
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING"),
        *("BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
        *("NONE", "NEWTRUE", "NEWFALSE"),
    }
)
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_FILLS = frozenset({"APPENDS", "SETITEMS", "ADDITEMS"})
_WHOLES = frozenset({"LIST", "TUPLE", "DICT", "FROZENSET"})
_INERT = (
    _GETS | _FILLS | _WHOLES | {"TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "EMPTY_TUPLE", "EMPTY_DICT", "EMPTY_SET"}
)
_SCALARS = frozenset({("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar")})
_TO_MARK = _FILLS | _WHOLES | {"POP_MARK", "INST", "OBJ"}
_MARK: Final = object()


class NotReadableError(Exception):
    """The bytes are no pickle, or one that nobody can read without running it; the message says why."""


class NoPickleError(NotReadableError):
    """The bytes are no pickle, and whoever tried to load them would fail before anything was called."""


@dataclass(frozen=True)
class Name:
    """A global: something that an import brings."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass
class Made:
    """What a call would give: the callee, its arguments, the states that are set afterwards."""

    callee: Any
    arguments: Any
    by_class: bool = False  # `cls.__new__`, not a call of any function
    states: list[Any] = field(default_factory=list)
    filled: list[Any] = field(default_factory=list)  # what is put into it afterwards, keys and values in turn


@dataclass
class Reading:
    """What one pickle says. `small` is the same pickle without its large contents."""

    names: set[Name] = field(default_factory=set)
    calls: list[Made] = field(default_factory=list)
    changed: set[Name] = field(default_factory=set)
    """Classes and functions that get a state, as if they were objects of this pickle's."""
    small: bytearray = field(default_factory=bytearray)

    @property
    def calls_something(self) -> bool:
        """Whether loading would call anything: only what has a name can be called."""
        return bool(self.names and self.calls)


def read_pickle(file: BinaryIO, depth: int = 0) -> list[Reading]:
    """Read one pickle at the position of a file, and those inside of it that joblib writes for arrays of objects.

    Raises
    ------
    NoPickleError
        If it is none, or ends early, and calls nothing until then.
    NotReadableError
        If it does what cannot be followed without running it.
    """
    if depth > DEEPEST:
        raise NotReadableError("it is nested too deeply")
    machine = _Machine(file, depth)
    try:
        machine.run()
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError, EOFError) as error:
        kind = NotReadableError if machine.reading.calls_something else NoPickleError
        raise kind(f"it is no pickle that can be followed ({type(error).__name__})") from error
    return [machine.reading, *machine.inner]


class _Writer:
    """Writes a pickle down again without large contents, and without long runs of values that call nothing.

    A vocabulary of a hundred thousand words is data: no other scanner finds more in it than it does in a short one.
    What is referred to later is written again there if it is one plain value, else as None.
    """

    def __init__(self, small: bytearray) -> None:
        self._small = small
        self._marks: list[tuple[int, int, int]] = []  # of each: where it stands, what was done and kept before
        self._done = 0
        self._kept: list[int] = []  # keys of what is remembered and no plain value, in the order of the file
        self._last: bytes | None = None  # the plain value that was written last
        self._plain: dict[int, bytes] = {}

    def write(self, name: str, argument: Any, raw: bytes, key: int, *, inert: bool) -> None:
        """Write one opcode.

        Parameters
        ----------
        raw
            The opcode as it stands; not looked at for contents of bytes.
        key
            Under which MEMOIZE would remember something.
        inert
            It calls what makes plain values.
        """
        last, self._last = self._last, None
        if name == "FRAME":
            return  # its length no longer holds, and nothing needs it
        if name in _VALUES or name in _CONTENTS:
            self._last = self._content(name, argument) if name in _CONTENTS else raw
            self._small += self._last
        elif name in _PUTS:
            self._put(key if argument is None else int(argument), last)
        elif name in _GETS and int(argument) in self._plain:
            self._last = self._plain[int(argument)]
            self._small += self._last
        elif name == "MARK":
            self._marks.append((len(self._small), self._done, len(self._kept)))
            self._small += raw
        else:
            self._act(name, raw, inert=inert or name in _INERT)

    def _put(self, key: int, plain: bytes | None) -> None:
        if plain is not None:
            self._plain[key] = self._last = plain
            return
        self._plain.pop(key, None)
        self._kept.append(key)
        self._small += b"r" + key.to_bytes(4, "little")

    def _act(self, name: str, raw: bytes, *, inert: bool) -> None:
        begin, done, kept = self._marks.pop() if name in _TO_MARK and self._marks else (0, -1, 0)
        if done == self._done and len(self._small) - begin > KEPT_BYTES and name in _FILLS | _WHOLES:
            del self._small[begin:]
            self._plain |= dict.fromkeys(self._kept[kept:], b"N")
            del self._kept[kept:]
            self._small += b"(" + raw if name in _WHOLES else b""
            return
        self._small += raw
        self._done += not inert

    @staticmethod
    def _content(name: str, argument: Any) -> bytes:
        # A bytearray is written as bytes: fickling knows no other, and what is called stays the same.
        content = bytes(argument[:KEPT_BYTES])
        width = _CONTENTS[name]
        return _WRITTEN_ANEW[width] + len(content).to_bytes(width, "little") + content


class _Machine:
    def __init__(self, file: BinaryIO, depth: int) -> None:
        self.file, self.depth = file, depth
        self.reading = Reading()
        self.inner: list[Reading] = []
        self._writer = _Writer(self.reading.small)
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> None:
        start = self.file.tell()
        for count, (opcode, argument, position) in enumerate(pickletools.genops(self.file)):
            if count > MOST_OPCODES:
                raise NotReadableError("it has too many parts")
            if position is None or position < start:
                raise NotReadableError("its opcodes go backwards")
            if opcode.name in _CONTENTS:
                raw = b""
            else:
                end = self.file.tell()
                self.file.seek(position)
                raw = self.file.read(end - position)
            self._writer.write(opcode.name, argument, raw, len(self._memo), inert=self._makes_scalar(opcode.name))
            step = _STEPS.get(opcode.name)
            if step is None:
                # What only the loader could give (buffers, persistent ids): a plain load fails here.
                kind = NotReadableError if self.reading.calls_something else NoPickleError
                raise kind(f"it uses {opcode.name}, which nobody can follow without running it")
            step(self, argument)
            if opcode.name == "BUILD":
                self._pass_over_array()

    def _makes_scalar(self, name: str) -> bool:
        called = self._stack[-2] if name == "REDUCE" and len(self._stack) > 1 else None
        return isinstance(called, Name) and (called.module, called.name) in _SCALARS

    # ------------------------------------------------------------ the stack

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise ValueError("its stack does not come out even")
        return value

    def drop(self) -> None:
        self._stack.pop()

    def pop_to_mark(self) -> list[Any]:
        items = []
        while (item := self._stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def top(self) -> Any:
        return self._stack[-1]

    def name(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise NotReadableError("it makes up at run time what it imports")
        found = Name(module, name)
        self.reading.names.add(found)
        self.push(found)

    def call(self, callee: Any, arguments: Any, *, by_class: bool = False) -> None:
        made = Made(callee, arguments, by_class)
        self.reading.calls.append(made)
        self.push(made)

    def remember(self, key: int) -> None:
        self._memo[key] = self.top()

    def recall(self, key: Any) -> None:
        self.push(self._memo[int(key)])

    def put_next(self) -> None:
        self.remember(len(self._memo))

    def build(self) -> None:
        state = self.pop()
        made = self.top()
        if isinstance(made, Name):
            self.reading.changed.add(made)
        if isinstance(made, Made):
            made.states.append(state)

    # ------------------------------------------------------------ joblib

    def _pass_over_array(self) -> None:
        wrapper = self.top()
        if not (isinstance(wrapper, Made) and isinstance(wrapper.callee, Name)):
            return
        if wrapper.callee.name != _ARRAY_WRAPPER or not wrapper.callee.module.startswith("joblib."):
            return
        said = wrapper.states[-1]
        state = dict(zip(said[::2], said[1::2], strict=True))
        width, objects = _item_size(state["dtype"])
        if objects:
            self.inner += read_pickle(self.file, self.depth + 1)
            return
        if state.get("numpy_array_alignment_bytes") is not None:
            (padding,) = self.file.read(1)
            self._skip(padding)
        count = 1
        for length in state["shape"]:
            count *= length
        self._skip(count * width)

    def _skip(self, count: int) -> None:
        while count > 0:
            block = self.file.read(min(count, 1 << 20))
            if not block:
                raise NotReadableError("it ends early")
            count -= len(block)


def _item_size(dtype: Any) -> tuple[int, bool]:
    """Bytes of one entry, and whether entries are objects, from how numpy pickles a dtype."""
    if not (isinstance(dtype, Made) and isinstance(dtype.callee, Name) and dtype.callee.name == "dtype"):
        raise NotReadableError("it holds an array of an unknown type")
    code = dtype.arguments[0]
    state = dtype.states[-1] if dtype.states else None
    flags = state[7] if isinstance(state, list) and len(state) > 7 else 0
    size = int(code[1:] or 0)
    return size * (_CHARACTER_BYTES if code[0] == "U" else 1), code[0] == "O" or bool(flags & 1)


# ---------------------------------------------------------------- opcodes
# Tuples, lists and sets are lists here; a dictionary is a list of its keys and values in turn.

_Step = Callable[[_Machine, Any], Any]


def _constant(machine: _Machine, argument: Any) -> None:
    machine.push(bytes(argument[:KEPT_BYTES]) if isinstance(argument, bytes | bytearray) else argument)


def _tuple_of(count: int) -> _Step:
    def step(machine: _Machine, _argument: Any) -> None:
        items = [machine.pop() for _ in range(count)][::-1]
        machine.push(items)

    return step


def _extend(count: int | None) -> _Step:
    def step(machine: _Machine, _argument: Any) -> None:
        items = machine.pop_to_mark() if count is None else [machine.pop() for _ in range(count)][::-1]
        target = machine.top()
        if isinstance(target, list):
            target.extend(items)
        elif isinstance(target, Made):
            target.filled.extend(items)  # through its own append or __setitem__

    return step


def _global(machine: _Machine, argument: str) -> None:
    machine.name(*argument.split(" ", 1))


def _stack_global(machine: _Machine, _argument: Any) -> None:
    name, module = machine.pop(), machine.pop()
    machine.name(module, name)


def _reduce(machine: _Machine, _argument: Any) -> None:
    arguments, callee = machine.pop(), machine.pop()
    machine.call(callee, arguments)


def _newobj(machine: _Machine, _argument: Any) -> None:
    arguments, callee = machine.pop(), machine.pop()
    machine.call(callee, arguments, by_class=True)


def _newobj_ex(machine: _Machine, _argument: Any) -> None:
    machine.pop()
    _newobj(machine, None)


def _instance(machine: _Machine, argument: str) -> None:
    arguments = machine.pop_to_mark()
    machine.name(*argument.split(" ", 1))
    machine.call(machine.pop(), arguments)


def _object(machine: _Machine, _argument: Any) -> None:
    callee, *arguments = machine.pop_to_mark()
    machine.call(callee, arguments)


def _persistent(machine: _Machine, _argument: Any) -> None:
    machine.pop()
    machine.push(None)  # a tensor that lies in another file


_STEPS: dict[str, _Step] = {
    **dict.fromkeys(
        (
            *(_VALUES - {"NONE", "NEWTRUE", "NEWFALSE"}),
            *_CONTENTS,
        ),
        _constant,
    ),
    "NONE": lambda m, _: m.push(None),
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    **dict.fromkeys(("EMPTY_LIST", "EMPTY_TUPLE", "EMPTY_DICT", "EMPTY_SET"), lambda m, _: m.push([])),
    **dict.fromkeys(("LIST", "TUPLE", "DICT", "FROZENSET"), lambda m, _: m.push(m.pop_to_mark())),
    **dict.fromkeys(("APPENDS", "SETITEMS", "ADDITEMS"), _extend(None)),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), lambda m, key: m.remember(int(key))),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda m, key: m.recall(key)),
    **dict.fromkeys(("PROTO", "FRAME"), lambda _m, _: None),
    "STOP": lambda m, _: m.pop(),
    "APPEND": _extend(1),
    "SETITEM": _extend(2),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "MARK": lambda m, _: m.push(_MARK),
    "POP": lambda m, _: m.drop(),
    "POP_MARK": lambda m, _: m.pop_to_mark(),
    "DUP": lambda m, _: m.push(m.top()),
    "MEMOIZE": lambda m, _: m.put_next(),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "NEWOBJ": _newobj,
    "NEWOBJ_EX": _newobj_ex,
    "INST": _instance,
    "OBJ": _object,
    "BUILD": lambda m, _: m.build(),
    "PERSID": lambda m, _: m.push(None),
    "BINPERSID": _persistent,
}
