"""Lines of a cell: how they are split, parsed, refused, and completed."""

from __future__ import annotations

import pkgutil
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import model_platform
from model_platform import verbs
from model_platform.cli.main import main
from model_platform.grammar import CARD_FIELDS, VERBS, Kind
from model_platform.magics.completion import Completer, KnownNames
from model_platform.magics.namespace import evaluate
from model_platform.magics.register import make_magic, parse_line
from model_platform.magics.run import RUN
from model_platform.magics.split import first_word, split_line
from model_platform_core.errors import InvalidError, InvalidInputError, ModelPlatformError


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("model --name churn", ["model", "--name", "churn"]),
        ('-m "new features" x', ["-m", "new features", "x"]),
        ("--example X[X.age > 30][:20] --tier 1", ["--example", "X[X.age > 30][:20]", "--tier", "1"]),
        ("--data df[['a b', \"c\"]]", ["--data", "df[['a b', \"c\"]]"]),
        ('--data df["a"]', ["--data", 'df["a"]']),
        ("--metrics {'auc': 0.9, 'n': f(1, 2)}", ["--metrics", "{'auc': 0.9, 'n': f(1, 2)}"]),
        ('--purpose="call them"', ["--purpose=call them"]),
        (r'-m "say \"hi\""', ["-m", 'say "hi"']),
        ("-m 'don\"t'", ["-m", 'don"t']),
        ("-m don't", ["-m", "don't"]),
        ("", []),
    ],
)
def test_split(line: str, words: list[str]) -> None:
    assert split_line(line) == words


@pytest.mark.parametrize("line", ['-m "open', "--data X[1", "--data f('a'"])
def test_what_is_not_closed_is_told(line: str) -> None:
    with pytest.raises(InvalidError, match="is opened and not closed"):
        split_line(line)


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1)))
def test_quoted_texts_come_back(texts: list[str]) -> None:
    escaped = [text.replace("\\", "\\\\").replace('"', '\\"') for text in texts]
    assert split_line(" ".join(f'"{text}"' for text in escaped)) == texts


def test_first_word() -> None:
    assert first_word("  churn X[X.age > 30]  ") == ("churn", "X[X.age > 30]")


def parse(verb: str, line: str) -> Any:
    magic = make_magic(VERBS[verb], dict)
    return parse_line(magic.parser, VERBS[verb], line)  # type: ignore[attr-defined]


def test_options_have_their_types() -> None:
    given_ = parse("deploy", "churn:3 --replicas 2 --cpu 0.5 --memory 1Gi --breaking")
    assert (given_.version, given_.replicas, given_.cpu, given_.memory) == ("churn:3", 2, 0.5, "1Gi")
    assert (given_.breaking, given_.no_wait, given_.access) == (True, False, None)
    assert parse("publish", "m --alias a --alias b --for-whom 'call centre'").alias == ["a", "b"]
    assert parse("predict", "churn X[X.a > 1] + 1").rows == "X[X.a > 1] + 1"


@pytest.mark.parametrize(
    ("verb", "line", "said"),
    [
        ("publish", "model --purpos x --porpose y", r"has no option --porpose\. Did you mean --purpose\?"),
        ("publish", "", "the following arguments are required: model"),
        ("publish", "m --tier high", "argument --tier: invalid int value: 'high'"),
        ("deploy", "churn --access everybody", "invalid choice"),
        ("predict", "churn", "the following arguments are required: rows"),
    ],
)
def test_a_wrong_line_is_told(verb: str, line: str, said: str) -> None:
    with pytest.raises(InvalidError, match=said):
        parse(verb, line)


def test_every_verb_is_a_magic_a_function_and_a_command() -> None:
    assert set(RUN) == set(VERBS)
    assert set(VERBS) <= set(vars(verbs))
    assert set(VERBS) <= set(main.loaded())
    for verb in VERBS.values():
        assert verb.examples
        assert verb.summary.endswith(".")
        assert all(f"mp_{verb.name}" in example for example in verb.examples)


def test_no_module_takes_the_name_of_what_the_package_offers() -> None:
    """Importing a module writes it into its package, over a function of the same name."""
    modules = {module.name for module in pkgutil.iter_modules(model_platform.__path__)}
    assert modules.isdisjoint(model_platform.__all__)


def test_every_field_that_a_card_may_lack_has_its_option() -> None:
    options = {option.name for option in VERBS["publish"].options}
    assert set(CARD_FIELDS) | {"tier", "data", "metrics"} <= options


