"""Files that run something when they are loaded are refused; models are not. Nothing here is ever unpickled."""

from __future__ import annotations

import bz2
import collections.abc
import gzip
import importlib
import io
import pickle
import pickletools
import typing
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from model_platform_core.errors import FormatRefusedError
from model_platform_server.adapters.scanning import scan as scanning
from model_platform_server.adapters.scanning import streams
from model_platform_server.adapters.scanning.scan import Brought, scan

MARKER = "MODEL_PLATFORM_SCAN_RAN"
ROWS = np.random.default_rng(0).normal(size=(60, 3))
LABELS = (ROWS[:, 0] > 0).astype(int)


def malicious(module: str, name: str, *arguments: Any) -> bytes:
    """A pickle that calls a function by its name, in protocol 0 and without importing it here."""
    inner = b"".join(pickle.dumps(one, 0)[:-1] for one in arguments)
    return f"c{module}\n{name}\n(".encode() + inner + b"tR."


def by_value(source: str) -> Any:
    return eval(source, {"__name__": "__main__"})


def by_name(module: str, name: str) -> Any:
    """A class of another package; a pickle holds its name."""
    return getattr(importlib.import_module(module), name)


class Lambda:
    """Its pickle calls a function that it brings."""

    def __reduce__(self) -> Any:
        return by_value("lambda: 3"), ()


def instance(module: str, name: str, *arguments: Any, state: Any = None) -> bytes:
    """A pickle that makes an object of a class past its constructor, as Python writes it, and gives it a state."""
    inner = b"".join(pickle.dumps(one, 0)[:-1] for one in arguments)
    built = pickle.dumps(state, 0)[:-1] + b"b" if state is not None else b""
    return b"\x80\x02" + f"c{module}\n{name}\n(".encode() + inner + b"t\x81" + built + b"."


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
    "psutil.Popen": malicious("psutil", "Popen", ["touch", MARKER]),
    "git.cmd.Popen": malicious("git.cmd", "Popen", ["touch", MARKER]),
    "check_output": malicious("jupyter_client.utils", "check_output", ["touch", MARKER]),
    "memmap": instance("numpy", "memmap", MARKER, "uint8", "w+", 0, 1),
    "memmap that is called": malicious("numpy", "memmap", MARKER, "uint8", "w+", 0, 1),
    "memmap by copyreg": malicious("copyreg", "__newobj__", by_name("numpy", "memmap"), MARKER, "uint8", "w+"),
    "DataSource": malicious("numpy.lib.npyio", "DataSource", MARKER),
    "a writer of pandas": malicious("pandas", "ExcelWriter", MARKER),
    "a constructor of who knows whom": malicious("git", "Repo", MARKER),
    "a class that is changed": b"\x80\x02cnumpy\nmatrix\nN}U\x01aK\x01s\x86b.",
    "an object that calls": instance("sklearn.utils", "Bunch", state={"__setstate__": by_name("git", "Repo")}),
    "an annotation that is none": malicious("operator", "getitem", by_name("git", "Repo"), MARKER),
    "lambda": cloudpickle.dumps(by_value("lambda: __import__('os').system('true')")),
    "lambda that is called": cloudpickle.dumps(Lambda()),
}
"""The eleven kinds, one of them in two spellings, `runpy`, and what other packages have of the like."""


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


def test_what_mlmodel_has_unpickled_is_looked_at_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(ELEVEN["os.system"])
    (tmp_path / "m.ubj").write_bytes(b"I1\n0" * 60 + ELEVEN["os.system"])
    for name in ("model.onnx", "m.ubj"):
        with pytest.raises(FormatRefusedError, match=rf"{name} refers to posix\.system"):
            scan(tmp_path, [name], "churn")
        with pytest.raises(FormatRefusedError, match=rf"{name} refers to posix\.system"):
            scan(tmp_path, [name], "churn", Brought(unpickled=frozenset({name})))
    (tmp_path / "m.ubj").write_bytes(b"{L not a pickle")
    with pytest.raises(FormatRefusedError, match="cannot be looked into"):
        scan(tmp_path, ["m.ubj"], "churn", Brought(unpickled=frozenset({"m.ubj"})))


