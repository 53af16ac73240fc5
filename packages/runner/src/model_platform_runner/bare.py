"""A model that was fitted on a table of numbers, asked with an array.

scikit-learn turns such a table into an array before anything else, and keeps its columns' names for a check. Where
columns are mapped by name already, the check is done: a copy of the model without the names takes the array, and says
nothing about it. That holds for scikit-learn's own estimators that hold no others; code of somebody else may look at
the table itself.
"""

import copy
from typing import Any

from model_platform_runner.compiled.known import Declined, require_defaults, require_own
from model_platform_runner.compiled.steps import name_of

_PIPELINE = "sklearn.pipeline.Pipeline"
_INDIFFERENT = (
    "sklearn._loss.",
    "sklearn.ensemble._hist_gradient_boosting.",
    "sklearn.preprocessing._label.",
    "sklearn.dummy.",
    "sklearn.tree._",
)
_BY_NAME = ("sklearn.compose.", "sklearn.preprocessing._function_transformer.", "sklearn.pipeline.")


def without_names(model: Any) -> Any:
    """Return a copy of a model that knows no names of columns; what is large is shared with the model.

    Raises
    ------
    Declined
        It may look at its rows by name, as far as can be told.
    """
    require_defaults()
    if name_of(model) != _PIPELINE:
        return _bare(model)
    require_own(model)
    bare = copy.copy(model)
    bare.steps = [(name, step if step in (None, "passthrough") else _bare(step)) for name, step in model.steps]
    return bare


def _bare(estimator: Any) -> Any:
    kind, name = type(estimator).__qualname__, name_of(estimator)
    if not name.startswith("sklearn.") or name.startswith(_BY_NAME):
        raise Declined(f"{kind} may look at columns by name.")
    require_own(estimator)
    for part, value in vars(estimator).items():
        if _looks_at_names(value):
            raise Declined(f"The {part} of {kind} may look at columns by name.")
    bare = copy.copy(estimator)
    vars(bare).pop("feature_names_in_", None)
    return bare


def _looks_at_names(value: Any) -> bool:
    """Whether it is, or holds, a function or an estimator that could be given the table."""
    if isinstance(value, dict):
        value = list(value.values())
    if getattr(getattr(value, "dtype", None), "kind", None) == "O":
        value = value.ravel().tolist()
    if isinstance(value, list | tuple):
        return any(map(_looks_at_names, value))
    return (callable(value) or hasattr(value, "fit")) and not name_of(value).startswith(_INDIFFERENT)
