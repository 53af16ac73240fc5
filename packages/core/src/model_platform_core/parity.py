"""The parity proof: the endpoint answers as the notebook did.

At publish a sample of rows and the notebook's answers are kept; at deploy the rows are replayed and the answers
compared, output by output. The tolerance follows from the output's dtype: discrete values are equal; float64 within
1e-9 relative plus 1e-12; float32 within 1e-4 relative plus 1e-6. A model that disagreed with itself at publish is *not
deterministic* and compared by type and shape alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from model_platform_core.values import Observed

SHOWN_DIFFERENCES = 5

_ABSENT = object()
_OF_NO_ONE_TYPE = ("", "object")
_TOLERANCES = {"float64": (1e-9, 1e-12), "float32": (1e-4, 1e-6), "float16": (1e-2, 1e-3)}


class ParitySample(Observed):
    """Rows and answers kept at publish.

    `records` are the rows as an application would send them (objects by column name, lists, or single values), `answers` the notebook's answers as the plain call gives
    them, `dtypes` the numpy dtype of each output.
    """

    records: tuple[Any, ...]
    answers: tuple[dict[str, Any], ...]
    dtypes: dict[str, str] = {}
    deterministic: bool = True
    not_proven: str | None = None


class ParityDifference(Observed):
    """One answer that differs: which row (from 0), which output, both values, the difference and what was allowed."""

    row: int
    output: str
    notebook: str
    endpoint: str
    difference: float | None = None
    allowed: float | None = None


class ParityReport(Observed):
    """How many of `rows` answered as in the notebook, and the largest difference found."""

    rows: int
    equal: int
    largest_difference: float = 0.0
    differences: tuple[ParityDifference, ...] = ()
    deterministic: bool = True
    not_proven: str | None = None

    @property
    def proven(self) -> bool:
        """Whether every row agrees within its tolerance, and there are no others."""
        return self.not_proven is None and self.equal == self.rows and not self.differences


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _compare(expected: Any, got: Any, dtype: str) -> tuple[bool, float | None, float | None]:
    """Equal, difference and allowed difference of two leaves, or of two lists or objects leaf by leaf."""
    if (parts := _parts(expected, got)) is not None:
        if len(expected) != len(got):
            return False, None, None
        found = [_compare(one, other, dtype) for one, other in parts]
        worst = max((difference for _, difference, _ in found if difference is not None), default=None)
        allowed = next((limit for fine, _, limit in found if not fine), None)
        return all(fine for fine, _, _ in found), worst, allowed
    if not (_is_number(expected) and _is_number(got)):
        return type(expected) is type(got) and expected == got, None, None
    if dtype in _OF_NO_ONE_TYPE and isinstance(expected, float):
        dtype = "float64"
    whole = isinstance(expected, int) and isinstance(got, int)  # beside floats in one answer
    relative, absolute = (0.0, 0.0) if whole else _TOLERANCES.get(dtype, (0.0, 0.0))
    try:
        # Whole numbers are subtracted as such: as floats, neighbours above 2**53 would be equal.
        difference = float(abs(expected - got))
        allowed = relative * abs(float(expected)) + absolute
    except OverflowError:  # a whole number that no float can hold
        return expected == got, None, None
    if not math.isfinite(difference):
        return False, None, allowed
    return difference <= allowed, difference, allowed


def _parts(expected: Any, got: Any) -> list[tuple[Any, Any]] | None:
    """The pairs to compare where both are lists or both are objects; an object's key that is not there is no answer."""
    if isinstance(expected, list) and isinstance(got, list):
        return list(zip(expected, got, strict=False))
    if isinstance(expected, Mapping) and isinstance(got, Mapping):
        return [(value, got.get(key, _ABSENT)) for key, value in expected.items()]
    return None


def _same_kind(expected: Any, got: Any) -> bool:
    if (parts := _parts(expected, got)) is not None:
        return len(expected) == len(got) and all(_same_kind(a, b) for a, b in parts)
    return (_is_number(expected) and _is_number(got)) or type(expected) is type(got) or None in (expected, got)


def _shown(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 40 else text[:39] + "…"


def _differences_of_row(
    row: int, expected: Mapping[str, Any], got: object, sample: ParitySample
) -> tuple[list[ParityDifference], float]:
    if not isinstance(got, Mapping) or set(expected) != set(got):
        names = ", ".join(sorted(map(str, got))) if isinstance(got, Mapping) else type(got).__name__
        wanted = ", ".join(sorted(expected))
        return [ParityDifference(row=row, output="outputs", notebook=_shown(wanted), endpoint=_shown(names))], 0.0
    found, largest = [], 0.0
    for output, value in expected.items():
        if not sample.deterministic:
            fine, difference, allowed = _same_kind(value, got[output]), None, None
        else:
            fine, difference, allowed = _compare(value, got[output], sample.dtypes.get(output, ""))
        largest = max(largest, difference or 0.0)
        if not fine:
            shown = {"notebook": _shown(value), "endpoint": _shown(got[output])}
            found.append(ParityDifference(row=row, output=output, difference=difference, allowed=allowed, **shown))
    return found, largest


def compare_answers(sample: ParitySample, answers: Sequence[object]) -> ParityReport:
    """Compare what the endpoint answered, one object per row, with what the notebook answered."""
    rows, equal, largest, differences = len(sample.answers), 0, 0.0, []
    for row, expected in enumerate(sample.answers):
        got = answers[row] if row < len(answers) else None
        found, worst = _differences_of_row(row, expected, got, sample)
        equal += not found
        largest = max(largest, worst)
        differences += found
    if len(answers) > rows:
        equal = 0
        differences.append(ParityDifference(row=rows, output="rows", notebook=str(rows), endpoint=str(len(answers))))
    return ParityReport(
        rows=rows,
        equal=equal,
        largest_difference=largest,
        differences=tuple(differences[:SHOWN_DIFFERENCES]),
        deterministic=sample.deterministic,
    )
