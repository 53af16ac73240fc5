"""The form for fields that are missing: in the cell that published, for a person who is there.

The cell stops where nothing was published, so that *Run All* does not go on with an old version. The form finishes the
job, and its card takes the form's place, so that the saved notebook tells what came of it.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_platform.capture.elsewhere import publish_anything
from model_platform.capture.origin import notebook_file
from model_platform.capture.publish import Order
from model_platform.capture.result import Published
from model_platform.client import Client
from model_platform.display.bundle import bundle
from model_platform.display.card import Card, Inline
from model_platform.display.html import html
from model_platform.display.surface import Nowhere, cell_number, cell_source, has_kernel, shell
from model_platform.errors import WaitingForFormError, details, explain
from model_platform.grammar import CARD_FIELDS
from model_platform_core.errors import CardIncompleteError, FieldProblem, ModelPlatformError

_SHORTEST_PURPOSE = 10
_LONGEST_GUESS = 200


def publish_or_ask(client: Client, order: Order) -> Published:
    """Publish; where fields are missing and a person is there, show a form and stop the cell.

    Raises
    ------
    WaitingForFormError
        The form is shown.
    ModelPlatformError
        What publish raises, where there is nobody to ask, or nothing that a form could fill.
    """
    try:
        return publish_anything(client, order)
    except CardIncompleteError as refusal:
        if not can_ask() or not all(problem.field in CARD_FIELDS for problem in refusal.fields):
            raise
        Form(client, order, refusal).show()
        names = ", ".join(problem.field for problem in refusal.fields)
        raise WaitingForFormError(
            f"{order.name} was not published yet: {names} to fill in above.",
            hint="Press Publish there, then go on with the cells below this one.",
        ) from None


def can_ask() -> bool:
    """Whether a front end with a person is there: papermill, nbconvert and `jupyter execute` take no input."""
    if not has_kernel() or not getattr(shell().kernel, "_allow_stdin", False):
        return False
    try:
        importlib.import_module("ipywidgets")
    except ImportError:
        return False
    return True


class Form:
    """The missing fields, each with its meaning and a guess where there is one, and a button that publishes."""

    def __init__(self, client: Client, order: Order, refusal: CardIncompleteError) -> None:
        self._client = client
        self._order = order
        self._refusal = refusal
        self._display = f"model-platform-{uuid.uuid4().hex}"
        self._cell = cell_number()
        self._variable = assigned_by_publish(cell_source())
        widgets: Any = importlib.import_module("ipywidgets")
        self._inputs = {problem.field: _input(widgets, problem) for problem in refusal.fields}
        self._button = widgets.Button(description="Publish", button_style="primary")
        self._note = widgets.HTML("Nothing is registered until then. The model stays in memory.")
        self._button.on_click(lambda _button: self.submit())
        rows = [
            widgets.VBox([field, widgets.HTML(f"<small>{CARD_FIELDS[name]}</small>")])
            for name, field in self._inputs.items()
        ]
        head = widgets.HTML(html(dataclasses.replace(self._card(), rows=(), message=(), next=())))
        self.widget = widgets.VBox([head, *rows, widgets.HBox([self._button, self._note])])

    def show(self) -> None:
        """Show the form; a reader without widgets gets the card of what is missing."""
        display: Any = importlib.import_module("IPython.display")
        found = self.widget._repr_mimebundle_()
        view = found[0] if isinstance(found, tuple) else found
        forms = {**bundle(self._card()), **{kind: data for kind, data in view.items() if "widget" in kind}}
        display.publish_display_data(forms, transient={"display_id": self._display})

    def submit(self) -> None:
        """Publish with what was filled in; the card takes the form's place."""
        filled = {name: field.value.strip() for name, field in self._inputs.items() if field.value.strip()}
        lacking = [name for name in self._inputs if name not in filled]
        if lacking:
            self._note.value = f"Still to fill in: {', '.join(lacking)}."
            return
        self._button.disabled = True
        self._note.value = "Publishing …"
        # Whoever sees the form has answered before whether the name is meant.
        order = dataclasses.replace(self._order, fields={**self._order.fields, **filled}, new_name=True)
        try:
            published = publish_anything(self._client, order, Nowhere())
        except ModelPlatformError as error:
            self._try_again(explain(error))
            return
        except Exception as error:  # whoever pressed the button sees nothing of a kernel's log
            self._try_again(f"Nothing was published ({type(error).__name__}): {error}")
            raise
        display: Any = importlib.import_module("IPython.display")
        card = published.card()
        card = dataclasses.replace(card, rows=(*card.rows, ("go on", self._go_on(published))))
        display.publish_display_data(bundle(card), transient={"display_id": self._display}, update=True)

    def _try_again(self, why: str) -> None:
        self._button.disabled = False
        self._note.value = f"<pre>{_escaped(why)}</pre>"

    def _go_on(self, published: Published) -> str:
        """From which cell on: the cell that stopped has left its variable as it was."""
        below = f"with the cells below [{self._cell}]" if self._cell else "with the cells below"
        if not self._variable:
            return below
        return f"{below}; if they use {self._variable}, with that cell itself: it stays version {published.version}"

    def _card(self) -> Card:
        refusal = self._refusal
        rows: tuple[tuple[str, Inline], ...] = tuple(
            (problem.field, f"{problem.problem}   add  {problem.add}") for problem in refusal.fields
        )
        count = len(refusal.fields)
        return Card(
            kind="refused",
            title=self._order.name,
            subtitle="was not published yet",
            aside=f"{count} {'field' if count == 1 else 'fields'} to fill",
            message=(refusal.message, *details(refusal)[count:]),
            rows=rows,
            data={"code": refusal.code, "fields": [problem.model_dump() for problem in refusal.fields]},
        )


def _input(widgets: Any, problem: FieldProblem) -> Any:
    return widgets.Text(
        value=guess(problem.field),
        placeholder=CARD_FIELDS[problem.field],
        description=problem.field.replace("_", " ").capitalize(),
        layout=widgets.Layout(width="600px"),
        style={"description_width": "120px"},
    )


def assigned_by_publish(source: str) -> str:
    """The variable that a cell gives the published version to; empty where there is none.

    >>> assigned_by_publish("newest = %mp_publish model --name churn")
    'newest'
    """
    found = re.search(r"^\s*(\w+)\s*=\s*(?:%mp_publish|%mp publish|(?:\w+\.)?publish\()", source, re.MULTILINE)
    return found[1] if found else ""


def guess(field: str) -> str:
    """What a field may hold, from the notebook: its first lines say what it is for."""
    file = notebook_file()
    return first_words(file) if field == "purpose" and file is not None else ""


def first_words(file: Path) -> str:
    """The first line of text in a notebook that is long enough to say something."""
    try:
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError):
        return ""
    for cell in cells:
        for line in _lines(cell) if cell.get("cell_type") == "markdown" else []:
            text = line.strip().lstrip("#").strip()
            if len(text) >= _SHORTEST_PURPOSE:
                return text[:_LONGEST_GUESS]
    return ""


def _lines(cell: Mapping[str, Any]) -> list[str]:
    source = cell.get("source", "")
    return (source if isinstance(source, str) else "".join(source)).splitlines()


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
