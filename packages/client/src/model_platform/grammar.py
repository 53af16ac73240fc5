"""The verbs and their options, said once: magics, the command line and the reference are made from this table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from model_platform_core.meanings import MEANINGS

_MADE_BY_PUBLISH = frozenset({"data", "code", "metrics", "resources"})

CARD_FIELDS: Mapping[str, str] = {
    **{name: meaning for name, meaning in MEANINGS.items() if name not in _MADE_BY_PUBLISH},
    "pii": "personal data: none, pseudonymised, personal or special-category; unset counts as personal",
    "notes": "anything else worth knowing",
}
"""Fields of the card that a person writes, with their meaning."""


class Kind(StrEnum):
    """What an option takes."""

    TEXT = "text"
    WHOLE = "whole number"
    FIGURE = "figure"
    FLAG = "flag"
    EXPRESSION = "expression"
    LIST = "list"
    PATHS = "paths"


class Names(StrEnum):
    """What a word may name, for completion."""

    NOTHING = "nothing"
    MODELS = "models"
    VERSIONS = "versions"
    ENDPOINTS = "endpoints"
    ZONES = "zones"
    PUBLISHABLE = "publishable"
    VARIABLES = "variables"


@dataclass(frozen=True)
class Word:
    """A word without a flag. `rest` takes the remainder of the line as one expression."""

    name: str
    help: str
    optional: bool = False
    rest: bool = False
    names: Names = Names.NOTHING


@dataclass(frozen=True)
class Option:
    """An option with its flags, the long one first."""

    flags: tuple[str, ...]
    help: str
    kind: Kind = Kind.TEXT
    metavar: str = "TEXT"
    choices: tuple[str, ...] = ()
    names: Names = Names.NOTHING

    @property
    def name(self) -> str:
        """As a Python name: `for_whom`."""
        return self.flags[0].removeprefix("--").replace("-", "_")


@dataclass(frozen=True)
class Verb:
    """A verb: one sentence, its words and options, and examples for a cell."""

    name: str
    summary: str
    words: tuple[Word, ...] = ()
    options: tuple[Option, ...] = ()
    examples: tuple[str, ...] = ()
    more: str = ""


def _expression(flag: str, help_: str) -> Option:
    return Option((flag,), help_, Kind.EXPRESSION, "EXPRESSION", names=Names.VARIABLES)


_ENDPOINT = Word("name", "the endpoint, churn or zone/churn", names=Names.ENDPOINTS)
_VERSION = Word("version", "churn (the newest), churn:3, churn@champion", names=Names.VERSIONS)

CARD_OPTIONS: tuple[Option, ...] = tuple(
    Option((f"--{name.replace('_', '-')}",), f"card: {meaning}") for name, meaning in CARD_FIELDS.items()
)

YES = Option(("--yes", "-y"), "do it without asking", Kind.FLAG)

PUBLISH_OPTIONS: tuple[Option, ...] = (
    Option(("--name", "-n"), "the model's name, churn or zone.churn", metavar="NAME", names=Names.MODELS),
    Option(("--card",), "a YAML file with fields of the model card", metavar="FILE"),
    Option(("--tier",), "how much depends on it: 0 sandbox, 1 low, 2 material, 3 high", Kind.WHOLE, "N"),
    Option(("--message", "-m"), "what is new in this version"),
    Option(("--alias",), "a name that means this version from now on; may be repeated", Kind.LIST, "ALIAS"),
    Option(("--new",), "make a version though object, environment and card are those of the last one", Kind.FLAG),
    Option(("--new-name",), "the name is meant, though a known one is one letter away", Kind.FLAG),
    *CARD_OPTIONS,
)

VERBS: Mapping[str, Verb] = {
    verb.name: verb
    for verb in (
        Verb(
            "publish",
            "Make a version of a model: the object, what it accepts and answers, where it came from, and its card.",
            (
                Word(
                    "model",
                    "the variable that holds the model, a function, a file, a folder, or a URI of MLflow",
                    names=Names.PUBLISHABLE,
                ),
            ),
            (
                _expression("--data", "what it learnt from; only its fingerprint and ranges are kept"),
                _expression("--example", "what a call looks like; these rows are kept and shown to callers"),
                _expression("--metrics", 'names and figures of quality, {"auc": 0.91}'),
                Option(("--with",), "files and folders that the code of the model reads", Kind.PATHS, "PATH"),
                Option(("--answers",), "the answering method, predict by default", metavar="METHOD"),
                *PUBLISH_OPTIONS,
            ),
            (
                "%mp_publish model --name churn --data X_train --example X_test[:20]",
                '%mp_publish model --name churn --card card.yaml -m "new features" --metrics scores',
                "%mp_publish model --name churn --example X_test[:20] --answers predict_proba",
                "%mp_publish model --name churn --data X_train --with data/rates.csv",
            ),
            "Without --name the model is called like the variable. What the last version's card said of the model"
            " carries over.",
        ),
        Verb(
            "deploy",
            "Put a version behind an endpoint; it gets traffic once it answers as it did in the notebook.",
            (_VERSION,),
            (
                Option(
                    ("--name", "-n"),
                    "the endpoint's name; by default the model's",
                    names=Names.ENDPOINTS,
                    metavar="NAME",
                ),
                Option(("--replicas",), "how many runners", Kind.WHOLE, "N"),
                Option(("--memory",), "for one runner, 512M or 1Gi", metavar="AMOUNT"),
                Option(("--cpu",), "for one runner, in cores", Kind.FIGURE, "CORES"),
                Option(
                    ("--access",),
                    "who may call: holders of a token, or whoever reaches it",
                    metavar="token|open",
                    choices=("token", "open"),
                ),
                Option(("--breaking",), "allow a version that refuses calls which the live one accepts", Kind.FLAG),
                Option(("--no-wait",), "return at once", Kind.FLAG),
            ),
            (
                "%mp_deploy churn",
                "%mp_deploy churn:3 --replicas 2 --memory 1Gi",
                "endpoint = %mp_deploy churn@champion --name churn-eu",
            ),
            "While it is on its way the version before answers every call. Interrupting the kernel takes it back.",
        ),
        Verb(
            "predict",
            "Call an endpoint; the answer has the form that the model has in the notebook.",
            (_ENDPOINT, Word("rows", "one Python expression: the rest of the line", rest=True, names=Names.VARIABLES)),
            (),
            ("%mp_predict churn X_test[X_test.age > 30]", "answers = %mp_predict churn X_test.head()"),
        ),
        Verb(
            "time",
            "Notebook and endpoint side by side for the same rows, and the one setting to change.",
            (_ENDPOINT, Word("rows", "one Python expression: the rest of the line", rest=True, names=Names.VARIABLES)),
            (),
            ("%mp_time churn X_test[:100]", "timed = %mp_time churn X_test.head()"),
            "Where the live version was not published from this kernel it is loaded here, which may run the publisher's"
            " code.",
        ),
        Verb("rollback", "Go back to what was live before.", (_ENDPOINT,), (), ("%mp_rollback churn",)),
        Verb(
            "stop",
            "End what runs behind an endpoint; its name and history stay.",
            (_ENDPOINT,),
            (),
            ("%mp_stop churn",),
        ),
        Verb("start", "Run again what was live when the endpoint was stopped.", (_ENDPOINT,), (), ("%mp_start churn",)),
        Verb(
            "delete",
            "Delete an endpoint and end what runs behind it; or, with a number, a version of a model.",
            (Word("name", "the endpoint, churn; or the version, churn:4", names=Names.ENDPOINTS),),
            (YES, Option(("--undo",), "bring a deleted version back", Kind.FLAG)),
            ("%mp_delete churn --yes", "%mp_delete churn:4", "%mp_delete churn:4 --undo"),
            "Deleting an endpoint keeps the versions. A version is deleted where nothing refers to it: no endpoint runs it"
            " or could go back to it, no alias means it. For 30 days it can come back; its number is never given again.",
        ),
        Verb(
            "status",
            "How the endpoints of the zone do, or one of them.",
            (Word("name", _ENDPOINT.help, optional=True, names=Names.ENDPOINTS),),
            (),
            ("%mp_status", "%mp_status churn"),
        ),
        Verb(
            "logs",
            "The end of the logs of an endpoint's runners. They hold no data.",
            (_ENDPOINT,),
            (
                Option(("--lines", "-n"), "how many, 100 by default", Kind.WHOLE, "N"),
                Option(("--follow", "-f"), "go on with what comes, until interrupted", Kind.FLAG),
            ),
            ("%mp_logs churn", "%mp_logs churn -n 20"),
        ),
        Verb(
            "card",
            "The model card of a version; with fields, a new revision of it.",
            (_VERSION,),
            (Option(("--tier",), "how much depends on it, 0 to 3", Kind.WHOLE, "N"), *CARD_OPTIONS),
            ("%mp_card churn:3", '%mp_card churn:3 --limitations "not tried on customers under 18"'),
        ),
        Verb(
            "models",
            "Registered models.",
            (Word("query", "a part of the name", optional=True),),
            (),
            ("%mp_models", "%mp_models churn"),
        ),
        Verb(
            "zone",
            "The zone and the server that are used, and why; with a name, use that zone from now on.",
            (Word("name", "the zone to use in this notebook", optional=True, names=Names.ZONES),),
            (),
            ("%mp_zone", "%mp_zone project-crm"),
        ),
        Verb(
            "token",
            "A token that calls one endpoint and nothing else. The card hides it; .value holds it.",
            (Word("endpoint", _ENDPOINT.help, names=Names.ENDPOINTS),),
            (
                Option(("--days",), "until it expires, a year by default", Kind.FIGURE, "DAYS"),
                Option(("--name",), "what it is for", metavar="NAME"),
            ),
            ("token = %mp_token churn --days 30",),
        ),
        Verb(
            "env",
            "The environments in which models run, and which endpoints use them; prune removes those that nothing uses.",
            (Word("action", "list (the default) or prune", optional=True),),
            (),
            ("%mp_env", "%mp_env prune"),
            "A first answer may come from the kernel's environment; one of its own is built in the background and takes"
            " over. What was pruned is built again when a version needs it.",
        ),
    )
}
