"""The project around a notebook: its root, which modules are its own files, and what those import.

A module is the project's own where an import statement finds it as a `.py` file that belongs to no installed
distribution. Nothing is imported here to find that out: files are looked up and their text is read.
"""

from __future__ import annotations

import ast
import importlib.machinery
import sys
import sysconfig
import tempfile
import types
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from model_platform.capture.distributions import in_place
from model_platform_core.errors import InvalidModelError

_MARKS = (".git", ".hg", ".svn", "pyproject.toml", "setup.py", "setup.cfg")
_LEVELS = 2  # from a notebook's folder up to the one that holds src beside it
_OURS = frozenset({"model_platform", "model_platform_core", "model_platform_server", "model_platform_runner"})
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_COMPILED = "_cython_"  # where compiled modules share Cython's own types: a module that nobody wrote


@dataclass(frozen=True)
class ProjectModule:
    """A file that an import statement finds; `entry` is the folder of `sys.path` below which it was found."""

    name: str
    file: Path
    entry: Path

    @property
    def stored(self) -> str:
        """Its path below a folder that stands on `sys.path`: `features/text.py`."""
        name = self.name.replace(".", "/")
        return f"{name}/__init__.py" if self.file.name == "__init__.py" else f"{name}.py"


def project_root(folder: Path) -> Path:
    """The nearest folder from here upwards that holds a repository or a project file; else the folder itself."""
    folder = folder.resolve()
    for one in (folder, *folder.parents):
        if one in _too_wide():
            break
        if any((one / mark).exists() for mark in _MARKS):
            return one
    return folder


def widened(root: Path, entries: Collection[Path]) -> Path:
    """The root, or the folder close above that holds these entries of `sys.path` too, where nothing marks a project."""
    if any((root / mark).exists() for mark in _MARKS):
        return root
    above = [one for one in list(root.parents)[:_LEVELS] if one not in _too_wide()]
    beside = [entry for entry in entries if not entry.is_relative_to(root)]
    around = (one for one in above if all(entry.is_relative_to(one) for entry in beside))
    return next(around, root) if beside else root


@cache
def _too_wide() -> frozenset[Path]:
    """Folders that hold everybody's things: the home folder and what lies above it, the folder for temporary files."""
    home, temporary = Path.home().resolve(), Path(tempfile.gettempdir()).resolve()
    top = Path(home.anchor)
    return frozenset({home, *home.parents, temporary, *temporary.parents, *(one for one in (top / "opt", top / "srv"))})


def find_module(name: str) -> ProjectModule | None:
    """The project's own file of a module; None for installed modules, built-in ones, and those that nobody finds.

    Raises
    ------
    InvalidModelError
        If it is a compiled file of the project.
    """
    if name.partition(".")[0] in _OURS:
        return None
    spec = _spec(name)
    origin = spec.origin if spec is not None else None
    if spec is None or origin is None or not spec.has_location:
        return None
    file = Path(origin)
    entry = file.parents[name.count(".") + file.name.startswith("__init__.")]
    if _is_installed(file):
        return None
    if file.suffix != ".py":
        raise InvalidModelError(
            f"The model imports {name}, which is compiled ({file.name}) and travels with no model.",
            hint="install it as a package, then import it from there",
        )
    return ProjectModule(name, file, entry)


def is_found(name: str) -> bool:
    """Whether an import statement would find a module that is loaded, or its package: by its path alone it is not."""
    loaded = sys.modules.get(name)
    file = getattr(loaded, "__file__", None)
    if loaded is None or (file is not None and _INSTALLED & set(Path(file).parts)):
        return True
    if file is not None:
        return _spec(name) is not None
    return name.startswith(_COMPILED) or _spec(name.partition(".")[0]) is not None


def _spec(name: str) -> importlib.machinery.ModuleSpec | None:
    """Where a module lies: as it was imported, else where an import statement would find it. Imports nothing."""
    path: Sequence[str] | None = None
    spec = None
    for part in with_parents(name):
        spec = _found(part, path)
        if spec is None:
            return None
        # A package that is loaded knows itself where its modules lie.
        path = list(getattr(sys.modules.get(part), "__path__", spec.submodule_search_locations or ()))
    known = getattr(sys.modules.get(name), "__spec__", None)
    # Found at another place than where it was imported from: the path has changed since.
    return known if known is not None and known.has_location else spec


