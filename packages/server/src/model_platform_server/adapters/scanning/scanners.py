"""What fickling and picklescan say of a pickle, less what our own rules have looked at and know better."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

from fickling.analysis import Severity, check_safety
from fickling.fickle import Pickled
from picklescan.scanner import SafetyLevel, scan_pickle_bytes

from model_platform_server.adapters.scanning.rules import BY_VALUE, CLOUDPICKLE

_KNOWN_BETTER = frozenset({"NonStandardImports", "UnusedVariables"})
"""Findings that every model has: it is made of libraries, and not of Python alone."""

_LIMITS = frozenset({"ResourceExhaustion", "ExpansionAttackAnalysis"})
"""What fickling says of what is too much for it; not malice, but nobody has looked."""

_REVIEWED = frozenset(
    {
        *((module, name) for module in CLOUDPICKLE for name in BY_VALUE),
        *((module, name) for module in ("operator", "_operator") for name in ("getitem", "or_")),
        *((module, "reduce") for module in ("functools", "_functools")),
        *(("builtins", name) for name in ("Ellipsis", "NotImplemented", "classmethod", "property", "staticmethod")),
        ("builtins", "type"),  # the class of classes, that cloudpickle names when it stores one
        ("joblib.numpy_pickle", "NumpyArrayWrapper"),  # fickling refuses all of the module, for its `load`
        *(
            ("numpy.random._pickle", name)
            for name in ("__generator_ctor", "__bit_generator_ctor", "__randomstate_ctor")
        ),
    }
)
"""Names that a scanner objects to, and that were read: alone they run nothing, and our own rules look at their calls."""

_IMPORT = re.compile(r"from (?P<module>[\w.]+) import (?P<name>\w+)")


def fickling(small: bytes) -> Iterator[str]:
    """Fickling's findings; whatever it raises means that it could not look."""
    for found in check_safety(Pickled.load(io.BytesIO(small))).results:
        if found.analysis_name in _LIMITS:
            yield "is too large, or repeats itself too often, to be looked into by fickling"
        elif found.severity >= Severity.SUSPICIOUS and not _excused(found):
            yield f"is {found.severity.name.lower().replace('_', ' ')} to fickling: {str(found)[:200]}"


def _excused(found: Any) -> bool:
    if found.analysis_name in _KNOWN_BETTER:
        return True
    if found.analysis_name == "OvertlyBadEval" and found.severity == Severity.LIKELY_UNSAFE:
        return True  # a call of something that is not of Python itself: our own rules look at each
    imported = _IMPORT.fullmatch(str(found.trigger))
    return (
        imported is not None
        and found.analysis_name == "UnsafeImports"
        and (imported["module"], imported["name"]) in _REVIEWED
    )


def picklescan(small: bytes) -> Iterator[str]:
    """Picklescan's findings.

    Raises
    ------
    ValueError
        If it could not look.
    """
    result = scan_pickle_bytes(io.BytesIO(small), "model")
    if result.scan_err:
        raise ValueError("picklescan could not read it")
    for found in result.globals:
        if found.safety == SafetyLevel.Dangerous and (found.module, found.name) not in _REVIEWED:
            yield f"refers to {found.module}.{found.name}, which picklescan calls dangerous"
