"""Where something that changes is shown: one output of a cell, one line of a terminal, or nowhere."""

from __future__ import annotations

import importlib
import shutil
import sys
import uuid
from typing import Any, Protocol

from model_platform.display.bundle import bundle
from model_platform.display.card import Card
from model_platform.display.plain import plain


class Surface(Protocol):
    """Shows a card and changes it in place. `stays` says whether the last one stays to be read."""

    stays: bool

    def show(self, card: Card) -> None:
        """Show the card, in the place of the one before."""

    def clear(self) -> None:
        """Leave nothing behind, where that can be."""


def shell() -> Any:
    """The IPython shell that runs this code; None in a plain interpreter. Imports nothing."""
    module = sys.modules.get("IPython")
    return module.get_ipython() if module else None


def has_kernel() -> bool:
    """Whether a Jupyter kernel runs this code."""
    return hasattr(shell(), "kernel")


def cell_number() -> int | None:
    """The number of the cell that runs now; from IPython 9 on the shell itself counts the next one by then."""
    running = shell()
    if running is None:
        return None
    cells = getattr(running.history_manager, "input_hist_raw", None)
    return len(cells) - 1 if cells else int(running.execution_count)


def cell_source() -> str:
    """The text of the cell that runs now, as it was typed; empty where there is none."""
    history = getattr(shell(), "history_manager", None)
    return str(history.input_hist_raw[-1]) if history is not None and history.input_hist_raw else ""


def surface_here() -> Surface:
    """The surface that fits where this code runs."""
    if has_kernel():
        return _CellOutput()
    return _TerminalLine() if sys.stderr.isatty() else Nowhere()


class Nowhere:
    """Logs and scripts need no progress."""

    stays = False

    def show(self, card: Card) -> None:
        """Nothing."""

    def clear(self) -> None:
        """Nothing."""


class _CellOutput:
    """One output of the running cell, updated by its display id. An output cannot be taken back."""

    stays = True

    def __init__(self) -> None:
        self._id = f"model-platform-{uuid.uuid4().hex}"
        self._begun = False

    def show(self, card: Card) -> None:
        self._publish(bundle(card))

    def clear(self) -> None:
        """Nothing: what stands there stays."""

    def _publish(self, data: dict[str, Any]) -> None:
        display = importlib.import_module("IPython.display")  # in a kernel it is there; a script needs none of it
        display.publish_display_data(data, transient={"display_id": self._id}, update=self._begun)
        self._begun = True


class _TerminalLine:
    """The last line of the terminal, written over."""

    stays = False

    def __init__(self) -> None:
        self._begun = False

    def show(self, card: Card) -> None:
        line = "  ".join(plain(card).splitlines()[:2])
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write("\r\x1b[2K" + line[:width])
        sys.stderr.flush()
        self._begun = True

    def clear(self) -> None:
        if self._begun:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()
