"""Cards, word by word in plain text; escaped and readable in every other form."""

from __future__ import annotations

import datetime as dt
import json
import re
from html.parser import HTMLParser
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from model_platform.capture.answers import encode_answers
from model_platform.capture.kept import Kept, RowsFrom
from model_platform.capture.origin import Origin
from model_platform.capture.result import Found, Published
from model_platform.capture.subject import Subject
from model_platform.capture.table import Form, Table
from model_platform.capture.trial import Trial
from model_platform.display import endpoint_cards, lists, words
from model_platform.display.bundle import bundle
from model_platform.display.card import MIME_TYPE, Card, Column, Details, Span, code, link
from model_platform.display.card import Table as CardTable
from model_platform.display.html import html
from model_platform.display.markdown import markdown
from model_platform.display.plain import coloured, plain
from model_platform.display.style import style
from model_platform_core.cards import Tier
from model_platform_core.deployments import Access, Condition
from model_platform_core.wire import EndpointMetrics, EnvironmentInfo, EnvironmentState
from support import card_samples as samples


def shown(card: Card) -> str:
    return "\n".join(line.rstrip() for line in plain(card).splitlines())


def text(block: str) -> str:
    return dedent(block).strip("\n")


def published(**changes: Any) -> Published:
    model = SimpleNamespace(predict=print, predict_proba=print, classes_=np.array([0, 1]))
    subject = Subject(model, "predict", "mlflow.sklearn", "scikit-learn Pipeline")
    rows = Table(Form.ARRAY, np.zeros((20, 17)))
    trial = Trial(rows, encode_answers(np.ones(20, dtype=int), 20), deterministic=True, rows_independent=True)
    origin = Origin("notebooks/churn.ipynb", samples.SHA, 9, "1c9e2d4" + "0" * 33, dirty=True)
    found = Found(subject, trial, Kept(RowsFrom.EXAMPLE, trial), origin, ("owner",))
    version = samples.version(for_whom="CRM team", purpose="who leaves within 30 days")
    last = samples.version().model_copy(update={"version": version.version - 1})
    return Published(changes.get("version", version), changes.get("found", found), frozenset({"purpose"}), last, 0.2)


def test_published() -> None:
    result = published()
    assert shown(result.card()) == text(
        """
        churn  version 3                                             published in 0.2 s
        for       CRM team: who leaves within 30 days (as in version 2)
        model     scikit-learn Pipeline (5.1 kB, skops) · 17 inputs → label 0 or 1
        answers   {"prediction": 1}     probabilities: --answers predict_proba
        data      X_train  2,400 × 17  sha256 9f2c41…
        code      notebooks/churn.ipynb, 9 cells as run · git 1c9e2d4, with changes not committed
        parity    20 example rows and their answers kept
        tier      0 (this zone asks for nothing more)
        next      %mp_deploy churn
        """
    )
    assert (result.ref, result.version, repr(result)) == ("dev-alice.churn:3", 3, "<Published dev-alice.churn:3>")
    assert str(result) == plain(result.card())


def test_published_without_data_or_rows() -> None:
    result = published(
        version=samples.version(Tier.LOW).model_copy(update={"lineage": samples.Lineage()}),
        found=Found(demanded=("owner", "purpose")),
    )
    assert shown(result.card()) == text(
        """
        churn  version 3                                             published in 0.2 s
        model     MLflow model (5.1 kB, skops) · 17 inputs → 0 outputs
        data      not named: add --data X_train for its fingerprint
        parity    nothing to compare later: add --example X_test[:20]
        tier      1 (low) · card complete, 2 of 2 fields
        next      %mp_deploy churn
        """
    )


def test_live() -> None:
    assert shown(endpoint_cards.endpoint_card(samples.live(), samples.usage(), seconds=0.4)) == text(
        """
        churn  live                                                  0.4 s
        version   3   (was 2)
        parity    20 of 20 answers as in the notebook, largest difference 0
        url       http://127.0.0.1:8800/dev-alice/churn   open it in a browser: fields, limits, a working call
        call it   curl -H 'Authorization: Bearer …' -H 'Content-Type: application/json' -d '[{…}]' http://127.0.0.1:8800/dev-alice/churn
        who       holders of a token; mp token endpoint churn prints one
        zone      dev-alice: 1 of 2 CPU, 0.4 of 4 GiB in use
        back      %mp_rollback churn  (version 2 stays warm for an hour)
        next      %mp_predict churn X_test[:5]   %mp_status churn
        """
    )


