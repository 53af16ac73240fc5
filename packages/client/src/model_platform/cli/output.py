"""What a command prints, and the status it ends with."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import click

from model_platform.display.card import Card
from model_platform.display.plain import coloured, plain, unpainted
from model_platform.errors import explain, in_shell
from model_platform_core.errors import ModelPlatformError

EXIT_STATUS: Mapping[str, int] = {
    "internal": 1,
    "invalid": 2,
    "unauthenticated": 3,
    "forbidden": 3,
    "not_found": 4,
    "conflict": 5,
    "refused": 6,
    "exceeds": 7,
    "unsupported": 7,
    "unavailable": 8,
    "failed": 9,
}
"""By the error's family."""

INTERRUPTED = 130


def status_of_error(error: ModelPlatformError) -> int:
    """The exit status for an error."""
    family = "not_found" if error.code.endswith("not_found") else error.code.partition("_")[0]
    return EXIT_STATUS.get(family, 1)


def show(card: Card, *, as_json: bool) -> None:
    """Print a card, or with `--json` the data that it was made from."""
    if as_json:
        show_json(card.data)
        return
    paint = coloured if sys.stdout.isatty() else unpainted
    click.echo(in_shell(plain(card, paint)))


def show_json(document: Any) -> None:
    """Print JSON."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False, default=str))


def show_error(error: ModelPlatformError) -> None:
    """Print an error, to where errors go."""
    text = in_shell(explain(error))
    click.echo(click.style(text, fg="red") if sys.stderr.isatty() else text, err=True)
