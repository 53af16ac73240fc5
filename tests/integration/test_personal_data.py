"""Nothing observed is stored or shown, unless the card says that there is no personal data or rows are given to show."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from support.servers import RunningServer, wait_until

ROWS = 400
LOOKED_FOR = 25  # the first rows, which are those that a sample would have
MARKS = ("Beeblebrox", "Vogsphere")


def people() -> pd.DataFrame:
    """Rows in which everything that is one person's can be recognised in any bytes."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "income": rng.uniform(10_000, 90_000, ROWS),
            "account": rng.integers(10**14, 10**15, ROWS),
            "name": [f"Beeblebrox {number}" for number in range(ROWS)],
            "town": rng.choice(["north", "south"], ROWS),
            "born": pd.Timestamp("1943-07-11 03:07:13") + pd.to_timedelta(rng.integers(0, 10**9, ROWS), unit="s"),
        }
    )
    frame.loc[7, "town"] = "Vogsphere"
    return frame


def written(frame: pd.DataFrame) -> set[str]:
    """Every value that is one person's, as JSON, a page or a log would hold it."""
    frame = frame[:LOOKED_FOR]
    values = {*frame["income"], *frame["account"], *MARKS}
    days = {form(one) for one in frame["born"] for form in (str, pd.Timestamp.isoformat)}
    return {str(value) for value in values} | days


def fitted(frame: pd.DataFrame) -> Pipeline:
    """A model that keeps no row and no value: hashed words, and the income scaled away."""
    words = make_column_transformer(
        (HashingVectorizer(n_features=8), "name"),
        (HashingVectorizer(n_features=8), "town"),
    )
    return make_pipeline(words, LogisticRegression()).fit(frame, np.arange(len(frame)) % 2)


def found_in(folder: Path) -> set[tuple[str, str]]:
    """Every value of one person in the bytes of every file below a folder, as text and as numbers are stored."""
    frame = people()
    raw = {value: value.encode() for value in written(frame)}
    for row in range(LOOKED_FOR):
        raw[f"bytes of income {row}"] = np.float64(frame["income"][row]).tobytes()
        raw[f"bytes of account {row}"] = np.int64(frame["account"][row]).tobytes()
    found = set()
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and not {"environments", "site-packages"} & set(path.parts):
            content = path.read_bytes()
            found.update((str(path.relative_to(folder)), name) for name, value in raw.items() if value in content)
    return found


def shown_by(endpoint: Any) -> str:
    own = {"Authorization": f"Bearer {endpoint.token()}"}
    pages = [httpx.get(endpoint.url + path, headers=own, timeout=30) for path in ("/schema", "/", "/openapi.json")]
    assert {page.status_code for page in pages} == {200}
    return "".join(page.text for page in pages)


def test_no_observed_value_is_anywhere(
    mp: Any, server: RunningServer, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = people()
    published = mp.publish(fitted(frame), "quiet", data=frame)
    assert "20 made-up rows and their answers kept" in str(published)
    endpoint = mp.deploy("quiet")
    assert "20 of 20 answers as in the notebook" in str(endpoint)
    with server.client() as api:
        version = api.get(f"/models/{published.zone}.quiet/versions/1").text
    everything = version + shown_by(endpoint) + str(published) + str(endpoint) + capsys.readouterr().out
    assert [value for value in written(frame) if value in everything] == []
    assert found_in(server.state) == set()
    assert len(endpoint.predict(frame[:3])) == 3
    assert found_in(server.state) == set()
    endpoint.stop()


def test_the_rare_levels_of_a_category_stay_in_the_models_files(mp: Any, server: RunningServer, project: Path) -> None:
    frame = people()[["town"]].astype("category")
    model = make_pipeline(make_column_transformer((HashingVectorizer(n_features=8), "town")), LogisticRegression())
    published = mp.publish(model.fit(frame, np.arange(ROWS) % 2), "levels", data=frame)
    endpoint = mp.deploy("levels")
    with server.client() as api:
        version = api.get(f"/models/{published.zone}.levels/versions/1").text
    assert "north" in version
    assert "Vogsphere" not in version + shown_by(endpoint) + str(published)
    endpoint.stop()


def test_rows_given_to_be_shown_are_shown_and_no_others(mp: Any, server: RunningServer, project: Path) -> None:
    frame = people()
    example = pd.DataFrame(
        {"income": [1.5], "account": [1], "name": ["Somebody"], "town": ["east"], "born": [pd.Timestamp("2000-01-01")]}
    )
    published = mp.publish(fitted(frame), "shown", data=frame, example=example)
    folder = next(server.state.rglob(f"*/{published.details.model_id}"))
    sample = json.loads(next(folder.rglob("parity.json")).read_text())
    assert [row["name"] for row in sample["records"]] == ["Somebody"]
    assert found_in(folder) == set()


def test_where_there_is_no_personal_data_the_first_rows_are_the_sample(
    mp: Any, server: RunningServer, project: Path
) -> None:
    frame = people()
    published = mp.publish(fitted(frame), "open", data=frame, pii="none")
    folder = next(server.state.rglob(f"*/{published.details.model_id}"))
    sample = json.loads(next(folder.rglob("parity.json")).read_text())
    assert [row["name"] for row in sample["records"]] == [f"Beeblebrox {number}" for number in range(20)]


CHOOSY = """
class Choosy:
    def predict(self, frame):
        if not frame["name"].str.startswith("Beeblebrox").all():
            raise ValueError("Beeblebrox is not among these")
        return [1] * len(frame)
"""


def test_a_model_that_refuses_made_up_rows_is_deployed_where_the_zone_takes_it(
    mp: Any, server: RunningServer, project: Path
) -> None:
    (project / "choosy_model.py").write_text(CHOOSY)
    model = importlib.import_module("choosy_model").Choosy()
    published = mp.publish(model, "choosy", data=people()[["name"]])
    assert "not proven: the model refuses made-up rows (ValueError)" in str(published)
    endpoint = mp.deploy("choosy")
    assert "not proven: the model refuses made-up rows (ValueError)" in str(endpoint)
    endpoint.stop()
    with server.client() as api:
        zone = api.get(f"/zones/{published.zone}").json()
        strict = zone["spec"] | {"requires_parity": True}
        assert api.put(f"/zones/{published.zone}", json=strict).status_code == 200
        try:
            with pytest.raises(
                Exception, match="proven to answer as in the notebook; choosy version 1 is not: the model"
            ):
                mp.deploy("choosy", "strict-choosy")
        finally:
            assert api.put(f"/zones/{published.zone}", json=zone["spec"]).status_code == 200


TALKS = """
def talks(frame):
    print("called with", *frame["name"])
    return [len(name) for name in frame["name"]]
"""


def test_a_card_revised_to_personal_ends_the_keeping_of_what_the_model_prints(
    mp: Any, server: RunningServer, project: Path
) -> None:
    (project / "talking_model.py").write_text(TALKS)
    mp.publish(
        importlib.import_module("talking_model").talks, "talks", data=pd.DataFrame({"name": ["a", "bc"]}), pii="none"
    )
    endpoint = mp.deploy("talks")
    calls = iter(f"caller{number}" for number in range(1000))

    def printed() -> bool:
        name = next(calls)
        assert endpoint.predict([{"name": name}])
        endpoint.predict([{"name": "last"}])  # what was printed before it is in the log by now
        return name in "".join(line.text for line in mp.logs("talks"))

    assert printed()
    mp.card("talks:1", pii="pseudonymised")
    wait_until(lambda: not printed(), what="a runner that keeps nothing")
    assert not printed()
    endpoint.stop()