def test_help_is_a_text_with_examples() -> None:
    text = make_magic(VERBS["deploy"], dict).__doc__ or ""
    assert "Put a version behind an endpoint" in text
    assert "%mp_deploy churn:3 --replicas 2 --memory 1Gi" in text
    assert "--breaking" in text


# ---------------------------------------------------------------- the notebook's names


def test_expressions_are_evaluated_and_misspelt_names_are_understood() -> None:
    names = {"X_train": np.arange(4), "churn_model": object(), "np": np}
    assert evaluate("X_train[1:3]", names, "--data").tolist() == [1, 2]
    assert evaluate("[x * 2 for x in X_train if x > 2]", names, "--data") == [6]
    for wrong, said in [
        ("X_trian", r"no variable X_trian in this notebook \(--data\)\. Did you mean X_train\?"),
        ("chrun_model", r"Did you mean churn_model\?"),
        ("X_train[", "no Python expression"),
        ("X_train[9]", r"cannot be evaluated \(IndexError"),
    ]:
        with pytest.raises(InvalidInputError, match=said):
            evaluate(wrong, names, "--data")


class _Server:
    """What completion asks, without one: answers slowly, or not at all."""

    zone = "dev-alice"

    def __init__(self) -> None:
        self.may_answer, self.asked = threading.Event(), 0
        self.fails = False

    def models(self) -> list[Any]:
        self.asked += 1
        if self.fails:
            raise ModelPlatformError("away")
        self.may_answer.wait(10)
        known = SimpleNamespace(
            name="churn", zone="dev-alice", full_name="dev-alice.churn", newest_version=2, aliases={"champion": 1}
        )
        other = SimpleNamespace(name="risk", zone="crm", full_name="crm.risk", newest_version=1, aliases={})
        return [known, other]


def complete(completer: Completer, verb: str, typed: str) -> list[str]:
    symbol = "" if typed.endswith(" ") else typed.rpartition(" ")[2]
    return completer.candidates(VERBS[verb], typed, symbol)


def test_completion() -> None:
    server: Any = _Server()
    server.may_answer.set()
    names = {"model": SimpleNamespace(predict=print), "X_train": np.ones((2, 2)), "n": 3, "_private": np.ones(2)}
    completer = Completer(lambda: names, KnownNames(lambda: server))
    assert complete(completer, "publish", "mo") == ["model"]
    assert complete(completer, "publish", "model --data ") == ["X_train"]
    assert complete(completer, "publish", "model --for") == ["--for-whom"]
    assert complete(completer, "deploy", "ch") == ["churn", "churn@champion", "churn:2", "churn:1"]
    assert complete(completer, "deploy", "crm.") == ["crm.risk", "crm.risk:1"]
    assert complete(completer, "deploy", "churn --access ") == ["token", "open"]
    assert complete(completer, "deploy", "churn --breaking --re") == ["--replicas"]
    assert complete(completer, "rollback", "churn ") == []
    event = SimpleNamespace(text_until_cursor="%mp de", symbol="de")
    assert completer.of_dispatcher(None, event) == ["deploy", "delete"]
    event = SimpleNamespace(text_until_cursor="%mp publish mo", symbol="mo")
    assert completer.of_dispatcher(None, event) == ["model"]


def test_completion_does_not_wait_for_a_slow_server_and_asks_once() -> None:
    server: Any = _Server()
    completer = Completer(dict, KnownNames(lambda: server))
    assert complete(completer, "deploy", "ch") == []
    server.may_answer.set()
    assert complete(completer, "deploy", "ch")[0] == "churn"
    asked = server.asked
    assert complete(completer, "deploy", "churn:") == ["churn:2", "churn:1"]
    assert server.asked == asked


def test_completion_without_a_server_is_empty() -> None:
    server: Any = _Server()
    server.fails = True
    assert complete(Completer(dict, KnownNames(lambda: server)), "deploy", "") == []
    assert complete(Completer(dict, KnownNames(lambda: None)), "deploy", "") == []


def test_expressions_are_for_cells_alone_and_a_terminal_takes_files() -> None:
    expressions = {option.name for option in VERBS["publish"].options if option.kind is Kind.EXPRESSION}
    assert expressions == {"data", "example", "metrics"}
    in_terminal = {one.name: one.metavar for one in main.commands["publish"].params if one.name in expressions}
    assert in_terminal == {"data": "PATH", "example": "FILE", "metrics": "FILE"}
