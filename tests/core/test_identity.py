"""Equal objects have equal identities, whatever their files look like; what differs in content differs."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import IO, Any

import cloudpickle
import numpy as np
import pytest
import skops.io
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from model_platform_core.cards import CodeReference, DataReference, ModelCard, Training
from model_platform_core.environments import EnvironmentRecord
from model_platform_core.identity import content_digest, same_card
from model_platform_core.models import FileEntry
from model_platform_core.pickles import NotReadError, digest_of_pickle

HERE = EnvironmentRecord(python="3.11.7", platform="linux-x86_64", packages=("numpy==2.0.0",), locked=True)


def identity(
    files: Mapping[str, bytes], described: Mapping[str, Any] | None = None, environment: EnvironmentRecord = HERE
) -> str:
    entries = [
        FileEntry(path=path, size=len(content), sha256=f"sha256:{hashlib.sha256(content).hexdigest()}")
        for path, content in files.items()
    ]

    def opened(path: str) -> AbstractContextManager[IO[bytes]]:
        return io.BytesIO(files[path])

    return content_digest(entries, opened, described or {}, environment)


def pipeline(trees: int = 3) -> Any:
    rows = np.random.default_rng(0).normal(size=(50, 4))
    return make_pipeline(StandardScaler(), RandomForestClassifier(trees, random_state=1)).fit(rows, rows[:, 0] > 0)


def said(value: object, protocol: int = 5) -> str:
    return digest_of_pickle(io.BytesIO(pickle.dumps(value, protocol)))


def test_a_skops_archive_is_read_for_what_it_says() -> None:
    first, second = skops.io.dumps(pipeline()), skops.io.dumps(pipeline())
    assert first != second
    assert identity({"model.skops": first}) == identity({"model.skops": second})
    assert identity({"model.skops": first}) != identity({"model.skops": skops.io.dumps(pipeline(4))})


def archive(members: Mapping[str, bytes], year: int = 2020) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name, (year, 1, 1, 0, 0, 0)), content)
    return written.getvalue()


def test_of_a_wheel_neither_the_time_nor_the_order_counts() -> None:
    wheel = {"prep.py": b"x = 1", "prep/data.csv": b"1,2"}
    backwards = dict(reversed(wheel.items()))
    assert identity({"a.whl": archive(wheel)}) == identity({"a.whl": archive(backwards, 2024)})
    assert identity({"a.whl": archive(wheel)}) != identity({"a.whl": archive(wheel | {"prep.py": b"x = 2"})})


def test_what_is_no_archive_counts_by_its_bytes() -> None:
    assert identity({"model.skops": b"one"}) == identity({"model.skops": b"one"})
    assert identity({"model.skops": b"one"}) != identity({"model.skops": b"two"})


def test_cells_changes_and_times_do_not_count() -> None:
    files = {"model.onnx": b"weights"}
    more = files | {"model_platform/lineage/cells.py": b"# %%", "model_platform/lineage/changes.patch": b"+"}
    then = {"utc_time_created": dt.datetime(2025, 1, 1, tzinfo=dt.UTC), "model_uuid": "1", "flavors": {"onnx": {}}}
    now = {"utc_time_created": "2025-02-01", "model_uuid": "2", "flavors": {"onnx": {}}}
    assert identity(files, then) == identity(more, now)
    assert identity(files, now) != identity(files, {"flavors": {"onnx": {"version": 2}}})


def test_a_description_that_json_cannot_say_is_no_error() -> None:
    assert identity({}, {"a": float("nan"), 1: [dt.date(2025, 1, 1)]}) != identity({}, {"a": 1.0})


def test_the_environment_counts_and_where_it_lies_does_not() -> None:
    elsewhere = HERE.model_copy(update={"interpreter": "/opt/python", "host": "other", "python": "3.11.9"})
    newer = HERE.model_copy(update={"packages": ("numpy==2.1.0",)})
    assert identity({}, environment=HERE) == identity({}, environment=elsewhere)
    assert identity({}, environment=HERE) != identity({}, environment=newer)


def test_the_rows_of_the_parity_sample_count_its_answers_do_not() -> None:
    def sample(row: int, answer: float) -> dict[str, bytes]:
        content = {"records": [{"x": row}], "answers": [{"prediction": answer}]}
        return {"model_platform/parity.json": json.dumps(content).encode()}

    assert identity(sample(1, 0.1)) == identity(sample(1, 0.2))
    assert identity(sample(1, 0.1)) != identity(sample(2, 0.1))


# ---------------------------------------------------------------- pickles


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_every_protocol_are_read(protocol: int) -> None:
    value = {"a": [1, {2, "x"}, None, True, 2**70, 1.5], "b": (b"x", pipeline()), "c": frozenset({1}), "d": ()}
    changed = value | {"a": [1, {2, "y"}, None, True, 2**70, 1.5]}
    assert said(value, protocol) == said(dict(reversed(value.items())), protocol)
    assert said(value, protocol) != said(changed, protocol)


def test_whether_a_text_is_repeated_or_referred_to_does_not_count() -> None:
    text = "a long text"
    assert said([text, text]) == said([text, "".join(["a long", " text"])])


def test_what_refers_to_itself_is_read() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    assert said(loop) == said(loop)
    assert said(loop) != said([1, [1]])


def test_nothing_of_a_pickle_runs() -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.abort, ()

    assert digest_of_pickle(io.BytesIO(cloudpickle.dumps(Evil())))


@pytest.mark.parametrize(
    "content", [b"", b"no pickle", b"\x80\x05.", pickle.dumps([1])[:-2], b"\x80\x05K\x01Q.", b"(" * 9 + b".", b"h\x00."]
)
def test_what_cannot_be_read_is_told(content: bytes) -> None:
    with pytest.raises(NotReadError):
        digest_of_pickle(io.BytesIO(content))
    assert identity({"model.pkl": content}) == identity({"model.pkl": content})


PROGRAM = """
import hashlib, sys, cloudpickle
def near(row, limit=3):
    def inner(value):
        return value in {"a", "b", "c", "dd", "e"}
    return inner(row)
