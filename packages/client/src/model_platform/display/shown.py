"""What verbs return shows itself: `print` and a bare line in a cell do the rest."""

from __future__ import annotations

from typing import Any

from model_platform.display.bundle import bundle
from model_platform.display.card import Card
from model_platform.display.plain import plain
from model_platform.display.surface import cell_number


class Shown:
    """Base of results. A subclass says its card; `print` and a bare line in a cell do the rest."""

    _already_in_cell: int | None = None

    def card(self) -> Card:
        """The card that tells this result."""
        raise NotImplementedError

    def mark_shown(self) -> None:
        """The card stands in this cell already (as the end of its progress); the cell's own output leaves it out."""
        self._already_in_cell = cell_number()

    def _ipython_display_(self) -> None:
        if self._already_in_cell is None or self._already_in_cell != cell_number():
            raise NotImplementedError  # IPython goes on with `_repr_mimebundle_`
        self._already_in_cell = None

    def _repr_mimebundle_(self, **_options: Any) -> dict[str, Any]:
        return bundle(self.card())

    def __str__(self) -> str:
        return plain(self.card())
