"""Which code and files travel with a model, and what never does."""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib
import os
import re
import sqlite3
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
from sklearn.neighbors import KNeighborsClassifier

from model_platform.capture.forbidden import forbidden_name, is_secret, secret_in_source
from model_platform.capture.project import project_root, widened
from model_platform.capture.reach import reach_of
from model_platform.capture.travelling import TravellingCode, travelling_code
from model_platform.capture.wheels import CannotPackError, pack
from model_platform_core.cards import Tier
from model_platform_core.errors import FormatRefusedError, InvalidModelError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to work in, from which modules are imported; they are forgotten behind the test."""
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "path", [str(root), *sys.path])
    before = set(sys.modules)
    yield root
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


MODEL = "class Model:\n    def predict(self, rows):\n        return use(rows)\n\n\n"


def module(project: Path, name: str, source: str) -> ModuleType:
    path = project / f"{name.replace('.', '/')}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    importlib.invalidate_caches()
    return importlib.import_module(name)


def placed(code: TravellingCode) -> dict[str, str]:
    return {file.stored: file.placed for file in (*code.modules, *code.files)}


# ---------------------------------------------------------------- modules


def test_what_a_module_imports_travels_with_it(project: Path) -> None:
    (project / "kit").mkdir()
    (project / "kit" / "__init__.py").write_text("")
    (project / "kit" / "eager.py").write_text("")
    (project / "kit" / "lazy.py").write_text("import json\n")
    (project / "kit" / "unused.py").write_text("")
    (project / "flat.py").write_text("")
    found = module(
        project,
        "kit.model",
        f"from . import eager\nimport flat\nimport numpy\n{MODEL}def use(r):\n    from .lazy import json\n",
    )
    code = travelling_code(found.Model())
    assert placed(code) == {
        "code/flat.py": "flat.py",
        "code/kit/__init__.py": "kit/__init__.py",
        "code/kit/eager.py": "kit/eager.py",
        "code/kit/lazy.py": "kit/lazy.py",
        "code/kit/model.py": "kit/model.py",
    }
    assert {"numpy", "json"} <= code.imported
    assert code.by_value == ()


def test_folders_on_the_path_belong_to_the_project_if_they_lie_around_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "src").mkdir()
    (project / "notebooks").mkdir()
    monkeypatch.chdir(project / "notebooks")
    monkeypatch.setattr(sys, "path", ["../src", *sys.path])
    found = module(project / "src", "beside", f"{MODEL}def use(r):\n    return r\n")
    layout = travelling_code(found.Model()).layout()
    assert layout == {
        "directory": "notebooks",
        "entries": ["src", "."],
        "files": {"code/beside.py": "src/beside.py"},
    }
    assert widened(Path("/home/alice/churn"), [Path("/home/alice/churn/src")]) == Path("/home/alice/churn")
    assert widened(Path("/somewhere/churn"), [Path("/elsewhere/lib")]) == Path("/somewhere/churn")


def test_a_repository_is_a_project(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert project_root(tmp_path / "a" / "b") == tmp_path


def test_a_module_outside_of_the_project_is_refused(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / ".git").mkdir()
    elsewhere = Path("/var/tmp") / f"mp-{os.getpid()}"
    monkeypatch.setattr(sys, "path", [str(elsewhere), *sys.path])
    try:
        found = module(elsewhere, "far_away", f"{MODEL}def use(r):\n    return r\n")
        with pytest.raises(InvalidModelError, match=r"far_away\.py lies outside of the project"):
            travelling_code(found.Model())
    finally:
        sys.modules.pop("far_away", None)
        for path in sorted(elsewhere.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        elsewhere.rmdir()


def test_a_link_out_of_the_project_is_refused(project: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.py").write_text(f"{MODEL}def use(r):\n    return r\n")
    (project / "inside.py").symlink_to(tmp_path / "outside.py")
    (project / "pyproject.toml").write_text("")
    found = importlib.import_module("inside")
    with pytest.raises(InvalidModelError, match=r"inside\.py leads out of the project"):
        travelling_code(found.Model())
    with pytest.raises(InvalidModelError, match=r"inside\.py leads out of the project"):
        travelling_code(3, ["inside.py"])


def test_a_module_that_changed_after_its_import_is_refused_until_it_is_reloaded(project: Path) -> None:
    found = module(project, "steps", f"{MODEL}def use(rows):\n    return rows\n\n\nRATE = 2\n")
    (project / "steps.py").write_text(f"{MODEL}def use(rows):\n    return rows * 2\n\n\nRATE = 2\n")
    with pytest.raises(InvalidModelError, match=r"steps.py was changed after it was imported: here steps.use"):
        travelling_code(found.Model())
    (project / "steps.py").write_text(f"{MODEL}def use(rows):\n    return rows\n\n\nRATE = 3\n")
    with pytest.raises(InvalidModelError, match=r"here steps.RATE is not what the file says"):
        travelling_code(found.Model())
    os.utime(project / "steps.py", (1, 1))
    assert placed(travelling_code(importlib.reload(found).Model())) == {"code/steps.py": "steps.py"}


def test_an_object_of_a_class_before_the_reload_travels_by_value(project: Path) -> None:
    found = module(project, "again", f"{MODEL}def use(rows):\n    return rows\n")
    before = found.Model()
    importlib.reload(found)
    code = travelling_code(before)
    assert code.by_value == ("Model",)
    code.check_tier("m", Tier.SANDBOX)
    with pytest.raises(FormatRefusedError, match="tier 1 takes code with its source, and of Model it is not known"):
        code.check_tier("m", Tier.LOW)


def test_models_of_compiled_libraries_hold_no_code_of_unknown_source() -> None:
    rows = np.random.default_rng(0).normal(size=(60, 2))
    for kind in (GradientBoostingClassifier(n_estimators=2), HistGradientBoostingClassifier(), KNeighborsClassifier()):
        code = travelling_code(kind.fit(rows, rows[:, 0] > 0))
        assert (code.by_value, code.unfound) == ((), ())
        code.check_tier("m", Tier.LOW)


# ---------------------------------------------------------------- what never travels


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('PASSWORD = "Tr0ub4dor&3"', "a credential in PASSWORD"),
        ('URL = "postgresql://me:hunter2@db.example.org/churn"', "an address with a password"),
        ('AWS = "AKIAIOSFODNN7EXAMPLE"', "a key of a cloud account"),
        ('connect = dict(api_key="0123456789abcdef")', "a credential in api_key"),
        ('options = {"client_secret": "0123456789abcdef"}', "a credential in client_secret"),
        ("KEY = '''-----BEGIN RSA PRIVATE KEY-----\nabc'''", "a private key"),
    ],
)
def test_a_module_with_a_credential_is_refused(project: Path, line: str, said: str) -> None:
    found = module(project, "with_secret", f"{MODEL}def use(rows):\n    return rows\n\n\n{line}\n")
    with pytest.raises(InvalidModelError, match=f"with_secret.py holds what looks like {said}"):
        travelling_code(found.Model())


@pytest.mark.parametrize(
    "line",
    [
        'PASSWORD_COLUMN = "password"',
        'pad_token = "<|endoftext|>"',
        'password = os.environ["DB_PASSWORD"]',
        'URL = "postgresql://{user}:{password}@db.example.org"',
        'FIELDS = {"token": "text", "secret": "column_name"}',
        'primary_key = "customer_number_1"',
    ],
)
def test_words_about_credentials_are_none(line: str) -> None:
    assert secret_in_source(f"import os\n{line}\n") is None


def test_names_of_files_that_never_travel() -> None:
    for name in (".env", "a/.git/config", "id_rsa", "server.pem", "conf/credentials.json", "service_account.json"):
        assert forbidden_name(Path(name)) is not None, name
    for name in ("keys.csv", "tokens.txt", "a/rates.json", "secretary.csv"):
        assert forbidden_name(Path(name)) is None, name
    assert is_secret("db_password", "hunter2")
    assert not is_secret("strategy", "most_frequent")


def test_a_connection_in_a_global_is_named(project: Path) -> None:
    found = module(project, "connected", f"{MODEL}def use(rows):\n    return rows\n")
    model = found.Model()
    with (
        contextlib.closing(sqlite3.connect(":memory:")) as model.database,
        pytest.raises(InvalidModelError, match="an open Connection, and connections do not travel"),
    ):
        travelling_code(model)
    model = found.Model()
    model.api_key = "sk-0123456789abcdef0123456789"
    with pytest.raises(InvalidModelError, match="The model's Model holds api_key, which looks like a credential"):
        travelling_code(model)


def test_a_large_array_that_a_function_drags_along_is_named() -> None:
    big = np.zeros(2_000_000)

    def answer(rows: Any) -> Any:
        return rows * len(big)

    with pytest.raises(InvalidModelError, match=r"The function answer drags big along, 16.0 MB of data \(ndarray\)"):
        travelling_code(answer)


class Holding:
    def __init__(self) -> None:
        self.rates = np.zeros(2_000_000)


class Fitted(Holding):
    def predict(self, rows: Any) -> Any:
        return rows


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (bytes(50_000_000), r"50.0 MB of data \(bytes\)"),
        ([index / 3 for index in range(2_000_000)], r"18.0 MB of data \(list\)"),
        ({"a": {"b": {"c": np.zeros(5_000_000)}}}, r"40.0 MB of data \(dict\)"),
        (Holding(), r"16.0 MB of data \(Holding\)"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_data_that_a_function_drags_along_is_found_wherever_it_is(value: Any, size: str) -> None:
    def answer(rows: Any) -> Any:
        return rows * len(value)

    with pytest.raises(InvalidModelError, match=f"The function answer drags value along, {size}; 10 MB are the most"):
        travelling_code(answer)


def test_what_a_class_holds_counts_and_a_model_that_is_called_does_not() -> None:
    class Priced:
        table = [index / 3 for index in range(2_000_000)]

    with pytest.raises(InvalidModelError, match=r"The class Priced drags table along, 18.0 MB"):
        travelling_code(Priced())
    fitted = {"north": Fitted()}

    def answer(rows: Any) -> Any:
        return fitted["north"].predict(rows)

    assert reach_of(answer).modules


@pytest.mark.parametrize(
    "value",
    [
        {"password": "S3cretPa55w0rd", "since": dt.date(2026, 1, 1)},
        {"databases": [{"host": "a", "password": b"S3cretPa55w0rd"}]},
        ["postgresql://me:S3cretPa55w0rd@db.example.org/churn", object],
    ],
)
def test_a_credential_within_dictionaries_and_lists_is_named(value: Any) -> None:
    def answer(rows: Any) -> Any:
        return rows * len(value)

    with pytest.raises(
        InvalidModelError, match=r"The function answer uses value, and .* in it looks like a credential"
    ):
        travelling_code(answer)
    model = Fitted()
    model.rates = value
    with pytest.raises(
        InvalidModelError, match=r"The model's Fitted holds rates, and .* in it looks like a credential"
    ):
        travelling_code(model)


def test_a_connection_in_a_list_is_named() -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        held = {"databases": [database]}

        def answer(rows: Any) -> Any:
            return rows * len(held)

        with pytest.raises(InvalidModelError, match="databases in it: an open Connection, and connections do not"):
            travelling_code(answer)


# ---------------------------------------------------------------- files


def test_files_and_folders_travel_by_their_paths(project: Path) -> None:
    (project / "data" / "deep").mkdir(parents=True)
    (project / "data" / "rates.csv").write_text("a,b\n")
    (project / "data" / "deep" / "more.bin").write_bytes(b"\xff\xfe")
    (project / "data" / ".DS_Store").write_text("")
    (project / "one.txt").write_text("1")
    code = travelling_code(3, ["data", "one.txt", project / "data" / "rates.csv"])
    assert [file.placed for file in code.files] == ["data/deep/more.bin", "data/rates.csv", "one.txt"]
    assert {file.stored for file in code.files} >= {"model_platform/files/data/rates.csv"}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (".env", "A=1", ".env is a hidden file"),
        ("key.pem", "x", "looks like credentials by its name"),
        (
            "config.json",
            '{"url": "https://me:hunter2@example.org"}',
            "holds what looks like an address with a password",
        ),
    ],
)
def test_files_with_credentials_are_refused(project: Path, name: str, content: str, said: str) -> None:
    (project / name).write_text(content)
    with pytest.raises(InvalidModelError, match=said):
        travelling_code(3, [name])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.yaml", "host: a\npassword: S3cretPa55w0rd\n", r"a credential in password \(line 2\)"),
        ("params.json", '{"rows": 3, "api_key": "9f8e7d6c5b4a"}', r"a credential in api_key \(line 1\)"),
        ("params.json", '{"dbPassword": "9f8e7d6c5b4a"}', r"a credential in dbPassword"),
        ("settings.toml", "[db]\npassword = 'S3cretPa55w0rd'\n", r"a credential in password \(line 2\)"),
        ("settings.ini", "[db]\ndb.password = S3cretPa55w0rd\n", r"a credential in db.password"),
        ("settings.txt", "export DB_PASSWORD=Tr0ub4dor9\n", r"a credential in DB_PASSWORD"),
        ("latin.ini", b"# caf\xe9\npassword=S3cretPa55w0rd\n", r"a credential in password"),
        ("wide.ini", "password=S3cretPa55w0rd\n".encode("utf-16"), r"a credential in password"),
        ("large.yaml", "row: 1\n" * 300_000 + "password: S3cretPa55w0rd\n", r"a credential in password"),
        ("large.bin", b"\0\xff" * 1_000_000 + b"ghp_" + b"a1" * 18, r"a token"),
    ],
)
def test_settings_with_credentials_are_refused(project: Path, name: str, content: str | bytes, said: str) -> None:
    (project / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InvalidModelError, match=f"{name} holds what looks like {said}"):
        travelling_code(3, [name])


@pytest.mark.parametrize(
    "content",
    [
        "password: ${DB_PASSWORD}\ntoken: <your token>\nsecret: changeme\n",
        '{"api_key": null, "properties": {"password": {"type": "string"}, "token": "string"}, "max_tokens": 4096}',
        '{"pad_token": "[PAD]", "eos_token": "<|reserved_special_token_250|>", "unk_token": "unknown"}',
        "password=\napi_key=os.environ['API_KEY']\nprivate_key: keys/server.pem\n",
    ],
)
def test_settings_that_only_speak_of_credentials_travel(project: Path, content: str) -> None:
    (project / "settings.yaml").write_text(content)
    assert len(travelling_code(3, ["settings.yaml"]).files) == 1


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("prep.py", 'DB_PASSWORD = "Tr0ub4dor9"\n', "a credential in DB_PASSWORD (line 1)"),
        ("broken.py", 'print "x"\nKEY = "ghp_' + "a1" * 18 + '"\n', "a token (line 2)"),
        ("conf/settings.yaml", "password: S3cretPa55w0rd\n", "a credential in password (line 1)"),
        ("run.sh", "curl https://me:hunter2@example.org\n", "an address with a password (line 1)"),
        ("tests/test_it.py", 'KEY = "ghp_' + "a1" * 18 + '"\n', "a token (line 1)"),
        ("tests/test_it.py", 'PASSWORD = "hunter2"\nURL = "https://me:hunter2@example.org"\n', None),
        ("url.py", '"""`https://username:password@example.org` is split."""\nAPI_KEY = "api_key"\n', None),
    ],
)
def test_no_package_with_a_credential_is_packed(project: Path, name: str, content: str, said: str | None) -> None:
    (project / name).parent.mkdir(exist_ok=True)
    (project / name).write_text(content)
    (project / "kit-1.0.dist-info").mkdir()
    (project / "kit-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: kit\nVersion: 1.0\n")
    (project / "kit-1.0.dist-info" / "RECORD").write_text(f"{name},,\n")
    found = Distribution.at(project / "kit-1.0.dist-info")
    if said is None:
        assert pack(found, project / "wheels").is_file()
        return
    with pytest.raises(CannotPackError, match=re.escape(f"its file {name} holds what looks like {said}; read it from")):
        pack(found, project / "wheels")


def test_a_link_to_a_hidden_file_of_the_project_is_refused(project: Path) -> None:
    (project / ".env").write_text("A=1")
    (project / "data").mkdir()
    (project / "data" / "settings.txt").symlink_to("../.env")
    with pytest.raises(InvalidModelError, match=r"data/settings\.txt leads to \.env, which is a hidden file"):
        travelling_code(3, ["data"])


def test_a_file_that_is_not_there(project: Path) -> None:
    with pytest.raises(InvalidModelError, match=r"There is no file rates\.csv to travel"):
        travelling_code(3, ["rates.csv"])
