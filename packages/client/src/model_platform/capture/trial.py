"""The sample: some rows, what the model answers, and what can be learnt from asking in several ways."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from model_platform.capture.answers import Answers, encode_answers
from model_platform.capture.subject import Subject
from model_platform.capture.table import Form, Table
from model_platform_core.errors import InvalidInputError
from model_platform_core.parity import ParitySample, compare_answers

SAMPLE_ROWS = 20
_PATIENCE_SECONDS = 2.0
_ALONE = 6  # rows that are asked alone: what one of them does not show, the next hardly does


@dataclass(frozen=True)
class Trial:
    """What asking the model has shown. `rows_independent`: alone, together and in another order rows answer alike.

    The sample's index belongs to its rows where the model answers otherwise, or not at all, without it.
    """

    sample: Table
    answers: Answers
    deterministic: bool
    rows_independent: bool

    def parity_sample(self) -> ParitySample:
        """The sample as it is kept."""
        return ParitySample(
            records=tuple(self.sample.records()),
            answers=tuple(self.answers.records),
            dtypes=self.answers.tolerances,
            deterministic=self.deterministic,
        )


def try_out(subject: Subject, rows: Table) -> Trial:
    """Ask the model the first rows: twice together, and in other company: in reverse, in halves, some alone.

    Raises
    ------
    InvalidInputError
        If the model cannot answer these rows.
    InvalidModelError
        If its answer does not have one entry per row.
    """
    sample = rows.head(SAMPLE_ROWS)
    if not len(sample):
        raise InvalidInputError(
            "The rows to try the model on are empty; give at least one.", hint="--example X_test[:20]"
        )
    _check_finite(sample)
    began = time.monotonic()
    first = _ask(subject, sample)
    took = time.monotonic() - began
    as_outputs = first.kind == "outputs"
    if first.outputs_or_rows and len(sample) > 1:  # fewer rows show it: one array for each output has fewer entries
        as_outputs = _ask(subject, sample.head(len(sample) - 1)).kind == "outputs"
        first = _ask(subject, sample, as_outputs=as_outputs)
    asked = _Asked(subject, as_outputs)
    kept = ParitySample(records=(), answers=tuple(first.records), dtypes=first.tolerances)
    deterministic = _alike(kept, asked.answers(sample.value, len(sample)))
    kept = kept.model_copy(update={"deterministic": deterministic})
    independent = deterministic and _rows_are_independent(asked, sample, kept, took)
    return Trial(replace(sample, indexed=_index_matters(asked, sample, kept)), first, deterministic, independent)


@dataclass(frozen=True)
class _Asked:
    """The model and how its answers are read."""

    subject: Subject
    as_outputs: bool

    def answers(self, rows: Any, count: int) -> list[dict[str, Any]]:
        """The answers to rows in the notebook's form."""
        subject = self.subject
        return encode_answers(subject.answer(rows), count, subject.classes(), as_outputs=self.as_outputs).records


def _check_finite(sample: Table) -> None:
    """Refuse infinity, which would arrive as a missing value."""
    parts = sample.columns() if sample.tabular else [("the array", sample.value)]
    if sample.form is Form.ARRAYS:
        parts = list(sample.value.items())
    for name, values in parts:
        flat = values.tolist() if hasattr(values, "iloc") else values.ravel().tolist()
        if _holds_infinity(flat):
            raise InvalidInputError(
                f"{name!r} holds infinity in the rows to try the model on, which no JSON can hold.",
                hint="X.replace([np.inf, -np.inf], np.nan), or other rows as --example",
            )


def _holds_infinity(values: list[Any]) -> bool:
    return any(
        _holds_infinity(value) if isinstance(value, list) else isinstance(value, float) and math.isinf(value)
        for value in values
    )


def _index_matters(asked: _Asked, sample: Table, kept: ParitySample) -> bool:
    """Whether the model needs the index of its rows: callers are asked for it only then."""
    if not sample.has_index:
        return False
    try:
        return not _alike(kept, asked.answers(sample.without_index().value, len(sample)))
    except Exception:  # noqa: BLE001 - whatever it raises, it was right with its index
        return True


def _rows_are_independent(asked: _Asked, sample: Table, kept: ParitySample, seconds: float) -> bool:
    """Whether rows answer in other company as they did among all: in reverse, in halves, and some of them alone.

    One row alone shows nothing.
    """
    count = len(sample)
    if count < 2:
        return False
    half, alone = count // 2, min(count, _ALONE, max(2, int(_PATIENCE_SECONDS / max(seconds, 1e-9))))
    company = [range(count - 1, -1, -1), range(half), range(half, count)]
    company += [range(position, position + 1) for position in (count * number // alone for number in range(alone))]
    try:
        return all(_answers_alike(asked, sample, kept, positions) for positions in company)
    except Exception:  # noqa: BLE001 - a model that refuses some of its rows is not asked so
        return False


def _answers_alike(asked: _Asked, sample: Table, kept: ParitySample, positions: Sequence[int]) -> bool:
    expected = kept.model_copy(update={"answers": tuple(kept.answers[position] for position in positions)})
    return _alike(expected, asked.answers(sample.take(positions), len(positions)))


def _alike(kept: ParitySample, answers: list[dict[str, Any]]) -> bool:
    return compare_answers(kept, answers).proven


def _ask(subject: Subject, sample: Table, *, as_outputs: bool | None = None) -> Answers:
    try:
        result = subject.answer(sample.value)
    except Exception as error:
        what = f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}".rstrip(": ")
        raise InvalidInputError(
            f"The model cannot answer the rows given ({what}). Give rows as it is called with, in --example or --data.",
            hint=f"model.{subject.method}(example) must work in the notebook" if not subject.is_function else None,
        ) from error
    return encode_answers(result, len(sample), subject.classes(), as_outputs=as_outputs)
