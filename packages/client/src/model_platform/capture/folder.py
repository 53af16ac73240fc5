"""What a publish finds out about a folder that was saved before: an MLmodel file and what lies beside it."""

from __future__ import annotations

import os
import platform
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from model_platform.capture.blocks import is_arrow
from model_platform.capture.environment import pinned, written_environment
from model_platform.capture.fingerprint import Fingerprinting, fingerprinting
from model_platform.capture.kept import Kept, RowsFrom
from model_platform.capture.origin import Origin
from model_platform.capture.publish import Order, write_parity_sample
from model_platform.capture.quiet import import_mlflow, quiet
from model_platform.capture.result import TRAINED_ELSEWHERE
from model_platform.capture.subject import DEFAULT_METHOD, PYFUNC, Subject
from model_platform.capture.table import as_library_takes, as_table
from model_platform.capture.trial import Trial, try_out
from model_platform.capture.variable import names_a_place
from model_platform.capture.warned import told
from model_platform_core.cards import Tier
from model_platform_core.environments import EnvironmentRecord
from model_platform_core.errors import InvalidInputError, InvalidModelError

_LARGE = 16 << 20
_EXAMPLE = "saved_input_example_info"
_SHOWN = 5


def saved_folder(folder: Path, order: Order, where: str) -> Callable[[bool], FolderCapture]:
    """What publishes a saved MLflow model as it lies there. Nothing is loaded, unless there are rows to compare.

    Parameters
    ----------
    order
        Of its rows, `data` is given a fingerprint, and `example` is asked for the parity proof.
    where
        Where the folder is from, for the card: a path, or a URI.

    Raises
    ------
    InvalidModelError
        If the folder holds no readable MLmodel file.
    InvalidInputError
        If the order asks for what only an object can have.
    """
    described = _read(folder)
    answers = str(described["flavors"].get("python_function", {}).get("predict_fn", DEFAULT_METHOD))
    if order.answers not in {None, answers}:
        raise InvalidInputError(
            f"{where} answers with {answers}, as it was saved; --answers {order.answers} is for an object.",
            hint="load it in a cell, and publish the variable",
        )
    if order.files:
        raise InvalidInputError(
            f"{where} has its files in it; --with {order.files[0]} is for an object whose code reads files.",
            hint="load it in a cell, and publish the variable",
        )
    return lambda personal: FolderCapture.of(order, folder, described, where, personal=personal)


@dataclass(frozen=True)
class FolderCapture:
    """What was found out about a saved model. `examples` are those of its files that hold rows, and stay behind."""

    folder: Path
    described: Mapping[str, Any]
    trained: str
    subject: Subject | None
    trial: Trial | None
    fingerprinting: Fingerprinting | None
    examples: tuple[str, ...]

    @classmethod
    def of(
        cls, order: Order, folder: Path, described: Mapping[str, Any], where: str, *, personal: bool
    ) -> FolderCapture:
        """Look at it; if there is an example, load it and ask it that."""
        table = None
        if not (names_a_place(order.data) or order.data is None or is_arrow(order.data)):
            table = as_table(order.data, "--data")
        running = fingerprinting(order.data_name, order.data, table)
        sentences = [f"{TRAINED_ELSEWHERE}; an MLflow model from {where}."]
        if differences := _differences(folder, described):
            sentences.append(f"Saved with {', '.join(differences)}.")
        subject = trial = None
        if order.example is not None:
            model, warned = _loaded(folder)
            sentences += [f"When it was read: {warning}" for warning in warned]
            subject = Subject(model, DEFAULT_METHOD, PYFUNC, "MLflow model")
            rows = as_table(order.example, "--example")
            trial = try_out(subject, rows if described.get("is_signature_from_type_hint") else as_library_takes(rows))
        examples = _examples(folder, described) if personal else ()
        return cls(folder, described, " ".join(sentences), subject, trial, running, examples)

    @property
    def kept(self) -> Kept | None:
        """Which rows may be stored."""
        return Kept(RowsFrom.EXAMPLE, self.trial) if self.trial else None

    @property
    def said(self) -> str:
        """That rows stay behind, if there are any."""
        if not self.examples:
            return ""
        return f"Left out, as they hold rows of data that may be personal: {', '.join(self.examples)} (--pii none)."

    def how(self, _origin: Origin) -> str:
        """Where it is from, and of which versions it was."""
        return self.trained

    def check_tier(self, _name: str, _tier: Tier) -> None:
        """The gate looks into its files."""

    def write(self, folder: Path) -> EnvironmentRecord:
        """Write a copy without the rows that may not be kept, and with the sample of the example."""
        shutil.copytree(self.folder, folder, copy_function=_copy, ignore=self._left_out)
        if self.examples:
            described = {name: value for name, value in self.described.items() if name != _EXAMPLE}
            (folder / "MLmodel").write_text(yaml.safe_dump(described, sort_keys=False), encoding="utf-8")
        if self.trial is not None:
            write_parity_sample(folder, self.trial.parity_sample())
        return _environment(folder, self.described)

    def _left_out(self, place: str, names: list[str]) -> set[str]:
        """Links, which could lead anywhere; rows; and where an earlier version of it came from."""
        inside = Path(place).relative_to(self.folder)
        paths = {name: (inside / name).as_posix() for name in names}
        left = {name for name, path in paths.items() if path in self.examples or path == "model_platform/lineage"}
        return left | {name for name in names if (Path(place) / name).is_symlink()}