def test_an_open_endpoint_asks_for_no_token() -> None:
    resource = samples.live(was=None)
    resource = resource.model_copy(update={"spec": resource.spec.model_copy(update={"access": Access.OPEN})})
    found = shown(endpoint_cards.endpoint_card(resource))
    assert "Bearer" not in found
    assert "who       whoever reaches the address, without a token" in found


def test_an_environment_that_is_borrowed_is_told_on_the_card_and_in_the_list() -> None:
    said = "borrowed from the kernel; its own is being built"
    condition = Condition(type="EnvironmentBorrowed", status=True, reason="Building", message=said, since=samples.AT)
    resource = samples.live(conditions=(condition,))
    assert f"runs in   {said}" in shown(endpoint_cards.endpoint_card(resource))
    listed = lists.status_card("dev-alice", [resource], {}, None, dt.datetime.now(dt.UTC))
    assert f"● live        –    –       –  {said}" in shown(listed)


def test_environments() -> None:
    built = EnvironmentInfo(
        key="0123456789abcdef01234567",
        state=EnvironmentState.BUILT,
        python="3.11",
        packages=("numpy==2.4.6",),
        bytes=60_000_000,
    )
    why = "The package index cannot be reached."
    failed = built.model_copy(
        update={"state": EnvironmentState.FAILED, "bytes": 0, "used_by": ("dev-alice/churn",), "message": why}
    )
    assert shown(lists.environments_card([failed, built], removed=False)) == text(
        """
        environments  60.0 MB
        environment   state   python  packages     size  used by
        0123456789ab  failed  3.11           1        –  dev-alice/churn  The package index cannot be reached.
        0123456789ab  built   3.11           1  60.0 MB  –
        next      %mp_env prune
        """
    )
    assert "60.0 MB removed" in shown(lists.environments_card([built], removed=True))
    assert "Every environment is used" in shown(lists.environments_card([], removed=True))


def test_on_its_way() -> None:
    status = samples.live(2, None).status.model_copy(
        update={"observed_generation": 0, "progress": samples.steps(running="parity")}
    )
    assert shown(endpoint_cards.progress_card(samples.endpoint(status), 3.4)) == text(
        """
        churn  version 3  updating                                   3.4 s
        quota ✓  environment ✓ cached  runner ✓  parity … 5.8 s  traffic ○
        now       version 2 answers every call until parity is proven
        stop      interrupt the kernel; version 2 stays
        """
    )


def test_failed_beside_a_version_that_answers() -> None:
    resource = samples.failed(was=2)
    failed = endpoint_cards.failed_deployment(resource)
    assert failed is not None
    assert shown(endpoint_cards.failure_card(resource, failed)) == text(
        """
        churn  version 3 was not deployed  live                      after 6.1 s
        quota ✓  environment ✓ cached  runner ✕ 5.8 s  parity ○  traffic ○
        The runner did not start.
        The model's environment has no module named ortools.
        change     %mp_publish model --name churn
        meanwhile  version 2 still answers
        Log of the start, 2 lines:
          loading
          ModuleNotFoundError
        """
    )


def test_failed_with_nothing_before() -> None:
    resource = samples.failed()
    failed = endpoint_cards.failed_deployment(resource)
    assert failed is not None
    found = shown(endpoint_cards.failure_card(resource, failed))
    assert found.splitlines()[0].split("  ")[:3] == ["churn", "version 3 was not deployed", "failed"]
    assert "meanwhile  no version answered before: its URL gives 404" in found


def test_parity_that_was_not_proven() -> None:
    resource = samples.failed(was=2, step="parity", parity=samples.PARITY)
    failed = endpoint_cards.failed_deployment(resource)
    assert failed is not None
    assert text(
        """
        The answers are not those of the notebook.
        The model's environment has no module named ortools.
            row  notebook  endpoint  difference  allowed
              7  0.512     0.497          0.015  1e-09
             13  a         b                  –
        18 more  the same  the same           0
        """
    ) in shown(endpoint_cards.failure_card(resource, failed))


def test_status_of_a_zone() -> None:
    metrics = {"churn": EndpointMetrics(calls=1000, errors=2, calls_per_second=8.04, p95=0.009)}
    now = dt.datetime(2026, 11, 21, 14, 2).astimezone()
    found = lists.status_card("dev-alice", [samples.live(), samples.failed()], metrics, samples.usage(), now)
    assert shown(found) == text(
        """
        dev-alice  2 endpoints                                       14:02
        name   version  state     calls/s   p95  errors
        churn        3  ● live        8.0  9 ms   0.2 %
        churn        3  ✕ failed        –     –       –  The model's environment has no module named ortools.
        zone      dev-alice: 1 of 2 CPU, 0.4 of 4 GiB in use
        next      %mp_logs churn
        """
    )


