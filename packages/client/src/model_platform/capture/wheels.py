"""Packages that are on no index travel as wheels, packed from the very files that this process imports.

Nothing is built and nothing is written beside the user's files; the same files give the same wheel, byte by byte.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import sys
import sysconfig
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution
from itertools import chain
from pathlib import Path, PurePosixPath

from model_platform.capture.contents import secret_in_package
from model_platform.capture.editable import editable_modules, is_editable
from model_platform.capture.forbidden import forbidden_name

_WRITTEN_BY_INSTALLERS = frozenset(
    {"RECORD", "INSTALLER", "REQUESTED", "WHEEL", "METADATA", "direct_url.json", "uv_cache.json", "uv_build.json"}
)
_NATIVE = frozenset({".so", ".pyd", ".dylib", ".dll"})
_PROGRAMS = frozenset({"bin", "Scripts"})
_LARGEST_TEXT = 1 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)


class CannotPackError(Exception):
    """Why a package cannot travel, in a few words."""


def pack(distribution: Distribution, folder: Path) -> Path:
    """Write the wheel of an installed package into a folder; returns its path.

    Raises
    ------
    CannotPackError
        If not all of its files can be found.
    """
    editable = is_editable(distribution)
    found = _worked_on(distribution) if editable else _installed(distribution)
    files = {name: path for name, path in found if not path.name.startswith(".")}
    if not files:
        raise CannotPackError("nobody can tell which files it consists of")
    _check_no_credentials(files)
    tags = _tags(distribution, [*files], editable=editable)
    base = _base(distribution)
    parts = zip(*(tag.split("-") for tag in tags), strict=True)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "-".join([base, *(".".join(sorted(set(part))) for part in parts)])
    path = path.with_name(f"{path.name}.whl")
    _write(path, files, _described(distribution, tags), f"{base}.dist-info")
    return path


def _base(distribution: Distribution) -> str:
    """Name and version as file names of wheels hold them."""
    return f"{re.sub(r'[-_.]+', '_', distribution.metadata['Name'])}-{distribution.version.replace('-', '_')}"


def _worked_on(distribution: Distribution) -> Iterator[tuple[str, Path]]:
    for name, path in editable_modules(distribution).items():
        at = name.replace(".", "/")
        if path.is_file():
            yield f"{at}{path.suffix}", path
        else:
            yield from ((f"{at}/{inside}", file) for inside, file in _tree(path))


def _tree(root: Path) -> Iterator[tuple[str, Path]]:
    """The files of a package's folder: none that are hidden, none that lie elsewhere, none that Python makes."""
    whole = root.resolve()
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root)
        hidden = any(
            part.startswith(".") or part == "__pycache__" or part.endswith(".egg-info") for part in inside.parts
        )
        if hidden or path.suffix == ".pyc" or not path.is_file() or not path.resolve().is_relative_to(whole):
            continue
        yield inside.as_posix(), path


def _installed(distribution: Distribution) -> Iterator[tuple[str, Path]]:
    """The files that an installer put in place; programs beside them are left: a model starts none."""
    record = distribution.read_text("RECORD")
    if record is None:
        raise CannotPackError("its installer kept no list of its files")
    prefix = Path(sys.prefix).resolve()
    for name in (row[0] for row in csv.reader(record.splitlines()) if row):
        file, path = PurePosixPath(name), Path(str(distribution.locate_file(name)))
        if file.suffix == ".pyc" or file.parent.name.endswith(".dist-info"):
            continue
        if not path.is_file():
            raise CannotPackError(f"its file {file.name} is not there any more")
        if not file.is_absolute() and ".." not in file.parts:
            yield name, path
        elif path.resolve().is_relative_to(prefix):
            inside = path.resolve().relative_to(prefix)
            if inside.parts[0] not in _PROGRAMS:
                yield f"{_base(distribution)}.data/data/{inside.as_posix()}", path


def _check_no_credentials(files: Mapping[str, Path]) -> None:
    """Nothing, or CannotPackError: what looks like a credential travels in no way."""
    for name, path in files.items():
        is_module = path.suffix in {".py", ".pyi"}  # `credentials.py` is what a package calls its code
        if not is_module and (why := forbidden_name(PurePosixPath(path.name))):
            raise CannotPackError(f"its file {name} {why}")
        if path.stat().st_size > _LARGEST_TEXT or b"\0" in (content := path.read_bytes()):
            continue  # compiled, or data
        if found := secret_in_package(PurePosixPath(name), content.decode(errors="replace")):
            raise CannotPackError(
                f"its file {name} holds what looks like {found}; read it from os.environ, or keep it elsewhere"
            )


def _tags(distribution: Distribution, files: Iterable[str], *, editable: bool) -> list[str]:
    """For which Pythons the wheel is: as the package says, but what is compiled here is for here."""
    told = re.findall(r"^Tag:\s*(\S+-\S+-\S+)\s*$", distribution.read_text("WHEEL") or "", re.MULTILINE)
    if told and not editable:
        return told
    if any(PurePosixPath(file).suffix in _NATIVE for file in files):
        python = f"cp{sys.version_info.major}{sys.version_info.minor}"
        return [f"{python}-{python}-{re.sub('[-.]', '_', sysconfig.get_platform())}"]
    return ["py3-none-any"]


def _described(distribution: Distribution, tags: Iterable[str]) -> dict[str, bytes]:
    """The files of the wheel's `dist-info`."""
    metadata = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    pure = all(tag.endswith("-none-any") for tag in tags)
    wheel = ["Wheel-Version: 1.0", "Generator: model-platform", f"Root-Is-Purelib: {str(pure).lower()}"]
    found = {
        "METADATA": metadata.encode(),
        "WHEEL": "".join(f"{line}\n" for line in [*wheel, *(f"Tag: {tag}" for tag in tags)]).encode(),
    }
    for name in ("entry_points.txt", "top_level.txt"):
        if (text := distribution.read_text(name)) is not None:
            found[name] = text.encode()
    return found


def _write(path: Path, files: dict[str, Path], described: dict[str, bytes], info: str) -> None:
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        contents = ((name, files[name].read_bytes()) for name in sorted(files))
        for name, content in chain(contents, ((f"{info}/{each}", text) for each, text in described.items())):
            _add(archive, name, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            rows.writerow([name, f"sha256={digest}", len(content)])
        rows.writerow([f"{info}/RECORD", "", ""])
        _add(archive, f"{info}/RECORD", record.getvalue().encode())


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.external_attr = 0o644 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, content)