def _copy(source: str, target: str) -> None:
    """What is large is not copied; nothing ever writes into that."""
    try:
        if Path(source).stat().st_size > _LARGE:
            os.link(source, target)
            return
    except OSError:
        pass
    shutil.copy2(source, target)


def _examples(folder: Path, described: Mapping[str, Any]) -> tuple[str, ...]:
    """The files that hold the rows of an input example, by path."""
    known = described.get(_EXAMPLE)
    path = str(known.get("artifact_path") or "") if isinstance(known, dict) else ""
    names = {path, str(known.get("serving_input_path") or "")} if isinstance(known, dict) else set()
    names |= {"input_example.json", "serving_input_example.json", "serving_input_payload.json"}
    return tuple(sorted(name for name in names if name and (folder / name).is_file()))


def _loaded(folder: Path) -> tuple[Any, tuple[str, ...]]:
    """The model as MLflow loads it, and what the library warned of meanwhile."""
    try:
        with quiet(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = import_mlflow(PYFUNC).load_model(str(folder))
    except Exception as error:
        first = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        raise InvalidModelError(
            f"The model cannot be loaded here to answer the example: {first}", hint="publish it without --example"
        ) from error
    return model, told(caught)


def _differences(folder: Path, described: Mapping[str, Any]) -> list[str]:
    """Versions that the folder was saved with, and that are others here."""
    demanded = _demanded(folder)
    here = dict(line.split("==", 1) for line in pinned([line.partition("==")[0] for line in demanded]))
    python, ours = _python(described), platform.python_version()
    found = [f"Python {python} (here {ours})"] if python.split(".")[:2] != ours.split(".")[:2] else []
    for line in demanded:
        name, _, version = line.partition("==")
        if here.get(name) != version:
            found.append(f"{name} {version} (here {here.get(name, 'none')})")
    return found if len(found) <= _SHOWN else [*found[:_SHOWN], f"{len(found) - _SHOWN} more"]


def _python(described: Mapping[str, Any]) -> str:
    return str(described["flavors"].get("python_function", {}).get("python_version") or platform.python_version())


def _demanded(folder: Path) -> list[str]:
    """The lines of its requirements that name one version."""
    try:
        lines = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [line.strip() for line in lines if "==" in line and not line.startswith(("#", "-"))]


def _read(folder: Path) -> dict[str, Any]:
    path = folder / "MLmodel"
    try:
        described = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        described = None
    if not isinstance(described, dict) or not described.get("flavors"):
        raise InvalidModelError(
            f"{folder} holds no MLmodel file that can be read; give a folder that save_model of MLflow wrote.",
            hint="in a notebook or a script: mp.publish(model, …)",
        )
    return described


def _environment(folder: Path, described: Mapping[str, Any]) -> EnvironmentRecord:
    """What the folder says of the environment it was saved in; this one where it has all that the folder demands."""
    return written_environment(folder, _python(described))
