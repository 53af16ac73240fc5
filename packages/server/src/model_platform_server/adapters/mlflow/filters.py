"""Names inside search filters mean what they mean elsewhere: bare for the actor's home zone.

MLflow parses the filter; the comparisons with `name` are taken out here and put back as SQL over full names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from mlflow.utils.search_utils import SearchUtils

from model_platform_server.adapters.mlflow.sessions import acting

_PATTERNS = frozenset({"LIKE", "ILIKE"})
_EXACT = frozenset({"=", "!=", "IN", "NOT IN"})


def of_names(
    comparisons: Sequence[dict[str, Any]], column: Any, dialect: str, full: Callable[[str], str]
) -> tuple[list[dict[str, Any]], list[sa.ColumnElement[bool]]]:
    """Split MLflow's parsed comparisons into those of other things, and SQL for those of names.

    Comparisons that MLflow does not know stay where they are: it says what is wrong with them.
    """
    rest: list[dict[str, Any]] = []
    named: list[sa.ColumnElement[bool]] = []
    for one in comparisons:
        comparator = one["comparator"].upper()
        is_name = one["type"] == "attribute" and one["key"] == "name" and comparator in _PATTERNS | _EXACT
        if not is_name:
            rest.append(one)
        elif comparator in _PATTERNS:
            named.append(_like(column, comparator, str(one["value"]), dialect))
        else:
            value = one["value"]
            value = full(value) if isinstance(value, str) else tuple(full(name) for name in value)
            named.append(SearchUtils.get_sql_comparison_func(comparator, dialect)(column, value))
    return rest, named


def _like(column: Any, comparator: str, pattern: str, dialect: str) -> sa.ColumnElement[bool]:
    """A pattern is held against names as they are shown: bare ones of the home zone, full ones of others."""
    compare = SearchUtils.get_sql_comparison_func(comparator, dialect)
    home = acting().home_zone
    if home is None:
        return compare(column, pattern)  # type: ignore[no-any-return]
    at_home = column.like(f"{home}.%")
    return sa.or_(
        sa.and_(at_home, compare(column, f"{home}.{pattern}")), sa.and_(sa.not_(at_home), compare(column, pattern))
    )
