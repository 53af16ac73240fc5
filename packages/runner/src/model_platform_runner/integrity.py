"""The files of a version are those that were published: checked before anything of them is read."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from model_platform_runner.errors import StartError

_CHUNK = 1 << 20


def verify(directory: Path, files: dict[str, str]) -> None:
    """Compare a model directory with its digests, ``{"MLmodel": "sha256:<hex>", …}``.

    Raises
    ------
    StartError
        ``failed_integrity``: a file is missing, changed, unexpected, or not a regular file.
    """
    found = dict(_walk(directory))
    if missing := sorted(files.keys() - found.keys()):
        raise _broken(f"{missing[0]} is missing")
    if extra := sorted(found.keys() - files.keys()):
        raise _broken(f"{extra[0]} was not published with it")
    for name, path in sorted(found.items()):
        if path.is_symlink() or not path.is_file():
            raise _broken(f"{name} is not a regular file")
        if _digest(path) != files[name]:
            raise _broken(f"{name} has changed")


def _walk(directory: Path) -> Iterator[tuple[str, Path]]:
    for folder, folders, names in os.walk(directory):
        links = [each for each in folders if (Path(folder) / each).is_symlink()]
        for name in [*names, *links]:
            path = Path(folder) / name
            yield path.relative_to(directory).as_posix(), path


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


def _broken(what: str) -> StartError:
    return StartError("failed_integrity", f"The files of this version are not those that were published: {what}.")