def test_an_empty_zone_teaches_the_next_step() -> None:
    found = shown(lists.status_card("dev-alice", [], {}, None, dt.datetime.now(dt.UTC)))
    assert "Nothing is deployed here yet." in found
    assert "next      %mp_publish model --name churn --data X_train   %mp_deploy churn" in found


# ---------------------------------------------------------------- forms

EVIL = "<script>alert(1)</script>&\"'|`*_[x](y)"


def evil_card() -> Card:
    return Card(
        kind="test",
        title=EVIL,
        subtitle=EVIL,
        aside=EVIL,
        message=(EVIL, EVIL),
        table=CardTable((Column(EVIL),), ((code(EVIL),), (EVIL,))),
        rows=((EVIL, [code(EVIL), Span(EVIL, "quiet"), link("javascript:alert(1)", EVIL)]),),
        details=(Details(EVIL, EVIL),),
        next=(code(EVIL),),
        data={"text": EVIL},
    )


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.links: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open += [tag]
        self.links += [value for name, value in attrs if name == "href"]
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_escapes_everything_and_is_well_formed() -> None:
    parser = Tags()
    parser.feed(html(evil_card()))
    assert parser.open == []
    assert set(parser.tags) <= {
        "style",
        "div",
        "b",
        "span",
        "table",
        "tbody",
        "thead",
        "tr",
        "th",
        "td",
        "code",
        "a",
        "details",
        "summary",
        "pre",
        "p",
    }
    assert parser.links == ["#"]
    assert "<script" not in html(evil_card())


def test_html_loads_nothing_and_every_rule_is_scoped() -> None:
    assert "url(" not in style()
    assert "@import" not in style()
    selectors = re.findall(r"(?:^|})([^{}]+){", style())
    assert selectors
    assert all(part.startswith(".mp-card") for one in selectors for part in re.sub(r"\(.*\)", "", one).split(","))


def test_markdown_escapes_everything() -> None:
    found = markdown(evil_card())
    outside_of_code = re.sub(r"(`+) .*? \1|^    .*$", "", found, flags=re.MULTILINE)
    assert not re.search(r"(?<!\\)[<*]script", outside_of_code)
    assert not re.search(r"(?<!\\)\[x\]", outside_of_code)


def test_the_bundle_holds_every_form() -> None:
    found = bundle(endpoint_cards.endpoint_card(samples.live(), samples.usage(), {"curl": "curl …", "java": "class"}))
    assert set(found) == {MIME_TYPE, "text/html", "text/markdown", "text/plain"}
    document = json.loads(json.dumps(found[MIME_TYPE], allow_nan=False))
    assert document["kind"] == "endpoint"
    assert document["state"] == "live"
    assert document["data"]["status"]["url"] == "http://127.0.0.1:8800/dev-alice/churn"
    assert "Call it from curl, Java" in found["text/html"]


def test_colours_are_for_terminals() -> None:
    card = endpoint_cards.endpoint_card(samples.live())
    painted = plain(card, coloured)
    assert "\x1b[32mlive\x1b[0m" in painted
    assert re.sub(r"\x1b\[\d+m", "", painted) == plain(card)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (words.size(999), "999 B"),
        (words.size(5100), "5.1 kB"),
        (words.size(191_000), "191 kB"),
        (words.size(999_999), "1.0 MB"),
        (words.size(12_300_000_000), "12.3 GB"),
        (words.seconds(0.04), "0.0 s"),
        (words.seconds(9.96), "10 s"),
        (words.seconds(200), "3 min 20 s"),
        (words.milliseconds(0.0004), "0.4 ms"),
        (words.milliseconds(None), "–"),
        (words.percent(0, 10), "0"),
        (words.percent(1, 3), "33 %"),
        (words.percent(1, 0), "–"),
        (words.plural(1, "row"), "1 row"),
        (words.plural(2400, "row"), "2,400 rows"),
        (words.gibibytes(4 << 30), "4"),
        (words.listed(["a", "b", "c", "d"]), "a, b, c and 1 more"),
    ],
)
def test_words(made: str, said: str) -> None:
    assert made == said
