"""Files that run something when they are loaded are refused; models are not. Nothing here is ever unpickled."""

from __future__ import annotations

import bz2
import gzip
import io
import pickle
import pickletools
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from model_platform_core.errors import FormatRefusedError
from model_platform_server.adapters.scanning import scan as scanning
from model_platform_server.adapters.scanning.scan import scan

MARKER = "MODEL_PLATFORM_SCAN_RAN"
ROWS = np.random.default_rng(0).normal(size=(60, 3))
LABELS = (ROWS[:, 0] > 0).astype(int)


def malicious(module: str, name: str, *arguments: Any) -> bytes:
    """A pickle that calls a function by its name, in protocol 0 and without importing it here."""
    inner = b"".join(pickle.dumps(one, 0)[:-1] for one in arguments)
    return f"c{module}\n{name}\n(".encode() + inner + b"tR."


def by_value(source: str) -> Any:
    return eval(source, {"__name__": "__main__"})


class Lambda:
    """Its pickle calls a function that it brings."""

    def __reduce__(self) -> Any:
        return by_value("lambda: 3"), ()


TOUCH = f"open({MARKER!r}, 'w').close()"
ELEVEN = {
    "os.system": malicious("posix", "system", f"touch {MARKER}"),
    "eval": malicious("builtins", "eval", TOUCH),
    "exec": malicious("builtins", "exec", TOUCH),
    "subprocess": malicious("subprocess", "check_output", ["touch", MARKER]),
    "runpy": malicious("runpy", "run_path", MARKER),
    "timeit": malicious("timeit", "timeit", TOUCH, "1"),
    "pydoc": malicious("pydoc", "pipepager", "text", f"touch {MARKER}"),
    "cProfile": malicious("cProfile", "run", TOUCH),
    "numpy runstring": malicious("numpy.testing._private.utils", "runstring", TOUCH, {}),
    "importlib": malicious("importlib", "import_module", "this"),
    "joblib.load": malicious("joblib.numpy_pickle", "load", MARKER),
    "lambda": cloudpickle.dumps(by_value("lambda: __import__('os').system('true')")),
    "lambda that is called": cloudpickle.dumps(Lambda()),
}
"""The eleven kinds, one of them in two spellings, and `runpy`."""


def in_zip(content: bytes, name: str = "archive/data.pkl") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


def in_array(content: bytes) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([None], dtype=object), allow_pickle=True)
    head = file.getvalue()
    return head[: 10 + int.from_bytes(head[8:10], "little")] + content


def in_joblib(content: bytes) -> bytes:
    """As joblib writes an array of objects: a pickle within the pickle."""
    file = io.BytesIO()
    joblib.dump({"rows": np.array([None, 1], dtype=object)}, file)
    whole = file.getvalue()
    begin = whole.index(b"\x80", 2)
    length = 1 + next(at for opcode, _, at in pickletools.genops(whole[begin:]) if opcode.name == "STOP" and at)
    return whole[:begin] + content + whole[begin + length :]


def scanned(folder: Path, content: bytes, name: str = "model.pkl") -> Any:
    (folder / name).write_bytes(content)
    return scan(folder, [name], "churn")


@pytest.fixture(autouse=True)
def _nothing_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / MARKER).exists()


@pytest.mark.parametrize("kind", ELEVEN)
def test_the_kinds_of_malicious_pickles_are_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(FormatRefusedError) as refused:
        scanned(tmp_path, ELEVEN[kind])
    assert refused.value.message.startswith("churn was not published: model.pkl ")
    assert refused.value.fields[0].field == "model.pkl"


@pytest.mark.parametrize(
    ("name", "wrap"),
    [
        ("model.bin", lambda content: pickle.dumps(1, 4)[:0] + b"\x80\x04" + content),
        ("no-suffix-old-protocol", bytes),
        ("model.joblib", gzip.compress),
        ("model.joblib.bz2", bz2.compress),
        ("model.pt", in_zip),
        ("weights.zip", lambda content: in_zip(in_zip(content))),
        ("arrays.npz", lambda content: in_zip(in_array(content), "x.npy")),
        ("array.npy", in_array),
        ("inner.joblib", in_joblib),
        ("second.pkl", lambda content: pickle.dumps(1) + b"\x80\x02" + content),
    ],
)
def test_wherever_they_lie(tmp_path: Path, name: str, wrap: Callable[[bytes], bytes]) -> None:
    with pytest.raises(FormatRefusedError, match=r"system|cannot be looked into"):
        scanned(tmp_path, wrap(ELEVEN["os.system"]), name)


