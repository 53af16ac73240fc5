"""Errors as people see them: what, why, what to do, and no traceback of ours.

The tree itself is `model_platform_core.errors`. Here it learns to show itself in a notebook: IPython asks an exception
for `_render_traceback_`, and papermill records what that returns. The same lines are attached as notes (PEP 678), so
that a plain `python train.py` prints them beneath its traceback.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

from model_platform_core.errors import FieldProblem, ModelPlatformError, RefusedError

P = ParamSpec("P")
R = TypeVar("R")

Words = Callable[[str], str]

_OPTION = r" --[a-z-]+(?: [^\s-]\S*)?"


_FILES = {"X_train": "train.csv", "X_test": "rows.csv", "scores": "scores.json"}


class WaitingForFormError(RefusedError):
    """A publish waits for a person to fill in a form; the cells below must not run before that."""

    code = "refused_until_form_is_filled"


def in_notebook(text: str) -> str:
    """Words for a cell: the lines are magics already."""
    return text


def in_shell(text: str) -> str:
    """Words for a terminal: `%mp_status churn` is `mp status churn` there, and rows lie in files."""
    for variable, file in _FILES.items():
        text = re.sub(rf"\b{variable}\b(\[:\d+\])?", file, text)
    return text.replace("%mp_", "mp ")


def in_python(text: str) -> str:
    """Words for code: `%mp_stop churn` is `mp.stop("churn")`, `--for-whom "…"` is `for_whom="…"`.

    In a sentence a magic stands without words of its own: `%mp_status lists …` is `mp.status() lists …`.
    """

    def option(found: re.Match[str]) -> str:
        return f"{_keyword(found.group(1))}={found.group(2) or 'True'}"

    whole = re.fullmatch(rf"%mp_([a-z]+)(?: ([^\s-]\S*))?((?:{_OPTION})*)", text)
    if whole is None:
        return re.sub(r'--([a-z-]+)(?: ("…"|\S+))?', option, re.sub(r"%mp_([a-z]+)", r"mp.\1()", text))
    verb, word, options = whole.groups()
    arguments = [word if verb == "publish" else f'"{word}"'] if word else []
    for name, value in re.findall(r" --([a-z-]+)(?: ([^\s-]\S*))?", options):
        arguments.append(f"{_keyword(name)}={_literal(value)}")
    return f"mp.{verb}({', '.join(arguments)})"


def _keyword(option: str) -> str:
    return {"with": "with_files"}.get(option, option.replace("-", "_"))


def _literal(value: str) -> str:
    if not value or value.startswith('"'):
        return value or "True"
    return value if re.fullmatch(r"[\d.]+", value) else f'"{value}"'


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
