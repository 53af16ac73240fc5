"""`mp`: the verbs of the magics as commands, and what only a terminal needs: server, doctor, tokens, completion."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import get_completion_class

import model_platform
from model_platform.cli.build import command
from model_platform.grammar import PUBLISH_OPTIONS, VERBS, Option, Verb, Word

_MODULE = "model_platform.cli"
_GROUPS = {"zone": "people", "token": "people", "actor": "people", "server": "server", "doctor": "doctor"}
"""Commands that are written out, and the module of each; like what the others run, it is imported when it is needed."""

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


class _Group(click.Group):
    """Tells errors of ours in words and ends with the status of their family."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_GROUPS])

    def loaded(self) -> dict[str, click.Command]:
        """Every command by name."""
        return {**self.commands, **{name: _written_out(name) for name in _GROUPS}}

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return _written_out(cmd_name) if cmd_name in _GROUPS else super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except _errors().ModelPlatformError as error:
            output = _module("output")
            output.show_error(error)
            ctx.exit(output.status_of_error(error))
        except KeyboardInterrupt:
            ctx.exit(_module("output").INTERRUPTED)
        except BrokenPipeError:
            # Whoever read our output has seen enough; nothing is left to say, not even at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(1)


def _errors() -> Any:
    return importlib.import_module("model_platform_core.errors")


def _module(name: str) -> Any:
    return importlib.import_module(f"{_MODULE}.{name}")


def _written_out(name: str) -> click.Command:
    found: click.Command = getattr(_module(_GROUPS[name]), name)
    return found


def _later(name: str) -> Callable[..., None]:
    def run(**given: Any) -> None:
        getattr(_module("run"), name)(**given)

    return run


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


_OF_THE_TERMINAL = {verb.name: verb for verb in (_PUBLISH, _PREDICT, _TIME)}
for _verb in {**VERBS, **_OF_THE_TERMINAL}.values():
    if _verb.name not in _GROUPS:
        main.add_command(command(_verb, _later(_verb.name)))
