"""What was there before a publish: the zone, the model's last version; and what is said or asked because of it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_platform.capture.card_fields import ComposedCard
from model_platform.capture.origin import Origin
from model_platform.client import Client
from model_platform.display.surface import has_kernel, shell
from model_platform_core.errors import ForbiddenError, ModelNotFoundError, NearNameError
from model_platform_core.identity import content_digest, same_again
from model_platform_core.models import FileEntry, ModelVersion
from model_platform_core.refs import ModelRef
from model_platform_core.wire import RegisterVersion
from model_platform_core.zones import Zone

_SHORTEST = 4
"""In a shorter name one letter is too much of it to be a slip."""


@dataclass(frozen=True)
class Earlier:
    """The zone, None where the actor may publish without seeing it; and the last version, None for a new model."""

    zone: Zone | None
    last: ModelVersion | None


def look_back(client: Client, ref: ModelRef, *, new_name: bool) -> Earlier:
    """What is there of a model; for a new one whose name is one edit from a known one, a person is asked.

    Parameters
    ----------
    new_name
        The name is meant as it is: nothing is asked.

    Raises
    ------
    NearNameError
        If nobody is there to ask, or the answer was no.
    """
    last = last_version(client, ref)
    if last is None and not new_name:
        _check_name(client, ref)
    return Earlier(read_zone(client, ref), last)


def read_zone(client: Client, ref: ModelRef) -> Zone | None:
    """The model's zone; None where the actor may publish without seeing it."""
    try:
        return client.get_zone(ref.zone or client.zone)
    except ForbiddenError:
        return None


def last_version(client: Client, ref: ModelRef) -> ModelVersion | None:
    """The newest version of the model so far."""
    try:
        return next(iter(client.versions(str(ref), limit=1)), None)
    except (ModelNotFoundError, ForbiddenError):
        return None


# ---------------------------------------------------------------- a new name


def one_edit_apart(one: str, other: str) -> bool:
    """Whether a slip could have made one name of the other: a letter more, less, changed or swapped, or upper case.

    A number that differs is meant: `churn` and `churn2` are two names.

    >>> one_edit_apart("churn", "chrun"), one_edit_apart("churn", "churn2")
    (True, False)
    """
    if one == other or min(len(one), len(other)) < _SHORTEST:
        return False
    if one.casefold() == other.casefold():
        return True
    left, right = _without_common_ends(one, other)
    if (left + right).isdigit():
        return False
    swapped = len(left) == 2 and left == right[::-1]
    return swapped or max(len(left), len(right)) == 1


def _without_common_ends(one: str, other: str) -> tuple[str, str]:
    shortest, start, end = min(len(one), len(other)), 0, 0
    while start < shortest and one[start] == other[start]:
        start += 1
    while end < shortest - start and one[-1 - end] == other[-1 - end]:
        end += 1
    return one[start : len(one) - end], other[start : len(other) - end]


def _check_name(client: Client, ref: ModelRef) -> None:
    near = _near(ref.name, (model.name for model in client.models(zone=ref.zone)))
    if not near:
        return
    known = " and ".join(near[:3])
    said = f"There is no model {ref.name} yet, but there is {known}, one letter away."
    if _somebody_is_there() and _says_yes(f"{said} Make a new model {ref.name}? [y/N] "):
        return
    raise NearNameError(
        f"{said} Nothing was published.", hint=f"--name {near[0]}, or --new-name if {ref.name} is meant"
    )


def _near(name: str, known: Iterable[str]) -> Sequence[str]:
    names = list(known)
    return [] if name in names else sorted(one for one in names if one_edit_apart(name, one))


def _somebody_is_there() -> bool:
    """Whether a person can type an answer: papermill, nbconvert, scripts and pipes take no input."""
    if has_kernel():
        return bool(getattr(shell().kernel, "_allow_stdin", False))
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def _says_yes(question: str) -> bool:
    try:
        return input(question).strip().lower() in {"y", "yes"}
    except EOFError:
        return False


# ---------------------------------------------------------------- the last version


def differs_from_last(last: ModelVersion | None, actor: str, origin: Origin) -> str:
    """A sentence if the last version came from another person or notebook; empty if not, or nobody knows."""
    if last is None:
        return ""
    notebook, repository = last.lineage.notebook, last.lineage.git_repository
    by = f" by {last.published_by}" if last.published_by != actor else ""
    # Two repositories may both have a `notebooks/churn.ipynb`; one without a remote address is not known by name.
    other_repository = bool(
        repository and origin.repository and _without_transport(repository) != _without_transport(origin.repository)
    )
    elsewhere = bool(notebook and origin.path and (notebook != origin.path or other_repository))
    if not by and not elsewhere:
        return ""
    where = f" from {_placed(notebook, repository if other_repository else None)}" if notebook else ""
    here = f"; this is {_placed(origin.path, origin.repository if other_repository else None)}" if elsewhere else ""
    return f"The last version, {last.version}, was published{by}{where}{here}."


def _without_transport(repository: str) -> str:
    """What two addresses of one repository have in common: `git@host:a/b.git` is `https://host/a/b`."""
    place = re.sub(r"^(?:\w+://)?(?:[^@/]+@)?", "", repository)
    return place.replace(":", "/").rstrip("/").removesuffix(".git")


def _placed(path: str | None, repository: str | None) -> str:
    return f"{path} of {repository}" if repository else str(path)


def asks_for_review(written: Mapping[str, Any], last: ModelVersion | None) -> bool:
    """Whether a person writes another date of review than the last version has: a date that was guessed does not count."""
    date = written.get("review_by")
    return last is not None and date is not None and str(date) != str(last.card.review_by)


def is_unchanged(
    folder: Path,
    described: Mapping[str, Any],
    files: Sequence[FileEntry],
    request: RegisterVersion,
    composed: ComposedCard,
    last: ModelVersion | None,
) -> bool:
    """Whether a saved model with its card is the last version once more. The server decides; this spares an upload."""
    if request.new or last is None or last.content_sha256 is None or request.lineage.environment is None:
        return False
    content = content_digest(files, lambda path: (folder / path).open("rb"), described, request.lineage.environment)
    return same_again(content, composed.card, last)
