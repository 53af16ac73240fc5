"""What a runner, or any MLflow client, loads of a version: the one table of flavours, their files, their formats.

MLmodel tells it, not the names of files: a pickle may be called `model.onnx`, and whoever is told to unpickle it does.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from model_platform_core.errors import InvalidModelError
from model_platform_core.models import ArtifactFormat, check_relative_path

_SKOPS = "skops"


@dataclass(frozen=True)
class Loaded:
    """How a version is loaded.

    `unpickled` are the files that are unpickled, whatever they are called; `archives` those that must be zip files,
    because another reader would take anything else for a pickle; `code` the folder of modules that come along.
    """

    format: ArtifactFormat = ArtifactFormat.UNKNOWN
    unpickled: frozenset[str] = frozenset()
    archives: frozenset[str] = frozenset()
    code: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Flavour:
    """A flavour that this platform knows: the key in its section that names its file, the format of that file.

    Where `classes` is set, the file holds one of these only; another class is stored as scikit-learn's are.
    """

    file: str
    format: ArtifactFormat | None = None  # None: `serialization_format` tells
    classes: re.Pattern[str] | None = None
    suffix: str = ""  # what MLflow adds to the name


_FLAVOURS: Mapping[str, _Flavour] = {
    "sklearn": _Flavour("pickled_model"),
    "xgboost": _Flavour("data", ArtifactFormat.XGBOOST, re.compile(r"xgboost\.core\.Booster|xgboost\.sklearn\.XGB\w+")),
    "lightgbm": _Flavour("data", ArtifactFormat.LIGHTGBM, re.compile(r"lightgbm\.basic\.Booster")),
    "catboost": _Flavour("data", ArtifactFormat.CATBOOST),
    "onnx": _Flavour("data", ArtifactFormat.ONNX),
    "keras": _Flavour("data", ArtifactFormat.KERAS, suffix=".keras"),
    "statsmodels": _Flavour("data", ArtifactFormat.PICKLE),
    "pmdarima": _Flavour("data", ArtifactFormat.PICKLE),
    "pytorch": _Flavour("data", ArtifactFormat.PICKLE),
}
"""By name. A flavour that is not here is `unknown`: nobody knows what loading it runs."""

_FUNCTION = "python_function"
_OF_OBJECT = "mlflow.pyfunc.model"
_FUNCTION_FILES = ("data", "model_path")
_WORST_FIRST = (ArtifactFormat.PICKLE, ArtifactFormat.UNKNOWN)


def loaded(model: Mapping[str, Any], paths: Collection[str]) -> Loaded:
    """What is loaded of a version, by whichever of its flavours somebody loads it.

    Parameters
    ----------
    model
        The MLmodel file.
    paths
        The version's files, below its folder.

    Raises
    ------
    InvalidModelError
        If the flavours cannot be read, or name a file that is not among the version's.
    """
    return _Look(_sections(model), frozenset(paths)).all()


def _sections(model: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    flavours = model.get("flavors") or {}
    if not isinstance(flavours, dict) or not all(
        isinstance(name, str) and isinstance(section, dict | None) for name, section in flavours.items()
    ):
        raise InvalidModelError("The flavours in MLmodel cannot be read; log the model again.")
    return {name: section or {} for name, section in flavours.items()}


class _Look:
    def __init__(self, sections: Mapping[str, Mapping[str, Any]], paths: frozenset[str]) -> None:
        self.sections, self.paths = sections, paths
        self.unpickled: set[str] = set()
        self.archives: set[str] = set()
        self.code = frozenset(path for name in sections for path in self._below(name, "code"))

    def all(self) -> Loaded:
        formats = {self._format(name) for name in self.sections} or {ArtifactFormat.UNKNOWN}
        if any(path.endswith("/MLmodel") for path in self.paths):
            formats.add(ArtifactFormat.UNKNOWN)  # some flavours would read that one instead
        worst = [one for one in _WORST_FIRST if one in formats]
        own = sorted(formats - {ArtifactFormat.SOURCE})
        found = worst[0] if worst else own[0] if own else ArtifactFormat.SOURCE
        return Loaded(found, frozenset(self.unpickled), frozenset(self.archives), self.code)

    def _format(self, name: str) -> ArtifactFormat:
        if name == _FUNCTION:
            return self._of_function(self.sections[name])
        known = _FLAVOURS.get(name)
        if known is None:
            return ArtifactFormat.UNKNOWN
        default = "data" if name == "keras" else None
        return self._note(self._stored(name, known), self._files(name, known.file, default, known.suffix))

    def _stored(self, name: str, known: _Flavour) -> ArtifactFormat:
        section = self.sections.get(name)
        if section is None:
            return ArtifactFormat.PICKLE  # what MLflow takes for granted where it is told nothing
        if name == "keras" and section.get("save_exported_model"):
            return ArtifactFormat.UNKNOWN  # TensorFlow's graphs read and write files
        kind = section.get("model_class")
        default_class = known.classes is not None and "model_class" not in section
        own = known.classes is None or default_class or (isinstance(kind, str) and known.classes.fullmatch(kind))
        if known.format is not None and own:
            return known.format
        if name == "xgboost":
            return ArtifactFormat.UNKNOWN  # MLflow would import and call whatever is named there
        return ArtifactFormat.SKOPS if section.get("serialization_format") == _SKOPS else ArtifactFormat.PICKLE

    def _of_function(self, section: Mapping[str, Any]) -> ArtifactFormat:
        files = {path for key in _FUNCTION_FILES for path in self._files(_FUNCTION, key)}
        loader = section.get("loader_module")
        if not isinstance(loader, str):
            return ArtifactFormat.UNKNOWN
        name = loader.removeprefix("mlflow.")
        if loader.startswith("mlflow.") and name in _FLAVOURS:
            return self._note(self._stored(name, _FLAVOURS[name]), files)
        if loader == _OF_OBJECT:
            objects = self._files(_FUNCTION, "python_model")
            source = self._files(_FUNCTION, "model_code_path")
            self.unpickled |= objects
            return ArtifactFormat.PICKLE if objects or not source else ArtifactFormat.SOURCE
        return ArtifactFormat.SOURCE if loader in modules(self.code) else ArtifactFormat.UNKNOWN

    def _note(self, found: ArtifactFormat, files: Collection[str]) -> ArtifactFormat:
        if found is ArtifactFormat.PICKLE:
            self.unpickled |= {path for path in files if path in self.paths}
        if found in {ArtifactFormat.SKOPS, ArtifactFormat.KERAS}:
            self.archives |= {path for path in files if path in self.paths}
        return found

    def _files(self, name: str, key: str, default: str | None = None, suffix: str = "") -> set[str]:
        """The file, or the folder, that a section names; with a suffix, the file in it that MLflow looks for."""
        named = self.sections.get(name, {}).get(key, default)
        if named is None:
            return set()
        path = _checked(named, f"{key} of {name}")
        if suffix and self._is_folder(path):
            path = f"{path}/model"
        if suffix:
            path += suffix
        if path not in self.paths and not self._is_folder(path):
            raise InvalidModelError(f"MLmodel names {path}, which is not among the model's files; log the model again.")
        return {path}

    def _below(self, name: str, key: str) -> Iterator[str]:
        named = self.sections[name].get(key)
        if named is None:
            return
        folder = _checked(named, f"{key} of {name}") + "/"
        yield from (path.removeprefix(folder) for path in self.paths if path.startswith(folder))

    def _is_folder(self, path: str) -> bool:
        return any(one.startswith(f"{path}/") for one in self.paths)


def _checked(named: Any, what: str) -> str:
    try:
        if isinstance(named, str):
            return check_relative_path(named)
    except ValueError:
        pass
    raise InvalidModelError(f"{what} in MLmodel leads out of the model's folder, or is no path; log the model again.")


def modules(paths: Collection[str]) -> frozenset[str]:
    """The modules that Python files below a folder are, if the folder comes first where Python looks.

    Of folders only those with an `__init__.py`: of others, an installed package of the same name would be taken.
    """
    files = {path for path in paths if path.endswith(".py")}
    folders = {path.removesuffix("/__init__.py") for path in files if path.count("/") == 1}
    folders = {folder for folder in folders if f"{folder}/__init__.py" in files}
    kept = {path for path in files if "/" not in path or path.partition("/")[0] in folders}
    return frozenset(path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in kept)
