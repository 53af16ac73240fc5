"""The sample: some rows, what the model answers, and what can be learnt from asking in several ways."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from model_platform.capture.answers import Answers, encode_answers
from model_platform.capture.subject import Subject
from model_platform.capture.table import Table
from model_platform_core.errors import InvalidInputError, InvalidModelError
from model_platform_core.parity import ParitySample, compare_answers

SAMPLE_ROWS = 20
_PATIENCE_SECONDS = 2.0


@dataclass(frozen=True)
class Trial:
    """What asking the model has shown. `rows_independent`: alone, together and in another order rows answer alike."""

    sample: Table
    answers: Answers
    deterministic: bool
    rows_independent: bool

    def parity_sample(self) -> ParitySample:
        """The sample as it is kept."""
        return ParitySample(
            records=tuple(self.sample.records()),
            answers=tuple(self.answers.records),
            dtypes=self.answers.dtypes,
            deterministic=self.deterministic,
        )


def try_out(subject: Subject, rows: Table) -> Trial:
    """Ask the model the first rows: twice together, each alone, and in reverse.

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
    began = time.monotonic()
    first = _ask(subject, sample, sample.value)
    took = time.monotonic() - began
    kept = ParitySample(records=(), answers=tuple(first.records), dtypes=first.dtypes)
    deterministic = _alike(kept, _ask(subject, sample, sample.value).records)
    independent = deterministic and _rows_are_independent(subject, sample, kept, took)
    return Trial(sample, first, deterministic, independent)


def _rows_are_independent(subject: Subject, sample: Table, kept: ParitySample, seconds: float) -> bool:
    """Whether each row answers alone and in reverse as it did among the others; one row alone shows nothing."""
    count = len(sample)
    if count < 2:
        return False
    alone = range(count if seconds * count <= _PATIENCE_SECONDS else max(2, int(_PATIENCE_SECONDS / seconds)))
    try:
        reverse = _encoded(subject, sample.take(range(count - 1, -1, -1)), count)
        if not _alike(kept, reverse.records[::-1]):
            return False
        singles = [_encoded(subject, sample.take([position]), 1).records[0] for position in list(alone)[:count]]
    except Exception:  # noqa: BLE001 - a model that refuses rows one by one is not asked so
        return False
    few = ParitySample(records=(), answers=kept.answers[: len(singles)], dtypes=kept.dtypes)
    return _alike(few, singles)


def _alike(kept: ParitySample, answers: list[dict[str, Any]]) -> bool:
    return compare_answers(kept, answers).proven


def _encoded(subject: Subject, rows: Any, count: int) -> Answers:
    return encode_answers(subject.answer(rows), count, subject.classes())


def _ask(subject: Subject, sample: Table, rows: Any) -> Answers:
    try:
        return _encoded(subject, rows, len(sample))
    except InvalidModelError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}".rstrip(": ")
        raise InvalidInputError(
            f"The model cannot answer the rows given ({what}). Give rows as it is called with, in --example or --data.",
            hint=f"model.{subject.method}(example) must work in the notebook" if not subject.is_function else None,
        ) from error
