"""The words of a line by where it is read: in a cell, in a terminal, in code. What is written here is written for a cell."""

from __future__ import annotations

import re

_OPTION = r" --[a-z-]+(?: [^\s-]\S*)?"


_FILES = {"X_train": "train.csv", "X_test": "rows.csv", "scores": "scores.json"}


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
