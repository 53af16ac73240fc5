"""What the gate finds in a model's files: digests, card, signature, environment. No model code runs.

Everything here comes from strangers: a file that is too large, too deep, or not what it should be is an InvalidModelError.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from model_platform_core.cards import ModelCard
from model_platform_core.environments import EnvironmentRecord
from model_platform_core.errors import InvalidModelError
from model_platform_core.flavours import loaded, modules
from model_platform_core.gate import CODE_BY_VALUE, UNREVIEWED_TYPES
from model_platform_core.lineage import Lineage
from model_platform_core.models import ArtifactFormat, FileEntry, manifest_digest
from model_platform_core.reviewed_types import REVIEWED_TYPES
from model_platform_core.signatures import Signature
from model_platform_server.adapters.scanning.scan import Brought, is_archive, scan

UNFINISHED = ".artifact.uploading."
"""MLflow's local artifact store gives this prefix to files that are still coming in."""

_CHUNK = 1 << 20
_LARGEST_TEXT = 4 << 20
_MOST_VALUES = 200_000
_DEEPEST = 60


@dataclass(frozen=True)
class Evidence:
    """A model's files as they were examined, and what is to be written of them with the version."""

    location: str
    files: tuple[FileEntry, ...]
    card: ModelCard
    signature: Signature = field(default_factory=Signature)
    behaviour: Mapping[str, Any] = field(default_factory=dict)
    lineage: Lineage = field(default_factory=Lineage)
    model_id: str | None = None
    content_sha256: str | None = None
    format: ArtifactFormat = ArtifactFormat.UNKNOWN

    @property
    def sha256(self) -> str:
        """The identity of the bytes."""
        return manifest_digest(self.files)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def scanned(self, root: Path, name: str, model: Mapping[str, Any]) -> Evidence:
        """The same after a look into every file that is unpickled, or may hold a pickle.

        Parameters
        ----------
        root
            Where the files lie.
        name
            What a refusal calls them.
        model
            What their MLmodel says.

        Raises
        ------
        FormatRefusedError
            If something speaks against one of them.
        InvalidModelError
            If a file that MLmodel names is not there, or not what it is said to be.
        """
        paths = [file.path for file in self.files]
        how = loaded(model, paths)
        for path in sorted(how.archives):
            if not is_archive(root / path):
                raise InvalidModelError(f"{path} is not the archive that MLmodel says it is; log the model again.")
        found = scan(root, paths, name, Brought(how.unpickled, modules(how.code)))
        shown: dict[str, Any] = {
            CODE_BY_VALUE: found.by_value,
            UNREVIEWED_TYPES: sorted(trusted_types(model) - REVIEWED_TYPES),
        }
        known = {key: value for key, value in self.behaviour.items() if key not in shown}
        seen = {key: value for key, value in shown.items() if value}
        stored = ArtifactFormat.PICKLE if found.pickles else how.format
        return replace(self, format=stored, behaviour=known | seen)


def digest_files(root: Path) -> tuple[FileEntry, ...]:
    """Every file below a folder with its digest, in order of path; read in chunks, whatever the size.

    Raises
    ------
    InvalidModelError
        If something there is no plain file, or its name cannot be kept.
    """
    return tuple(_entry(root, path) for path in _plain_files(root))


def list_files(root: Path) -> dict[str, int]:
    """Path and size of every file below a folder; raises InvalidModelError as `digest_files`."""
    return {path.relative_to(root).as_posix(): path.stat().st_size for path in _plain_files(root)}


def _plain_files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if name.startswith(UNFINISHED):
                continue
            if path.is_symlink() or not path.is_file():
                raise InvalidModelError(f"{name} is no plain file; a model consists of plain files.")
            yield path


