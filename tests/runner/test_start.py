"""A start that fails says why in one line, and in one sentence that holds no data."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture
def copy(models: Any, tmp_path: Path) -> Path:
    return Path(shutil.copytree(models["doubling"].directory, tmp_path / "model"))


def failure(runner: Any) -> tuple[str, str]:
    assert runner.process.wait(60) == 3
    (event,) = [event for event in runner.events() if event["event"] == "failed"]
    return event["code"], event["message"]


def _append(directory: Path) -> None:
    with (directory / "model.pkl").open("ab") as file:
        file.write(b"\0")


def _remove(directory: Path) -> None:
    (directory / "requirements.txt").unlink()


def _add(directory: Path) -> None:
    (directory / "code" / "extra.py").write_text("")


def _link(directory: Path) -> None:
    outside = directory.parent / "outside.pkl"
    (directory / "model.pkl").rename(outside)
    (directory / "model.pkl").symlink_to(outside)


def _link_folder(directory: Path) -> None:
    (directory / "more").symlink_to(directory.parent)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (_append, "model.pkl has changed"),
        (_remove, "requirements.txt is missing"),
        (_add, "code/extra.py was not published with it"),
        (_link, "model.pkl is not a regular file"),
        (_link_folder, "more was not published with it"),
    ],
)
def test_files_that_are_not_those_that_were_published(
    launch: Any, served: Any, copy: Path, change: Callable[[Path], None], what: str
) -> None:
    change(copy)
    runner = launch(copy, files=served("doubling").config["files"])
    message = f"The files of this version are not those that were published: {what}."
    assert failure(runner) == ("failed_integrity", message)
    assert not Path(runner.config["socket"]).exists()


def edit(directory: Path, change: Callable[[dict[str, Any]], None]) -> None:
    file = directory / "MLmodel"
    document = yaml.safe_load(file.read_text())
    change(document)
    file.write_text(yaml.safe_dump(document))


def test_a_missing_module_is_named(launch: Any, copy: Path) -> None:
    (copy / "code" / "machines.py").write_text("import nowhere.at_all\n")
    assert failure(launch(copy)) == ("failed_import", "The model's environment has no module named nowhere.")


def test_an_error_while_loading_is_told_by_type(launch: Any, copy: Path) -> None:
    (copy / "code" / "machines.py").write_text("raise RuntimeError('bob@example.org')\n")
    runner = launch(copy)
    assert failure(runner) == ("failed_start", "The model could not be loaded: RuntimeError.")
    assert "bob" not in runner.log()


def test_a_model_that_leaves_while_loading(launch: Any, copy: Path) -> None:
    (copy / "code" / "machines.py").write_text("raise SystemExit(0)\n")
    assert failure(launch(copy)) == ("failed_start", "The model could not be loaded: SystemExit.")


def test_a_method_that_there_is_not(launch: Any, copy: Path) -> None:
    edit(copy, lambda document: document["metadata"]["model_platform"].update(answers="predict_proba"))
    assert failure(launch(copy)) == ("failed_start", 'The model has no method "predict_proba".')


def test_a_version_for_later_runners(launch: Any, copy: Path) -> None:
    edit(copy, lambda document: document["metadata"]["model_platform"].update(schema=2))
    message = "This version was published for another generation of runners."
    assert failure(launch(copy)) == ("failed_start", message)


def test_a_file_that_is_no_mlmodel(launch: Any, copy: Path) -> None:
    (copy / "MLmodel").write_text("flavors: [")
    assert failure(launch(copy)) == ("failed_start", "MLmodel cannot be used (ParserError).")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"pickled_model": "../outside.pkl"}, "pickled_model of sklearn in MLmodel leads out of the model's folder."),
        ({"pickled_model": "/outside.pkl"}, "pickled_model of sklearn in MLmodel leads out of the model's folder."),
        ({"code": "../.."}, "code of sklearn in MLmodel leads out of the model's folder."),
        ({"serialization_format": "dill"}, "serialization_format in MLmodel is none of skops, pickle, cloudpickle."),
        (
            {"serialization_format": "skops", "skops_trusted_types": {"machines.Doubling": 1}},
            "skops_trusted_types in MLmodel is no list of names.",
        ),
    ],
)
def test_what_mlmodel_must_not_make_the_runner_load(
    launch: Any, copy: Path, changes: dict[str, Any], what: str
) -> None:
    edit(copy, lambda document: document["flavors"]["sklearn"].update(changes))
    assert failure(launch(copy)) == ("failed_start", what)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"access": "anybody"}, "The runner's configuration is not usable: access is neither token nor open."),
        ({"colour": "red"}, "The runner's configuration is not usable: colour is not a known key."),
        ({"limits": {"row": 1}}, "The runner's configuration is not usable: limits.row is not a known key."),
        ({"access": "token", "public_keys": {"key-1": "short"}}, 'The public key "key-1" is not an Ed25519 key.'),
    ],
)
def test_configurations_that_cannot_be_used(launch: Any, copy: Path, changes: dict[str, Any], what: str) -> None:
    assert failure(launch(copy, **changes)) == ("failed_start", what)


def test_a_socket_whose_path_is_too_long(launch: Any, copy: Path, tmp_path: Path) -> None:
    code, message = failure(launch(copy, socket=str(tmp_path / ("x" * 120))))
    assert code == "failed_start"
    assert message.endswith("cannot be opened: AF_UNIX path too long.")


def test_a_plain_registration_serves_without_our_metadata(launch: Any, copy: Path) -> None:
    def make_plain(document: dict[str, Any]) -> None:
        del document["metadata"]
        document["signature"] = None

    edit(copy, make_plain)
    runner = launch(copy)
    assert runner.wait_for_event("ready")["batching"] is False
    rows = [{"value": 1, "seconds": 0, "fail": False}, {"value": 2.5, "seconds": 0, "fail": False}]
    assert runner.calls.post("/", json=rows).json() == [{"prediction": 2.0}, {"prediction": 5.0}]


def test_a_stale_socket_is_replaced(launch: Any, models: Any) -> None:
    first = launch(models["doubling"].directory)
    first.wait_for_event("ready")
    first.process.kill()
    first.process.wait()
    assert Path(first.config["socket"]).exists()
    second = launch(models["doubling"].directory, socket=first.config["socket"])
    second.wait_for_event("ready")
    assert second.calls.get("/ping").status_code == 200
    assert second.stop() == 0


def test_usage() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "model_platform_runner"], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (2, "usage: model_platform_runner CONFIG.json\n")