@pytest.mark.parametrize("content", [b"x^2,y\n1,2\n" * 50, b"N. Smith,3\n", b"BZh is a word\n", b"(a,b)\n", b"x^"])
def test_text_that_begins_like_something_else_is_text(tmp_path: Path, content: bytes) -> None:
    assert not scanned(tmp_path, content, "d.csv").pickles


@given(st.binary(min_size=1, max_size=300), st.integers(1, 40))
def test_weights_of_any_bytes_are_no_pickle(content: bytes, times: int) -> None:
    marks = (
        b"\x80",
        b"c",
        b"i",
        b"PK",
        b"\x93NUMPY",
        b"\x1f\x8b",
        b"BZh",
        b"\xfd7z",
        b"]\x00\x00",
        b"\x04\x22",
        b"\x28\xb5",
    )
    assume(not content.startswith(marks))
    assert list(streams.readings("weights.bin", io.BytesIO(content * times))) == []


@pytest.mark.parametrize("first", [b"\x82\x01", b"\x83\x01\x00", b"\x97", b"\x98", b"Q"])
def test_weights_that_begin_with_what_only_a_loader_could_give_are_no_pickle(tmp_path: Path, first: bytes) -> None:
    (tmp_path / "weights.bin").write_bytes(first + bytes(100))
    assert scan(tmp_path, ["weights.bin"], "churn").pickles == frozenset()


def test_a_compressed_pickle_that_breaks_off_is_refused(tmp_path: Path) -> None:
    whole = zlib.compress(ELEVEN["os.system"] + bytes(500_000), 0)
    with pytest.raises(FormatRefusedError, match="broken or not complete"):
        scanned(tmp_path, whole[:300_000], "model.bin")


def test_code_that_came_along_may_be_called_and_other_peoples_may_not(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(malicious("pricing", "Table", 3))
    assert scan(tmp_path, ["model.pkl"], "churn", Brought(modules=frozenset({"pricing"}))).pickles
    with pytest.raises(FormatRefusedError, match=r"calls pricing\.Table"):
        scan(tmp_path, ["model.pkl"], "churn")
    (tmp_path / "model.pkl").write_bytes(instance("pricing", "Table", state={"rate": 3}))
    assert scan(tmp_path, ["model.pkl"], "churn").pickles, "who knows whose objects are made without their constructors"


ANNOTATED = """
def predict(rows: list[str], context: Any, one: Optional[int], other: Union[int, str], both: int | None,
            call: Callable[[int], str], names: Literal["a"], more: abc.Iterable[str], by: Dict[str, Any],
            of: Type[int], many: Tuple[int, ...], typed: abc.Callable[[int], str]) -> List[Any]:
    return []

@dataclass
class Rates:
    base: float
    name: Optional[str] = None

    @property
    def twice(self) -> float:
        return self.base * 2
"""


def test_annotations_are_no_reason_to_refuse(tmp_path: Path) -> None:
    there: dict[str, Any] = {**vars(typing), "abc": collections.abc, "dataclass": dataclass, "__name__": "__main__"}
    exec(ANNOTATED, there)
    assert scanned(tmp_path, cloudpickle.dumps((there["predict"], there["Rates"]))).by_value


@pytest.mark.parametrize("number", [int, np.int64])
def test_a_large_vocabulary_is_no_attack(tmp_path: Path, number: Callable[[int], Any]) -> None:
    model = TfidfVectorizer(vocabulary={"a": 0}).fit(["a"])
    words = [f"word{count}" for count in range(200_000)]
    model.vocabulary_ = {word: number(count) for count, word in enumerate(words)}
    model.stop_words_ = frozenset(words)
    model.ngrams = tuple(words)
    joblib.dump(model, tmp_path / "model.joblib")
    assert scan(tmp_path, ["model.joblib"], "churn").pickles


def test_what_stands_behind_a_large_vocabulary_is_seen(tmp_path: Path) -> None:
    words = pickle.dumps({f"word{count}": count for count in range(50_000)}, 4)[2:-1]
    with pytest.raises(FormatRefusedError, match=r"fickling: `from posix import system`"):
        scanned(tmp_path, b"\x80\x04(" + words + ELEVEN["os.system"][:-1] + b"t.")


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
