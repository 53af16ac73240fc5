"""What is kept and shown of rows: the publisher's example, rows of data that is of nobody, or made-up ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from model_platform.capture.subject import Subject
from model_platform.capture.synthetic import NotMadeUpError, make_rows
from model_platform.capture.table import Table, as_called
from model_platform.capture.trial import SAMPLE_ROWS, Trial, try_out
from model_platform_core.errors import InvalidInputError, InvalidModelError
from model_platform_core.parity import ParitySample

_FAILURES = (ArithmeticError, LookupError, TypeError, ValueError)


class RowsFrom(StrEnum):
    """Where kept rows come from."""

    EXAMPLE = "example"
    DATA = "data"
    NOBODY = "made-up"


@dataclass(frozen=True)
class Kept:
    """Rows and answers that may be stored and shown; without a trial none, and `not_proven` says why."""

    rows_from: RowsFrom
    trial: Trial | None
    not_proven: str | None = None

    def parity_sample(self) -> ParitySample:
        """The sample as it is stored."""
        if self.trial is None:
            return ParitySample(records=(), answers=(), not_proven=self.not_proven)
        return self.trial.parity_sample()

    def example(self) -> list[Any] | None:
        """The row that callers see; one of the data is not shown to them."""
        if self.trial is None or self.rows_from is RowsFrom.DATA:
            return None
        return self.trial.sample.head(1).records()


def what_to_keep(subject: Subject, trial: Trial, data: Table | None, rows_from: RowsFrom) -> Kept:
    """The rows to keep of a model that was tried out; where they are made up, it is asked those."""
    if rows_from is not RowsFrom.NOBODY:
        return Kept(rows_from, trial)
    try:
        rows = make_rows(as_called(data, trial.sample), SAMPLE_ROWS)
    except NotMadeUpError as error:
        return Kept(rows_from, None, f"no rows could be made up for it: {error}")
    except _FAILURES as error:
        return Kept(rows_from, None, f"no rows could be made up for it ({type(error).__name__})")
    try:
        made = try_out(subject, rows)
    except (InvalidInputError, InvalidModelError, *_FAILURES) as error:
        reason = type(error.__cause__ or error).__name__  # its words may repeat what the model has learnt
        return Kept(rows_from, None, f"the model refuses made-up rows ({reason})")
    if (made.answers.kind, made.answers.names) != (trial.answers.kind, trial.answers.names):
        return Kept(rows_from, None, "the model answers made-up rows in another shape")
    sample = replace(made.sample, indexed=trial.sample.indexed)
    return Kept(rows_from, replace(made, sample=sample, deterministic=made.deterministic and trial.deterministic))