def _entry(root: Path, path: Path) -> FileEntry:
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    try:
        return FileEntry(path=path.relative_to(root).as_posix(), size=size, sha256=f"sha256:{digest.hexdigest()}")
    except (ValidationError, UnicodeError):
        raise InvalidModelError(f"The file name {path.name!r} cannot be kept; rename it and log again.") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """A mapping from a YAML file; empty if there is no such file. Raises InvalidModelError."""
    if not path.is_file():
        return {}
    if path.stat().st_size > _LARGEST_TEXT:
        raise InvalidModelError(f"{path.name} is larger than {_LARGEST_TEXT >> 20} MiB.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError, OverflowError):
        raise InvalidModelError(f"{path.name} is no YAML that can be read; log the model again.") from None
    if not isinstance(content, dict):
        raise InvalidModelError(f"{path.name} holds no fields; log the model again.")
    _bound(content, path.name)
    return content


def _bound(content: object, name: str) -> None:
    """A few lines of YAML can stand for billions of values, or for themselves: count what they stand for."""
    waiting = [(content, 1)]
    for _ in range(_MOST_VALUES):
        if not waiting:
            return
        value, depth = waiting.pop()
        if depth > _DEEPEST:
            break
        inner = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        if isinstance(inner, list | tuple | set):
            waiting += [(one, depth + 1) for one in inner]
    raise InvalidModelError(f"{name} holds more than can be kept, or is nested too deeply.")


def plain(value: Any, name: str) -> Any:
    """The value as JSON keeps it; raises InvalidModelError for what JSON does not know."""
    try:
        return json.loads(json.dumps(value, allow_nan=False, default=str))
    except (TypeError, ValueError, RecursionError):
        raise InvalidModelError(f"{name} in MLmodel holds what JSON cannot say.") from None


def metadata_of(model: Mapping[str, Any]) -> dict[str, Any]:
    """What `log_model(metadata=…)` was given."""
    metadata = model.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def signature_of(model: Mapping[str, Any]) -> Signature:
    """The signature in an MLmodel file; raises InvalidModelError if it is none."""
    written = model.get("signature")
    if not isinstance(written, dict):
        return Signature()
    try:
        sides = {side: json.loads(written[side]) if written.get(side) else None for side in ("inputs", "outputs")}
        return Signature.model_validate(plain(sides, "signature"))
    except (ValidationError, TypeError, ValueError, RecursionError):
        raise InvalidModelError("The signature in MLmodel cannot be read; log the model again.") from None


def behaviour_of(model: Mapping[str, Any]) -> dict[str, Any]:
    """What publish found out about the model (from its metadata), and its flavours.

    Without the levels of categories: they may be personal, and only the runner needs them, from the model's files.
    """
    known = metadata_of(model).get("model_platform")
    flavours = [str(name) for name in model.get("flavors") or ()] if isinstance(model.get("flavors"), dict) else []
    main = [name for name in flavours if name != "python_function"] or flavours
    found = plain(known, "model_platform") if isinstance(known, dict) else {}
    columns = (found.get("rows") or {}).get("columns") if isinstance(found.get("rows"), dict) else None
    for column in columns.values() if isinstance(columns, dict) else ():
        if isinstance(column, dict):
            column.pop("levels", None)
    return {**found, "flavor": main[0] if main else None, "flavors": flavours}


def trusted_types(model: Mapping[str, Any]) -> set[str]:
    """The types that its flavours want trusted when a skops file is loaded.

    Raises
    ------
    InvalidModelError
        If they are not given as a list of names: who loads the model could read more in it than is compared here.
    """
    flavours = model.get("flavors")
    sections = flavours.values() if isinstance(flavours, dict) else ()
    found: set[str] = set()
    for section in sections:
        names = section.get("skops_trusted_types") if isinstance(section, dict) else None
        if names is None:
            continue
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InvalidModelError("skops_trusted_types in MLmodel is no list of names; log the model again.")
        found.update(names)
    return found


def environment_of(model: Mapping[str, Any], root: Path) -> EnvironmentRecord | None:
    """Python and packages that the model says it needs; None if it does not say which Python."""
    flavours = model.get("flavors")
    function = flavours.get("python_function") if isinstance(flavours, dict) else None
    version = function.get("python_version") if isinstance(function, dict) else None
    if not isinstance(version, str):
        return None
    path = root / "requirements.txt"
    small = path.is_file() and path.stat().st_size <= _LARGEST_TEXT
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if small else []
    packages = tuple(line for line in (raw.partition("#")[0].strip() for raw in lines) if "==" in line)
    return EnvironmentRecord(python=version, platform="", packages=packages)