def test_inside_of_what_joblib_writes_for_objects_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatRefusedError, match=r"posix\.system"):
        scanned(tmp_path, in_joblib(ELEVEN["os.system"]), "inner.joblib")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\x80\x04not a pickle", "cannot be looked into"),
        (pickle.dumps([1, 2, 3])[:-3], "cannot be looked into"),
        (b"", ""),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"\x80\x04\x8c\x05posix(\x8c\x06sysl]a\x93.", "cannot be looked into"),
        (pickle.dumps(1) + b"and more", "something follows"),
        (b"\x04\x22\x4d\x18" + bytes(20), "lz4"),
    ],
)
def test_what_cannot_be_looked_into_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    if not content:
        assert not scanned(tmp_path, content).pickles
        return
    with pytest.raises(FormatRefusedError, match=why):
        scanned(tmp_path, content)


def test_a_scan_that_ends_early_or_takes_too_long_is_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "_MEMORY", 1 << 20)
    monkeypatch.setattr(scanning, "_MEMORY_OF_SIZE", 0)
    with pytest.raises(FormatRefusedError, match=r"MemoryError|ended early"):
        scanned(tmp_path, pickle.dumps(bytes(30_000_000)))
    monkeypatch.setattr(scanning, "SECONDS", 0.01)
    with pytest.raises(FormatRefusedError, match=r"within 0\.01 s"):
        scanned(tmp_path, pickle.dumps({"a": 1}))


HONEST: dict[str, Callable[[], Any]] = {
    "forest": lambda: RandomForestClassifier(10).fit(pd.DataFrame(ROWS, columns=list("abc")), LABELS),
    "boosting": lambda: HistGradientBoostingClassifier(max_iter=5).fit(ROWS, LABELS),
    "text": lambda: make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["good day", "bad night"], [0, 1]),
    "neighbours": lambda: KNeighborsClassifier().fit(ROWS, LABELS),
    "support vectors": lambda: SVC().fit(ROWS, LABELS),
    "clusters": lambda: KMeans(2).fit(ROWS),
    "frame": lambda: pd.DataFrame({"when": pd.Timestamp("2026-01-01"), "what": pd.Categorical(["a", "b"])}),
    "objects": lambda: {"rows": np.array([1, "a", None], dtype=object), "dates": np.array(["2026"], dtype="M8[D]")},
}


@pytest.mark.parametrize("kind", HONEST)
def test_honest_models_pass_in_every_wrapping(tmp_path: Path, kind: str) -> None:
    model = HONEST[kind]()
    joblib.dump(model, tmp_path / "model.joblib")
    joblib.dump(model, tmp_path / "model.joblib.z", compress=("zlib", 3))
    joblib.dump(model, tmp_path / "model.joblib.xz", compress=("xz", 1))
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(model))
    (tmp_path / "python_model.cloudpickle").write_bytes(cloudpickle.dumps(model))
    paths = sorted(path.name for path in tmp_path.iterdir())
    found = scan(tmp_path, paths, "churn")
    assert found.pickles == set(paths)
    assert not found.by_value


def test_code_by_value_is_seen(tmp_path: Path) -> None:
    found = scanned(tmp_path, cloudpickle.dumps(by_value("lambda rows: [len(row) for row in rows]")))
    assert found.by_value


def test_what_holds_no_pickle_costs_no_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "_ask", lambda *_: pytest.fail("a scan was started"))
    for name, content in {
        "MLmodel": b"flavors: {}",
        "model.skops": in_zip(b"{}", "schema.json"),
        "a.csv": b"a\n1",
    }.items():
        assert not scanned(tmp_path, content, name).pickles


def test_the_scan_knows_how_large_a_model_may_be(tmp_path: Path) -> None:
    """Sixty megabytes of numbers are passed over, and not handed to every scanner."""
    found = scanned(tmp_path, pickle.dumps({"weights": np.zeros((1000, 8000))}))
    assert found.pickles == {"model.pkl"}
    assert (tmp_path / "model.pkl").stat().st_size > 60_000_000