def _found(name: str, path: Sequence[str] | None) -> importlib.machinery.ModuleSpec | None:
    if path is None or len(path):
        for finder in sys.meta_path:
            if hasattr(finder, "find_spec") and (spec := finder.find_spec(name, path)):
                return spec
    return None


@cache
def _python() -> tuple[Path, ...]:
    return tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))


def _is_installed(file: Path) -> bool:
    """Of Python itself or of a package; one that is installed in place travels as a package too."""
    inside = any(file.resolve().is_relative_to(folder) for folder in _python())
    return inside or bool(_INSTALLED & set(file.parts)) or in_place(file) is not None


def imports_in(source: str, module: ProjectModule) -> set[str]:
    """Full names of all that a file imports, at its top or when it runs, with the packages around them.

    `from a import b` gives `a` and `a.b`, which need not be a module.
    """
    package = module.name if module.file.name == "__init__.py" else module.name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            found.update([base, *(f"{base}.{alias.name}" for alias in node.names if alias.name != "*")])
    return {each for name in found if name for each in with_parents(name)}


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    base = ".".join(parts[: len(parts) - node.level + 1])
    return ".".join(part for part in (base, node.module) if part)


def with_parents(name: str) -> list[str]:
    """`a.b.c` as a, a.b and a.b.c."""
    parts = name.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


def changed_since_import(module: types.ModuleType, source: str, file: Path) -> str | None:
    """The name in a loaded module whose code the file does not hold any more; None where both agree.

    Only what surely differs counts: functions and methods that were read from this very file.
    """
    if type(getattr(module.__spec__, "loader", None)) is not importlib.machinery.SourceFileLoader:
        return None  # an import hook may have rewritten the code
    tree = ast.parse(source)
    written = set(code_objects(compile(source, str(file), "exec", dont_inherit=True)))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for name, code in _codes_of(node.name, vars(module).get(node.name)):
                if code.co_filename == module.__file__ and code not in written:
                    return name
        elif (constant := _plain_constant(node)) and _is_told_once(tree, constant):
            value, loaded = ast.literal_eval(node.value), vars(module).get(constant)  # type: ignore[attr-defined]
            if type(value) is not type(loaded) or value != loaded:
                return constant
    return None


def _codes_of(name: str, value: object) -> Iterator[tuple[str, types.CodeType]]:
    if isinstance(value, types.FunctionType):
        yield name, value.__code__
    elif isinstance(value, type):
        for inner, found in vars(value).items():
            function = getattr(found, "__func__", found)
            if isinstance(function, types.FunctionType):
                yield f"{name}.{inner}", function.__code__


def code_objects(code: types.CodeType) -> Iterator[types.CodeType]:
    """A code object and all within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from code_objects(constant)


def texts_in(source: str) -> set[str]:
    """The texts that code holds as constants."""
    return texts_of(compile(source, "<source>", "exec", dont_inherit=True))


def texts_of(code: types.CodeType) -> set[str]:
    """The texts that code holds as constants, functions within it too."""
    return {text for one in code_objects(code) for text in one.co_consts if isinstance(text, str)}


def _plain_constant(node: ast.stmt) -> str | None:
    """The name in `NAME = 3`: one name, and a value that cannot change by itself."""
    if not (isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)):
        return None
    minus = isinstance(node.value, ast.UnaryOp) and isinstance(node.value.op, ast.USub)
    value = node.value.operand if minus else node.value  # type: ignore[attr-defined]
    plain = isinstance(value, ast.Constant) and isinstance(value.value, int | float | str | bool)
    return node.targets[0].id if plain else None


def _is_told_once(tree: ast.Module, name: str) -> bool:
    stores = [one for one in ast.walk(tree) if isinstance(one, ast.Name) and one.id == name]
    told = sum(isinstance(one.ctx, ast.Store | ast.Del) for one in stores)
    return told == 1 and not any(isinstance(one, ast.Global) and name in one.names for one in ast.walk(tree))
