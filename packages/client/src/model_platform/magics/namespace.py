"""Looking things up in the notebook: variables by name, expressions by value, and what was meant by a misspelt one."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from model_platform_core.errors import InvalidInputError

Namespace = Mapping[str, Any]


def evaluate(expression: str, namespace: Namespace, what: str) -> Any:
    """The value of an expression of the notebook.

    Parameters
    ----------
    what
        What it is for, as the message calls it: `--data`.

    Raises
    ------
    InvalidInputError
        Names what is unknown and what may have been meant, or why it cannot be evaluated.
    """
    text = expression.strip()
    try:
        return eval(compile(text, f"<{what}>", "eval"), dict(namespace))  # noqa: S307 - the user's own cell
    except NameError as error:
        name = getattr(error, "name", None) or text
        raise InvalidInputError(unknown_name(name, namespace, what)) from None
    except SyntaxError as error:
        raise InvalidInputError(
            f"{what} {text!r} is no Python expression: {error.msg}.", hint=f'{what} "…" if it holds spaces'
        ) from None
    except Exception as error:
        why = f"{type(error).__name__}: {error}".rstrip(": ")
        raise InvalidInputError(f"{what} {text} cannot be evaluated ({why}).") from error


def unknown_name(name: str, namespace: Namespace, what: str) -> str:
    """The sentence for a variable that is not there."""
    known = [one for one in namespace if not one.startswith("_")]
    near = (
        difflib.get_close_matches(name, known, 1, cutoff=0.5)
        or [one for one in known if one.lower().startswith(name.lower()[:3])][:1]
    )
    return f"There is no variable {name} in this notebook ({what})." + (f" Did you mean {near[0]}?" if near else "")


def is_publishable(value: Any) -> bool:
    """Whether a variable looks like a fitted model: an object, not a class, with an answering method."""
    return not isinstance(value, type) and callable(getattr(value, "predict", None))


def is_rows(value: Any) -> bool:
    """Whether a variable looks like rows."""
    return hasattr(value, "shape") and len(getattr(value, "shape", ())) >= 1
