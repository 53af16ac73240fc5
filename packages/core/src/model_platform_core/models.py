"""Registered models and their versions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from model_platform_core.cards import ModelCard, Tier
from model_platform_core.lineage import Lineage
from model_platform_core.signatures import Signature
from model_platform_core.values import Observed, Sha256, Value, digest_of


def check_relative_path(path: str) -> str:
    """Return a path that stays below the model's folder: `/` between parts, no leading `/`, no `.` or `..` part.

    Raises
    ------
    ValueError
        If it could lead elsewhere.
    """
    if path.startswith("/") or "\\" in path or "\x00" in path or {"", ".", ".."} & set(path.split("/")):
        raise ValueError("a path lies below the model's folder, with / between its parts")
    return path


# A path names a file as it is: white space at its ends is kept.
RelativePath = Annotated[
    str, StringConstraints(strip_whitespace=False, min_length=1, max_length=500), AfterValidator(check_relative_path)
]


class FileEntry(Value):
    """One file of a version: path below its folder, size in bytes, digest."""

    path: RelativePath
    size: int = Field(ge=0)
    sha256: Sha256


def manifest_digest(files: Iterable[FileEntry]) -> str:
    """The identity of a version's bytes: the digest over every path and every file's digest, in order of path."""
    return digest_of(sorted((file.path, file.sha256) for file in files))


class ArtifactFormat(StrEnum):
    """How a model is stored. What loads by running code is `pickle`; from tier 2 it is refused."""

    SKOPS = "skops"
    ONNX = "onnx"
    SAFETENSORS = "safetensors"
    XGBOOST = "xgboost"
    LIGHTGBM = "lightgbm"
    CATBOOST = "catboost"
    KERAS = "keras"
    SOURCE = "python-source"
    PROMPT = "prompt"
    PICKLE = "pickle"
    UNKNOWN = "unknown"


def format_allowed(found: ArtifactFormat, tier: Tier) -> bool:
    """Whether a version of this tier may be stored so: from tier 2, nothing that runs code when it is loaded."""
    return tier < Tier.MATERIAL or found not in {ArtifactFormat.PICKLE, ArtifactFormat.UNKNOWN}


UNDO_FOR = dt.timedelta(days=30)
"""For so long a deleted version can come back; then it is purged, bytes too. Its number is never given again."""


class RegisteredModel(Observed):
    """A model's name and what holds for all of its versions; `aliases` maps an alias to a version."""

    zone: str
    name: str
    description: str = ""
    tags: dict[str, str] = {}
    aliases: dict[str, int] = {}
    newest_version: int | None = None
    tier: Tier | None = None
    owner: str | None = None
    created_at: dt.datetime
    updated_at: dt.datetime

    @property
    def full_name(self) -> str:
        """`zone.name`."""
        return f"{self.zone}.{self.name}"


class ModelVersion(Observed):
    """One version: the bytes by digest, the card's newest revision, where it came from, what it accepts and answers.

    `behaviour` is what publish found out: the answering method, whether rows are independent, the flavour.
    `content_sha256` is the identity of the object in its environment (`identity.py`), None where it was not asked for.
    `governed` is False for versions that came into the database past the gate.
    """

    zone: str
    name: str
    version: int
    artifact_sha256: Sha256
    content_sha256: Sha256 | None = None
    files: tuple[FileEntry, ...] = ()
    size: int = 0
    format: ArtifactFormat = ArtifactFormat.UNKNOWN
    card: ModelCard = ModelCard()
    card_sha256: Sha256 | None = None
    card_revision: int = 1
    lineage: Lineage = Lineage()
    signature: Signature = Signature()
    behaviour: dict[str, Any] = {}
    aliases: tuple[str, ...] = ()
    description: str = ""
    model_id: str | None = None
    run_id: str | None = None
    governed: bool = True
    published_by: str
    published_at: dt.datetime

    @property
    def full_name(self) -> str:
        """`zone.name`."""
        return f"{self.zone}.{self.name}"
