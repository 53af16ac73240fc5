"""What may be compiled: scikit-learn's own classes, just as scikit-learn wrote them.

A compiled predictor stands in for code that it does not run. So it must be certain which code that is: the very class,
no subclass, no method replaced on the class or on the instance, no setting that changes what methods return.
"""

import sys
import types
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeVar

Entry = TypeVar("Entry")

_SETTINGS = {"transform_output": "default", "enable_metadata_routing": False, "array_api_dispatch": False}


class Declined(Exception):  # noqa: N818 - an answer, not a failure
    """A model has no faster form; the text is one short sentence for /info."""


def known(estimator: Any, table: Mapping[str, Entry]) -> Entry:
    """Return a table's entry for the estimator's class, by module and name.

    Raises
    ------
    Declined
        The table has no such class, or this is not the class as its library made it.
    """
    kind = type(estimator)
    entry = table.get(f"{kind.__module__}.{kind.__qualname__}")
    if entry is None:
        raise Declined(f"{kind.__qualname__} has no compiled form.")
    require_own(estimator)
    return entry


def require_own(estimator: Any) -> None:
    """Nothing, if this is an instance of a library's own, unchanged class.

    Raises
    ------
    Declined
        It is not, or carries something that stands in for a method, or has its output changed.
    """
    kind: Any = type(estimator)
    if problem := _changed(kind):
        raise Declined(problem)
    if own := vars(estimator).keys() & _methods(kind):
        raise Declined(f"This {kind.__qualname__} has a {min(own)} of its own.")
    if any(value != "default" for value in vars(estimator).get("_sklearn_output_config", {}).values()):
        raise Declined(f"This {kind.__qualname__} was told to return tables.")


def require_defaults() -> None:
    """Nothing, if scikit-learn's settings are those that it starts with, as far as they change answers."""
    config = sys.modules["sklearn"].get_config()
    if changed := [name for name, usual in _SETTINGS.items() if config.get(name, usual) != usual]:
        raise Declined(f"scikit-learn's setting {changed[0]} is changed.")


@lru_cache(maxsize=512)
def _changed(kind: type) -> str | None:
    """What is wrong with a class, in a sentence."""
    library = kind.__module__.partition(".")[0]
    if getattr(sys.modules.get(kind.__module__), kind.__qualname__, None) is not kind:
        return f"{kind.__qualname__} is not a class of {library}."
    for each in kind.__mro__[:-1]:
        for name, member in vars(each).items():
            for function in _functions(member):
                home = str(function.__globals__.get("__name__", ""))
                found = vars(sys.modules.get(home, types)) is function.__globals__
                if not found or home.partition(".")[0] not in (library, "sklearn", "abc", "typing"):
                    return f"{name} of {kind.__qualname__} was replaced."
    return None


def _functions(member: Any) -> Iterator[types.FunctionType]:
    """The functions that a member of a class is made of: wrapped ones and those of properties, too."""
    if isinstance(member, types.FunctionType):
        yield member
        for cell in member.__closure__ or ():
            if isinstance(held := _content(cell), types.FunctionType):
                yield held
    for name in ("__wrapped__", "__func__", "fget", "fn"):
        held = vars(member).get(name) if hasattr(member, "__dict__") else None
        held = held if held is not None else (getattr(member, name, None) if isinstance(member, _WRAPPERS) else None)
        if isinstance(held, types.FunctionType):
            yield held


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty
        return None


_WRAPPERS = (property, classmethod, staticmethod)


@lru_cache(maxsize=512)
def _methods(kind: type) -> frozenset[str]:
    return frozenset(name for name in dir(kind) if callable(getattr(kind, name, None)))
