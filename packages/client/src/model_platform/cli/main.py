"""`mp`: the verbs of the magics as commands, and what only a terminal needs: server, doctor, tokens, completion."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import get_completion_class

import model_platform
from model_platform import actions, deploying
from model_platform.capture.elsewhere import name_of, publish_anything
from model_platform.capture.publish import Order
from model_platform.cli.build import card_fields, client, command
from model_platform.cli.doctor import doctor
from model_platform.cli.output import INTERRUPTED, show, show_error, show_json, status_of_error
from model_platform.cli.people import actor, token, zone
from model_platform.cli.rows import read_rows
from model_platform.cli.server import server
from model_platform.endpoint import act, status_of
from model_platform.grammar import CARD_FIELDS, PUBLISH_OPTIONS, VERBS, Option, Verb, Word
from model_platform.log_lines import line_text
from model_platform.timing.measure import time_both
from model_platform_core.errors import ModelPlatformError

_PUBLISH = Verb(
    "publish",
    "Make a version of a model that was saved before: a file, a folder with an MLmodel file, a URI of MLflow.",
    (Word("path", "the file (.joblib, .onnx, .ubj …), the folder, or runs:/…, models:/…"),),
    (
        Option(("--data",), "a file or folder that it learnt from; only its fingerprint is kept", metavar="PATH"),
        Option(
            ("--example",), "rows of a call, JSON records or CSV; they are kept and shown to callers", metavar="FILE"
        ),
        Option(("--metrics",), "names and figures of quality, as a JSON object", metavar="FILE"),
        *PUBLISH_OPTIONS,
    ),
    ("%mp_publish forest.joblib --example rows.csv", "%mp_publish ./saved-model --name churn -m 'new features'"),
    "An object in memory is published from where it lives: in a notebook or a script, with mp.publish(model, …).",
)
_PREDICT = Verb(
    "predict",
    "Call an endpoint with the rows of a file; prints the answers as JSON, one list.",
    (VERBS["predict"].words[0], Word("file", "JSON records or CSV with a head line; - is standard input")),
    (),
    ("%mp_predict churn rows.json", "%mp_predict churn - < rows.csv"),
)
_TIME = Verb(
    "time",
    "The model and an endpoint side by side for the rows of a file, and the one setting to change.",
    _PREDICT.words,
    (),
    ("%mp_time churn rows.json", "%mp_time churn - < rows.csv"),
    "The live version is loaded here, which may run its publisher's code.",
)


def _publish(path: str, name: str | None, alias: Sequence[str], as_json: bool, **given: Any) -> None:
    order = Order(
        model=path,
        name=name or name_of(path) or "",
        data=given["data"],
        data_name=Path(given["data"] or "data").name,
        example=read_rows(given["example"]) if given["example"] else None,
        metrics=read_rows(given["metrics"])[0] if given["metrics"] else None,
        card=given["card"],
        fields=card_fields(given, CARD_FIELDS),
        message=given["message"] or "",
        aliases=alias,
        new=given["new"],
        new_name=given["new_name"],
    )
    published = publish_anything(client(), order)
    show(published.card(), as_json=as_json)


def _deploy(version: str, no_wait: bool, as_json: bool, **given: Any) -> None:
    order = deploying.DeployOrder(version=version, wait=not no_wait, **given)
    show(deploying.deploy(client(), order).card(), as_json=as_json)


def _predict(name: str, file: str, as_json: bool) -> None:  # noqa: ARG001 - the answers are JSON anyway
    show_json(actions.answers(client(), name, read_rows(file)))


def _time(name: str, file: str, as_json: bool) -> None:
    show(time_both(client(), name, read_rows(file)).card(), as_json=as_json)


def _act(action: str) -> Any:
    def run(name: str, as_json: bool) -> None:
        show(act(client(), client().endpoint_ref(name), action).card(), as_json=as_json)

    return run


def _delete(name: str, yes: bool, undo: bool, as_json: bool) -> None:
    if actions.names_version(name) or undo:
        show(actions.delete_version(client(), name, undo=undo).card(), as_json=as_json)
        return
    if not yes:
        click.confirm(f"This ends {name} for everybody who calls it. Go on?", abort=True, err=True)
    show(actions.delete(client(), client().endpoint_ref(name)).card(), as_json=as_json)


def _status(name: str | None, as_json: bool) -> None:
    found = actions.status(client()) if name is None else status_of(client(), client().endpoint_ref(name))
    show(found.card(), as_json=as_json)


def _logs(name: str, lines: int | None, follow: bool, as_json: bool) -> None:
    for line in client().logs(client().endpoint_ref(name), 100 if lines is None else lines, follow=follow):
        click.echo(line.model_dump_json() if as_json else line_text(line))


def _card(version: str, as_json: bool, **given: Any) -> None:
    show(actions.card(client(), version, card_fields(given, CARD_FIELDS)).card(), as_json=as_json)


def _models(query: str | None, as_json: bool) -> None:
    show(actions.models(client(), query).card(), as_json=as_json)


def _env(action: str | None, as_json: bool) -> None:
    show(actions.environments(client(), action).card(), as_json=as_json)


class _Group(click.Group):
    """Tells errors of ours in words and ends with the status of their family."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ModelPlatformError as error:
            show_error(error)
            ctx.exit(status_of_error(error))
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            # Whoever read our output has seen enough; nothing is left to say, not even at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(model_platform.__version__, prog_name="mp")
def main() -> None:
    """Model Platform: from a model to a governed, live endpoint."""


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes a shell complete mp; for bash, add  eval "$(mp completion bash)"  to ~/.bashrc."""
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(main, {}, "mp", "_MP_COMPLETE").source())


for _verb, _run in (
    (_PUBLISH, _publish),
    (VERBS["deploy"], _deploy),
    (_PREDICT, _predict),
    (_TIME, _time),
    (VERBS["rollback"], _act("rollback")),
    (VERBS["stop"], _act("stop")),
    (VERBS["start"], _act("start")),
    (VERBS["delete"], _delete),
    (VERBS["status"], _status),
    (VERBS["logs"], _logs),
    (VERBS["card"], _card),
    (VERBS["models"], _models),
    (VERBS["env"], _env),
):
    main.add_command(command(_verb, _run))
for _group in (zone, token, actor, server, doctor):
    main.add_command(_group)
