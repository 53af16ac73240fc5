"""Errors as people see them: what, why, what to do, and no traceback of ours.

The tree itself is `model_platform_core.errors`. Here it learns to show itself in a notebook: IPython asks an exception
for `_render_traceback_`, and papermill records what that returns. The same lines are attached as notes (PEP 678), so
that a plain `python train.py` prints them beneath its traceback.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

from model_platform.wording import in_notebook, in_python, in_shell
from model_platform_core.errors import FieldProblem, ModelPlatformError, RefusedError

__all__ = ["WaitingForFormError", "details", "explain", "explained", "in_notebook", "in_python", "in_shell"]

P = ParamSpec("P")
R = TypeVar("R")

Words = Callable[[str], str]


class WaitingForFormError(RefusedError):
    """A publish waits for a person to fill in a form; the cells below must not run before that."""

    code = "refused_until_form_is_filled"


def _field_lines(fields: Sequence[FieldProblem], words: Words) -> list[str]:
    if not fields:
        return []
    wide = max(len(field.field) for field in fields) + 3
    long = max((len(field.problem) for field in fields if field.add), default=0) + 3
    lines = []
    for field in fields:
        add = f"{field.problem:<{long}}add  {words(field.add)}" if field.add else field.problem
        lines.append(f"  {field.field:<{wide}}{add}")
    return lines


def details(error: ModelPlatformError, words: Words = in_notebook) -> list[str]:
    """The lines beneath the message: what is wrong by field, then what to do."""
    return [*_field_lines(error.fields, words), *([words(error.hint)] if error.hint else [])]


def explain(error: ModelPlatformError, words: Words = in_notebook) -> str:
    """The whole error as plain text."""
    return "\n".join([error.message, *details(error, words)])


def explained(words: Words) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a public function attach the lines beneath the message to every error of ours that leaves it."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except ModelPlatformError as error:
                if not getattr(error, "__notes__", None):
                    for line in details(error, words):
                        error.add_note(line)
                raise

        return call

    return decorate


def _render(error: ModelPlatformError) -> list[str]:
    return [error.message, *(getattr(error, "__notes__", None) or details(error))]


# Core knows no notebook; this is the one line by which its errors become short in a cell.
ModelPlatformError._render_traceback_ = _render  # type: ignore[attr-defined]
