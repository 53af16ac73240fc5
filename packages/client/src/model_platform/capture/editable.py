"""Editable installs: where the modules lie that such a package stands for."""

from __future__ import annotations

import json
import re
import site
import sysconfig
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

_NEVER_A_PACKAGE = frozenset(
    {"build", "dist", "docs", "examples", "node_modules", "notebooks", "scripts", "test", "tests"}
)

_TEXT = r"""(?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")"""
_MAPPING = re.compile(rf"^MAPPING\b[^=\n]*=\s*(\{{\s*(?:{_TEXT}\s*:\s*{_TEXT}\s*,?\s*)*\}})", re.MULTILINE)


def direct_url(distribution: Distribution) -> Mapping[str, Any]:
    """What the installer wrote down of an install that did not come from an index; empty if it did."""
    try:
        found = json.loads(distribution.read_text("direct_url.json") or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def local_path(url: str) -> Path | None:
    """The path that a `file:` address means; None for any other address."""
    parts = urlsplit(url)
    return Path(url2pathname(unquote(parts.path))) if parts.scheme == "file" else None


def is_editable(distribution: Distribution) -> bool:
    """Whether the package is used from the folder in which it is worked on."""
    told = direct_url(distribution).get("dir_info")
    return bool(isinstance(told, dict) and told.get("editable")) or _develops(distribution)


def editable_modules(distribution: Distribution) -> dict[str, Path]:
    """The top modules of an editable install and the file or folder of each; empty where nobody can tell.

    A build backend that compiles on import (meson, scikit-build) tells nobody.
    """
    if _develops(distribution):
        root = Path(str(distribution.locate_file("")))
        return _below(root, _names(distribution), whole=False)
    project = local_path(str(direct_url(distribution).get("url", "")))
    found: dict[str, Path] = {}
    for file in distribution.files or ():
        path = Path(str(distribution.locate_file(file)))
        if file.suffix == ".pth":
            for root in _folders_of(path):
                found |= _below(root, _names(distribution), whole=root.resolve() != (project and project.resolve()))
        elif re.match(r"__editable__.*finder\.py$", file.name):
            found |= _mapped(path)
    return found


def _develops(distribution: Distribution) -> bool:
    """`setup.py develop`: the metadata lie beside the source, which is on the path."""
    at = Path(str(distribution.locate_file(""))).resolve()
    return (
        distribution.read_text("RECORD") is None and distribution.read_text("PKG-INFO") is not None and not _is_site(at)
    )


@cache
def _site_folders() -> frozenset[Path]:
    known = [*site.getsitepackages(), site.getusersitepackages(), *sysconfig.get_paths().values()]
    return frozenset(Path(folder).resolve() for folder in known)


def _is_site(folder: Path) -> bool:
    return folder in _site_folders() or folder.name in {"site-packages", "dist-packages"} or folder.suffix == ".egg"


def _folders_of(pth: Path) -> Iterator[Path]:
    try:
        lines = pth.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        path = pth.parent / line.strip()
        if line.strip() and not line.startswith(("#", "import ", "import\t")) and path.is_dir():
            yield path


def _names(distribution: Distribution) -> set[str]:
    """What a package's top modules are called: as it says itself, else as the package is called."""
    told = set((distribution.read_text("top_level.txt") or "").split())
    return told or {re.sub(r"[-.]+", "_", distribution.metadata["Name"]).lower()}


def _below(root: Path, names: set[str], *, whole: bool) -> dict[str, Path]:
    """The importable things of a folder: all of them, or of a project's own folder those that belong to the package."""
    found = {path.stem: path for path in sorted(root.iterdir()) if _is_importable(path)}
    if whole:
        return found
    named = {name: path for name, path in found.items() if name.lower() in {each.lower() for each in names}}
    return named or {
        name: path for name, path in found.items() if (path / "__init__.py").is_file() and name not in _NEVER_A_PACKAGE
    }


def _is_importable(path: Path) -> bool:
    if not path.stem.partition(".")[0].isidentifier() or path.name == "setup.py":
        return False
    return any(path.rglob("*.py")) if path.is_dir() and "." not in path.name else path.suffix == ".py"


def _mapped(finder: Path) -> dict[str, Path]:
    """What setuptools wrote: `MAPPING = {"package": "/where/it/is"}`."""
    try:
        text = finder.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return {}
    found = _MAPPING.search(text)
    try:
        # Nothing but texts, so `eval` runs nothing; `ast.literal_eval` is not for threads (see
        # model_platform_core.requirements).
        mapping: dict[str, str] = eval(found[1], {"__builtins__": {}}) if found else {}  # noqa: S307
    except SyntaxError:
        return {}
    return {name: path for name, at in mapping.items() if (path := _existing(Path(at)))}


def _existing(path: Path) -> Path | None:
    return next((each for each in (path, path.with_name(f"{path.name}.py")) if each.exists()), None)
