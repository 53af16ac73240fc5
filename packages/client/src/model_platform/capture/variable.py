"""What a publish finds out about an object: how it answers, what it needs, what of its rows may be kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_platform.capture.answers import PREDICTION
from model_platform.capture.blocks import arrow_table, is_arrow
from model_platform.capture.card_fields import how_made
from model_platform.capture.completing_lock import is_worth_completing
from model_platform.capture.domain import describe_columns
from model_platform.capture.dtypes import describe_rows
from model_platform.capture.environment import record_environment
from model_platform.capture.fingerprint import Fingerprinting, fingerprinting
from model_platform.capture.kept import Kept, RowsFrom, what_to_keep
from model_platform.capture.origin import Origin
from model_platform.capture.publish import Order, write_parity_sample
from model_platform.capture.saving import needed_distributions, save
from model_platform.capture.signature import infer_signature
from model_platform.capture.subject import Subject, examine
from model_platform.capture.table import Form, Table, as_called, as_library_takes, as_table
from model_platform.capture.travelling import TravellingCode, travelling_code
from model_platform.capture.trial import Trial, try_out
from model_platform.capture.watching import watching_imports
from model_platform_core.cards import Tier
from model_platform_core.environments import EnvironmentRecord
from model_platform_core.errors import InvalidInputError

METADATA_SCHEMA = 1


def variable(order: Order, elsewhere: str = "") -> Callable[[bool], VariableCapture]:
    """What publishes an object, as soon as it is known whether its data may be personal.

    Parameters
    ----------
    elsewhere
        How it was trained, where that was not here.

    Raises
    ------
    InvalidModelError
        If it has no answering method.
    """
    subject = examine(order.model, order.answers)
    return lambda personal: VariableCapture.of(order, subject, elsewhere, personal=personal)


@dataclass(frozen=True)
class VariableCapture:
    """What was found out about an object and its data, before anything is written."""

    subject: Subject
    elsewhere: str
    data: Table | None
    trial: Trial | None
    kept: Kept | None
    may_be_personal: bool
    fingerprinting: Fingerprinting | None
    code: TravellingCode
    imported: frozenset[str]
    said: str = ""

    @classmethod
    def of(cls, order: Order, subject: Subject, elsewhere: str, *, personal: bool) -> VariableCapture:
        """Look at it, and try it out on what rows there are."""
        data = None if names_a_place(order.data) else _rows(order.data, "--data", subject)
        running = fingerprinting(order.data_name, order.data, data)
        example = _rows(order.example, "--example", subject)
        if data is not None and example is not None:
            _check_same_columns(data, example)
        sample = example if example is not None else data
        with watching_imports() as imported:
            trial = try_out(subject, sample) if sample is not None else None
        origin = RowsFrom.EXAMPLE if example is not None else RowsFrom.NOBODY if personal else RowsFrom.DATA
        return cls(
            subject=subject,
            elsewhere=elsewhere,
            data=data,
            trial=trial,
            kept=what_to_keep(subject, trial, data, origin) if trial else None,
            may_be_personal=personal,
            fingerprinting=running,
            code=travelling_code(order.model, order.files),
            imported=frozenset(imported),
        )

    @property
    def described(self) -> Table | None:
        """The rows that say what a call may hold: all the data, as the model is called, else the example."""
        return as_called(self.data, self.trial.sample) if self.trial else self.data

    def how(self, origin: Origin) -> str:
        """How it was trained, as far as that can be seen."""
        return self.elsewhere or how_made(self.subject, origin)

    def check_tier(self, name: str, tier: Tier) -> None:
        """Refuse code that no file holds, where the tier does."""
        self.code.check_tier(name, tier)

    def write(self, folder: Path) -> EnvironmentRecord:
        """Write the model with its code and parity sample; what it needs may be completed after the publish."""
        form = self.trial.sample.form if self.trial else None
        needs = save(
            self.subject,
            folder,
            form=form,
            signature=self._signature(),
            metadata={"model_platform": self._behaviour()},
            distributions=needed_distributions(self.subject, form, self.code.imported | self.imported),
            code=self.code,
            may_be_personal=self.may_be_personal,
        )
        self.code.write_files(folder)
        if self.kept is not None:
            write_parity_sample(folder, self.kept.parity_sample())
        pending = is_worth_completing(self.subject, folder)
        return record_environment(needs, folder).model_copy(update={"pending": pending})

    def _signature(self) -> Any:
        described, trial = self.described, self.trial
        return infer_signature(described, trial.answers, trial.sample) if described is not None and trial else None

    def _behaviour(self) -> dict[str, Any]:
        """What the runner and callers need to know beyond MLflow's own description."""
        trial, described = self.trial, self.described
        hidden = self.may_be_personal and self.data is not None
        known = trial.answers.names if trial else []
        return {
            "schema": METADATA_SCHEMA,
            "answers": self.subject.method,
            "rows_independent": bool(trial and trial.rows_independent),
            "deterministic": trial.deterministic if trial else True,
            "inputs": describe_columns(described, personal=hidden) if described is not None else {},
            "rows": describe_rows(described, trial.sample) if described is not None and trial else None,
            "output_names": known if known not in ([], [PREDICTION]) else None,
            "classes": self.subject.classes(),
            "example": self.kept.example() if self.kept else None,
            "answer_kind": trial.answers.kind if trial else None,
            "answer_dtypes": trial.answers.dtypes if trial else {},
            "project": self.code.layout(),
            "code": self.code.told(),
        }


def names_a_place(value: Any) -> bool:
    """Whether data is named by where it lies: a file or a folder has a fingerprint, and no rows to try."""
    try:
        return isinstance(value, str | os.PathLike) and Path(value).expanduser().exists()
    except (OSError, ValueError):
        return False


def _rows(value: Any, what: str, subject: Subject) -> Table | None:
    if value is None:
        return None
    table = as_table(arrow_table(value).to_pandas() if is_arrow(value) else value, what)
    if subject.of_library:
        table = as_library_takes(table)
    # Only a function can mean to be called with plain records; every library's model means a table by them.
    return Table(Form.FRAME, table.frame()) if table.form is Form.RECORDS and not subject.is_function else table


def _check_same_columns(data: Table, example: Table) -> None:
    if data.form is not Form.FRAME or example.form is not Form.FRAME:
        return
    known, given = [str(name) for name in data.value.columns], [str(name) for name in example.value.columns]
    if set(known) == set(given):
        return
    more, less = sorted(set(given) - set(known)), sorted(set(known) - set(given))
    parts = [f"{', '.join(more)} only in --example"] if more else []
    parts += [f"{', '.join(less)} only in --data"] if less else []
    raise InvalidInputError(
        f"--data and --example have different columns: {'; '.join(parts)}.",
        hint="give both as the model is called: the same columns, without the target",
    )