class Model:
    known = {"x", "y", "z", "zz"}
    def predict(self, rows):
        return [near(row) for row in rows]
sys.stdout.buffer.write(cloudpickle.dumps(Model()))
"""


def test_code_from_another_process_place_and_hash_is_the_same() -> None:
    def made(seed: str, program: str) -> bytes:
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-"], input=program.encode(), env=environment, capture_output=True, check=True
        )
        return done.stdout

    first, second = made("1", PROGRAM), made("2", "\n\n" + PROGRAM)
    assert first != second
    assert identity({"model.pkl": first}) == identity({"model.pkl": second})
    for before, after in (('"dd"', '"ee"'), ('"zz"', '"yy"'), ("limit=3", "limit=4"), ("near(row)", "not near(row)")):
        other = made("1", PROGRAM.replace(before, after))
        assert identity({"model.pkl": first}) != identity({"model.pkl": other}), after


# ---------------------------------------------------------------- cards


def test_of_a_card_what_was_said_counts() -> None:
    card = ModelCard(
        purpose="Decide who is called",
        data=(DataReference(name="X", sha256="sha256:" + "a" * 64),),
        training=Training(how="A forest of trees", executed_notebook_sha256="sha256:" + "b" * 64),
    )
    again = card.model_copy(
        update={
            "code": CodeReference(path="other.ipynb", dirty=True),
            "review_by": dt.date(2027, 1, 1),
            "training": Training(how="A forest of trees", executed_notebook_sha256="sha256:" + "c" * 64),
        }
    )
    assert same_card(card, again)
    assert same_card(card, card.model_copy(update={"data": (DataReference(name="X"),)})), "its digest is not known yet"
    other = DataReference(name="X", sha256="sha256:" + "d" * 64)
    assert not same_card(card, card.model_copy(update={"data": (other,)}))
    assert not same_card(card, card.model_copy(update={"data": ()}))
    assert not same_card(card, card.model_copy(update={"purpose": "Decide who is mailed"}))
