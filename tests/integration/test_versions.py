"""Versions people can live with: unchanged is said, names are asked for, the last version's words stay, deleted comes back."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier

from model_platform_core.errors import InUseError, NearNameError, VersionNotFoundError
from support.databases import on_every_database
from support.servers import RunningServer

pytestmark = on_every_database

FRAME = pd.DataFrame({"age": [25, 40, 61, 33, 58, 47], "income": [1.5, 2.5, 0.0, 4.0, 3.5, 2.0]})
LABELS = [0, 1, 1, 0, 1, 0]


def forest(trees: int = 3) -> Any:
    return RandomForestClassifier(trees, random_state=1).fit(FRAME, LABELS)


def shown(result: Any) -> str:
    return str(result._repr_mimebundle_()["text/plain"])


def test_the_same_again_is_unchanged(mp: Any) -> None:
    first = mp.publish(forest(), "same", data=FRAME, example=FRAME[:3], purpose="Decide who is called")
    again = mp.publish(forest(), "same", data=FRAME, example=FRAME[:3], message="as before", alias="champion")
    assert (first.version, first.unchanged, again.version, again.unchanged) == (1, False, 1, True)
    assert "unchanged: still version 1" in shown(again)
    assert mp.deploy("same@champion").predict(FRAME).tolist() == forest().predict(FRAME).tolist()
    assert mp.publish(forest(), "same", data=FRAME, example=FRAME[:3], new=True).version == 2
    assert mp.publish(forest(4), "same", data=FRAME, example=FRAME[:3]).version == 3
    assert mp.publish(forest(4), "same", data=FRAME, example=FRAME[:3], purpose="Decide who is mailed").version == 4
    assert mp.publish(forest(4), "same", data=FRAME, example=FRAME[:2]).version == 5


def test_another_process_finds_it_unchanged(mp: Any, server: RunningServer, project: Any) -> None:
    """Where a function was typed, when, and with which hash of strings: none of it makes a version."""
    program = (
        "import pandas as pd, model_platform as mp\n"
        "def shout(rows):\n"
        "    return ['yes' if row in {'a', 'b', 'c', 'dd'} else 'no' for row in rows['word']]\n"
        "found = mp.publish(shout, 'shout', example=pd.DataFrame({'word': ['a', 'x']}))\n"
        "print(found.version, found.unchanged)\n"
    )
    told = []
    for seed in ("1", "2"):
        (project / "train.py").write_text("\n" * int(seed) + program)
        environment = {**server.environment, "MP_HOME": str(server.state), "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "train.py"], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        told.append(done.stdout.splitlines()[-1])
    assert told == ["1 False", "1 True"]


def test_what_describes_the_model_carries_over_and_is_marked(mp: Any) -> None:
    said = {"purpose": "Decide who is called", "for_whom": "CRM team", "limitations": "not tried on minors"}
    mp.publish(forest(), "marked", example=FRAME, metrics={"auc": 0.9}, **said)
    second = mp.publish(forest(5), "marked", example=FRAME)
    card = second.details.card
    assert (card.purpose, card.for_whom, card.limitations) == tuple(said.values())
    assert card.metrics == ()
    assert "CRM team: Decide who is called (as in version 1)" in shown(second)
    assert "limitations (as in version 1)" in shown(second)
    assert "limitations  not tried on minors (as in version 1)" in " ".join(
        "  ".join(line.split(maxsplit=1)) for line in shown(mp.card("marked:2")).splitlines()
    )


def test_a_name_one_letter_away_is_asked_for(mp: Any) -> None:
    mp.publish(forest(), "leaving", example=FRAME)
    with pytest.raises(NearNameError) as refused:
        mp.publish(forest(), "laeving", example=FRAME)
    assert "laeving" in refused.value.message
    assert "leaving" in refused.value.message
    assert "--new-name" in str(refused.value.hint)
    assert mp.publish(forest(), "laeving", example=FRAME, new_name=True).version == 1
    assert mp.publish(forest(), "leaving2", example=FRAME).version == 1
    assert mp.publish(forest(5), "leaving", example=FRAME).version == 2


def test_a_version_is_deleted_and_comes_back(mp: Any) -> None:
    for trees in (2, 3, 4):
        mp.publish(forest(trees), "leaver", example=FRAME)
    gone = mp.delete("leaver:3")
    assert "%mp_delete leaver:3 --undo" in shown(gone)
    with pytest.raises(VersionNotFoundError) as refused:
        mp.card("leaver:3")
    assert "was deleted by alice" in refused.value.message
    assert refused.value.hint == "%mp_delete leaver:3 --undo"
    assert mp.publish(forest(7), "leaver", example=FRAME).version == 4
    assert "version 3 is back" in shown(mp.delete("leaver:3", undo=True))
    assert mp.load("leaver:3").predict(FRAME).tolist() == forest(4).predict(FRAME).tolist()


def test_what_something_refers_to_is_not_deleted(mp: Any) -> None:
    for trees in (2, 3):
        mp.publish(forest(trees), "kept", example=FRAME)
        mp.deploy("kept")
    for version in ("kept:1", "kept:2"):  # one could be gone back to, one is live
        with pytest.raises(InUseError, match="used by kept"):
            mp.delete(version)
    mp.delete("kept")
    mp.delete("kept:1")
    mp.publish(forest(3), "kept", example=FRAME, alias="champion")
    with pytest.raises(InUseError, match="alias champion"):
        mp.delete("kept:2")


def test_a_version_of_another_person_is_told_first(mp: Any, server: RunningServer) -> None:
    # The last test here: from now on the server knows two people, and the local target keeps nobody apart.
    mp.publish(forest(), "shared", example=FRAME)
    with server.client() as api:
        zone = api.get("/whoami").json()["home_zone"]
        api.put("/actors/bob", json={"name": "bob", "home_zone": zone, "roles": {zone: "developer"}}).raise_for_status()
        secret = api.post("/tokens", json={"name": "bob", "actor": "bob"}).json()["token"]
    client = mp.connect(server.url, token=secret)
    try:
        published = mp.publish(forest(6), "shared", example=FRAME)
    finally:
        client.close()
    assert "The last version, 1, was published by alice" in shown(published)
    assert published.details.card.owner == "alice"
    assert "owner (as in version 1)" in shown(published)
