"""When a version is the same again: by what its files say, not by their bytes, by its environment, and by its card.

Archives hold the time and the memory addresses of their making, pickles the order of a random hash: files of equal objects
differ. Here they are read for what they say. Cells, changes and times do not count: they tell where a version came from.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import IO, Any

from model_platform_core.cards import ModelCard
from model_platform_core.environments import EnvironmentRecord
from model_platform_core.models import FileEntry, ModelVersion
from model_platform_core.pickles import NotReadError, digest_of_pickle
from model_platform_core.values import Sha256, digest_of

Opener = Callable[[str], AbstractContextManager[IO[bytes]]]
"""Opens a file of a version, by its path, for reading."""

_NOT_COUNTED = "model_platform/lineage/"
_PARITY = "model_platform/parity.json"
_DESCRIPTION = "MLmodel"
_MADE_WHEN = frozenset({"utc_time_created", "model_uuid", "model_id", "run_id", "model_size_bytes", "artifact_path"})
_OF_A_DAY = frozenset({"code", "review_by"})

_ARCHIVES = (".skops", ".whl", ".zip", ".npz", ".keras", ".pt", ".pth")
_PICKLES = (".pkl", ".pickle", ".cloudpickle")
_LARGEST_PICKLE = 16 << 20
_LARGEST_DOCUMENT = 64 << 20
_LARGEST_ARCHIVE = 4 << 30
_BLOCK = 1 << 20


def content_digest(
    files: Iterable[FileEntry],
    open_file: Opener,
    described: Mapping[str, Any],
    environment: EnvironmentRecord | None,
) -> Sha256:
    """The identity of an object in its environment: equal for equal objects, whenever and wherever they were saved.

    Parameters
    ----------
    files
        All files of the version, with their digests.
    open_file
        Opens one of them; asked only for those whose bytes may differ though they say the same.
    described
        What its `MLmodel` file says.
    environment
        Where it was made.
    """
    said = {
        file.path: _digest_of_file(file, open_file)
        for file in files
        if file.path != _DESCRIPTION and not file.path.startswith(_NOT_COUNTED)
    }
    kept = {name: value for name, value in described.items() if name not in _MADE_WHEN}
    made_in = environment.lock_sha256 if environment else None
    return digest_of([sorted(said.items()), _plain(kept), made_in])


def same_again(content: Sha256, card: ModelCard, last: ModelVersion | None) -> bool:
    """Whether publishing this object with this card would make the last version once more."""
    return last is not None and last.content_sha256 == content and same_card(card, last.card)


def same_card(one: ModelCard, other: ModelCard) -> bool:
    """Whether two cards say the same of a version. A data set whose digest is not known yet is taken for the same."""
    pairs = zip(one.data, other.data, strict=False)
    same_data = all(a.sha256 == b.sha256 for a, b in pairs if a.sha256 is not None and b.sha256 is not None)
    return same_data and _counted(one) == _counted(other)


def _counted(card: ModelCard) -> dict[str, Any]:
    """What of a card counts: not the notebook that it was published from, nor a date that follows from the day."""
    content = card.model_dump(mode="json", exclude_defaults=True, exclude=set(_OF_A_DAY))
    for data in content.get("data", ()):
        data.pop("sha256", None)
    training = content.get("training")
    if training is not None:
        training.pop("executed_notebook_sha256", None)
    return content


def _plain(value: object) -> Any:
    """What a file said, as JSON can say it."""
    return json.loads(json.dumps(value, default=str, skipkeys=True), parse_constant=str)


def _digest_of_file(file: FileEntry, open_file: Opener) -> str:
    path = file.path.lower()
    try:
        if path.endswith(_ARCHIVES):
            with open_file(file.path) as stream, zipfile.ZipFile(stream) as archive:
                return _digest_of_archive(archive)
        if path.endswith(_PICKLES) and file.size <= _LARGEST_PICKLE:
            with open_file(file.path) as stream:
                return digest_of_pickle(stream)
        if path == _PARITY and file.size <= _LARGEST_DOCUMENT:
            with open_file(file.path) as stream:
                return _digest_of_rows(stream)
    except (NotReadError, zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, RecursionError):
        return file.sha256  # it is not what it is called; then its bytes count
    return file.sha256


def _digest_of_archive(archive: zipfile.ZipFile) -> str:
    """Of what lies in an archive: neither the order nor the time of writing counts."""
    members = [member for member in archive.infolist() if not member.is_dir()]
    if sum(member.file_size for member in members) > _LARGEST_ARCHIVE:
        raise NotReadError("it unpacks to more than is read")
    digests = {member.filename: _digest_of_member(archive, member) for member in members}
    if "schema.json" not in digests:
        return digest_of(sorted(digests.items()))
    # skops names its members by memory addresses, and says in the schema which object each belongs to.
    if archive.getinfo("schema.json").file_size > _LARGEST_DOCUMENT:
        raise NotReadError("its schema is larger than is read")
    return digest_of(_without_addresses(json.loads(archive.read("schema.json")), digests))


def _digest_of_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> str:
    digest = hashlib.sha256()
    if member.filename == "metadata.json" and member.file_size <= _LARGEST_DOCUMENT:  # Keras writes the time into it
        said = json.loads(archive.read(member))
        return digest_of({name: value for name, value in said.items() if name != "date_saved"})
    with archive.open(member) as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _without_addresses(node: Any, members: Mapping[str, str]) -> Any:
    if isinstance(node, list):
        return [_without_addresses(one, members) for one in node]
    if isinstance(node, dict):
        found = {name: _without_addresses(value, members) for name, value in node.items() if name != "__id__"}
        if found.get("__loader__") == "SetNode" and isinstance(found.get("content"), list):
            found["content"].sort(key=digest_of)
        return found
    return members.get(node, node) if isinstance(node, str) else node


def _digest_of_rows(stream: IO[bytes]) -> str:
    """Of the rows of a parity sample. Its answers follow from the object, and may differ where they are drawn."""
    sample = json.load(stream)
    if not isinstance(sample, dict):
        raise NotReadError("it is no parity sample")
    return digest_of({name: value for name, value in sample.items() if name != "answers"})
