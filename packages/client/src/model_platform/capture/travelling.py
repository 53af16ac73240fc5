"""The code and the files that travel with a model: found, checked, and laid out as they lie in the project.

A version keeps modules below `code/`, by the name under which they are imported, and data files below
`model_platform/files/`, by their path in the project. The runner lays both out again as the project has them, so that
`open("data/rates.csv")` and `Path(__file__).parent` find what they found in the notebook.
"""

from __future__ import annotations

import os
import shutil
import sys
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import cloudpickle

from model_platform.capture import wrapper
from model_platform.capture.contents import secret_in_file
from model_platform.capture.forbidden import forbidden_name, secret_in_source
from model_platform.capture.project import (
    ProjectModule,
    changed_since_import,
    find_module,
    imports_in,
    is_found,
    project_root,
    texts_in,
    texts_of,
    widened,
    with_parents,
)
from model_platform.capture.reach import CacheWrapper, reach_of
from model_platform.capture.sources import SourceModule, source_module
from model_platform.display import words
from model_platform.display.surface import shell
from model_platform_core.cards import Tier
from model_platform_core.errors import FormatRefusedError, InvalidModelError

CODE = "code"
FILES = "model_platform/files"
_MOST_FILES = 5_000


@dataclass(frozen=True)
class TravellingFile:
    """A file and where it goes: `stored` below the version's folder, `placed` below the project's root."""

    source: Path
    stored: str
    placed: str


@dataclass(frozen=True)
class TravellingCode:
    """Everything that travels beside the model itself.

    `imported` are the modules that it imports, installed ones too; `by_value` names what is stored inside the pickle;
    `environment` are variables that are set here and that the code mentions.
    """

    root: Path
    directory: str = "."
    entries: tuple[str, ...] = (".",)
    modules: tuple[TravellingFile, ...] = ()
    files: tuple[TravellingFile, ...] = ()
    written: SourceModule | None = None
    imported: frozenset[str] = frozenset()
    by_value: tuple[str, ...] = ()
    environment: frozenset[str] = frozenset()
    unfound: tuple[types.ModuleType, ...] = field(default=(), repr=False)

    @contextmanager
    def by_reference(self) -> Iterator[None]:
        """While this holds, a pickle refers to what travels as files, and holds only what cannot."""
        with ExitStack() as stack:
            if self.written is not None:
                stack.enter_context(self.written.standing_in())
            for module in self.unfound:
                if module.__name__ not in cloudpickle.list_registry_pickle_by_value():
                    cloudpickle.register_pickle_by_value(module)
                    stack.callback(cloudpickle.unregister_pickle_by_value, module)
            yield

    def write_modules(self, folder: Path, *, wrapped: bool) -> list[str]:
        """Write what goes into `code/`; returns its entries, as MLflow's `code_paths`."""
        for file in self.modules:
            _copy(file.source, folder / PurePosixPath(file.stored).relative_to(CODE))
        if self.written is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{self.written.name}.py").write_text(self.written.source, encoding="utf-8")
            if self.written.values:
                (folder / f"{self.written.name}.pkl").write_bytes(self.written.pickled_values())
        if wrapped:
            _copy(wrapper.source_file(), folder / wrapper.source_file().name)
        return [str(path) for path in sorted(folder.iterdir())] if folder.is_dir() else []

    def write_files(self, folder: Path) -> None:
        """Write the data files below the version's folder."""
        for file in self.files:
            _copy(file.source, folder / file.stored)

    def layout(self) -> dict[str, Any] | None:
        """What the runner needs to lay the project out again; None if there is nothing to lay out."""
        placed = {file.stored: file.placed for file in (*self.modules, *self.files)}
        return {"directory": self.directory, "entries": list(self.entries), "files": placed} if placed else None

    def told(self) -> dict[str, list[str]]:
        """What the card tells beside the files: what comes from the notebook as text, what by value, what is read."""
        return {
            "notebook": list(self.written.defined) if self.written else [],
            "by_value": list(self.by_value),
            "environment": sorted(self.environment),
        }

    def check_tier(self, name: str, tier: Tier) -> None:
        """Nothing, or FormatRefusedError: above tier 0 nothing travels whose source nobody can read."""
        if tier is Tier.SANDBOX or not self.by_value:
            return
        raise FormatRefusedError(
            f"{name} was not published: tier {int(tier)} takes code with its source, and of"
            f" {words.listed(list(self.by_value))} it is not known.",
            hint="define it with def or class at the top of a cell, or in a .py file of the project, run that again,"
            " and change nothing of it afterwards",
        )


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def travelling_code(model: Any, paths: Sequence[str | Path] = ()) -> TravellingCode:
    """Find what has to travel with a model.

    Parameters
    ----------
    paths
        Data files and folders that are named for it, as its code opens them.

    Raises
    ------
    InvalidModelError
        Names what must not travel, or cannot: a file outside of the project, a credential, a connection, data above
        10 MB that a function drags along, a module that was changed after it was imported.
    """
    first = reach_of(model)
    written = source_module(first.defined, _notebook_names()) if first.defined else None
    found = _Modules(Path.cwd())
    with ExitStack() as stack:
        if written is not None:
            if secret := secret_in_source(written.source):
                raise InvalidModelError(
                    f"The notebook's code for the model holds what looks like {secret.partition(' (line')[0]}; it does"
                    " not travel.",
                    hint='os.environ["…"] where it is used',
                )
            stack.enter_context(written.standing_in())
        reached = [reach_of(model), reach_of(dict(written.values))] if written is not None else [first]
    names = {name for one in reached for name in one.modules} | (written.imports if written else set())
    names -= {written.name} if written else set()
    found.add(names)
    inside = [one for part in reached for one in (*part.defined, *part.detached)]
    for one in inside:
        _check_by_value(one)
    unfound = tuple(sys.modules[name] for name in sorted(names) if name != "__main__" and not is_found(name))
    by_value = {getattr(one, "__qualname__", str(one)) for one in inside}
    by_value |= {f"{module.__name__}.py" for module in unfound}
    texts = found.texts() | (texts_in(written.source) if written else set())
    texts |= {text for one in inside if isinstance(one, types.FunctionType) for text in texts_of(one.__code__)}
    root = found.root()
    files = _data_files(paths, root)
    return TravellingCode(
        root=root,
        directory=_relative(Path.cwd(), root),
        entries=tuple(dict.fromkeys([*(_relative(one.entry, root) for one in found.modules.values()), "."])),
        modules=tuple(found.files(root)),
        files=tuple(files),
        written=written,
        imported=frozenset(found.seen | names) - found.modules.keys(),
        by_value=tuple(sorted(one for one in by_value if one.partition(".")[0] not in by_value - {one})),
        environment=frozenset(os.environ.keys() & texts),
        unfound=unfound,
    )


def _outermost_package(name: str) -> str:
    """The widest package around a module that has a file: a folder without one may hold anything else besides."""
    return next((one for one in with_parents(name) if getattr(sys.modules.get(one), "__file__", None)), name)


def _check_by_value(value: Any) -> None:
    """Nothing, or InvalidModelError: what functools keeps beside a function is held by no pickle."""
    overloaded = "singledispatch" if {"dispatch", "registry"} <= vars(value).keys() else None
    wrapper = "cache" if isinstance(value, CacheWrapper) else overloaded
    if wrapper and not isinstance(value, type):
        raise InvalidModelError(
            f"{value.__qualname__} is wrapped by functools.{wrapper}, and what it does by now stands in no single cell;"
            " so it cannot travel.",
            hint="move it with all that belongs to it into a .py file of the project, and import it from there",
        )


def _notebook_names() -> Mapping[str, Any]:
    running = shell()
    return running.user_ns if running is not None else vars(sys.modules["__main__"])


class _Modules:
    """The project's own modules that are needed, with all that they import."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.seen: set[str] = set()
        self.modules: dict[str, ProjectModule] = {}
        self._sources: dict[str, str] = {}

    def add(self, names: Iterable[str]) -> None:
        """Take these modules in, the packages around them, and whatever their files import."""
        waiting = [each for name in names for each in with_parents(name)]
        while waiting:
            name = waiting.pop()
            if not name or name in self.seen:
                continue
            self.seen.add(name)
            module = find_module(name)
            if module is None:
                continue
            self.modules[name] = module
            self._sources[name] = source = _read(module)
            waiting += [one for one in imports_in(source, module) if one not in self.seen]
            package = _outermost_package(name)
            waiting += [
                one for one in list(sys.modules) if one.startswith(f"{package}.")
            ]  # what it imported by other means

    def texts(self) -> set[str]:
        """All texts in their code."""
        return set().union(*map(texts_in, self._sources.values()))

    def root(self) -> Path:
        """The project's root: the one around the notebook, with the folders that it put on `sys.path`."""
        root = project_root(self._folder)
        return widened(root, {one.entry.resolve() for one in self.modules.values()})

    def files(self, root: Path) -> Iterator[TravellingFile]:
        """Every module as a file, checked."""
        for name, module in sorted(self.modules.items()):
            placed = _below(module.file, root, f"The model imports {name}")
            if why := _forbidden(module.file, placed, root):
                raise InvalidModelError(
                    f"The model imports {placed}, which {why}; it does not travel.", hint="rename it, or do without it"
                )
            source = self._sources[name]
            if secret := secret_in_source(source):
                raise InvalidModelError(
                    f"{placed} holds what looks like {secret}; it does not travel.",
                    hint='os.environ["…"] where it is used',
                )
            loaded = sys.modules.get(name)
            if loaded is not None and (changed := changed_since_import(loaded, source, module.file)):
                raise InvalidModelError(
                    f"{placed} was changed after it was imported: here {name}.{changed} is not what the file says.",
                    hint=f"importlib.reload({name}), make the model again, and publish",
                )
            yield TravellingFile(module.file, f"{CODE}/{module.stored}", placed)


def _read(module: ProjectModule) -> str:
    try:
        return module.file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidModelError(f"The model imports {module.file}, which cannot be read: {error}.") from None


def _relative(path: Path, root: Path) -> str:
    try:
        return path.resolve().relative_to(root).as_posix()
    except ValueError:
        return "."


def _below(path: Path, root: Path, said: str) -> str:
    """The path below the project's root; raises InvalidModelError if it lies elsewhere, or a link leads there."""
    shown = Path(path.parent.resolve(), path.name)
    if path.resolve().is_relative_to(root) and shown.is_relative_to(root):
        return shown.relative_to(root).as_posix()
    where = f"leads out of the project ({root})" if path.is_symlink() else f"lies outside of the project ({root})"
    raise InvalidModelError(
        f"{said}, but {path} {where}, and what lies there does not travel.",
        hint="put it into the project, or install it as a package",
    )


def _forbidden(file: Path, placed: str, root: Path) -> str | None:
    """Why a file below the root never travels by its name, or by that of the file to which a link leads."""
    led = _relative(file, root)
    if (why := forbidden_name(PurePosixPath(placed))) or led == placed:
        return why
    return f"leads to {led}, which {why}" if (why := forbidden_name(PurePosixPath(led))) else None


def _holding(secret: str | None) -> str:
    return f"holds what looks like {secret}" if secret else ""


# ---------------------------------------------------------------- data files


def _data_files(paths: Sequence[str | Path], root: Path) -> list[TravellingFile]:
    found: dict[str, TravellingFile] = {}
    for named in paths:
        path = Path(named).expanduser().absolute()
        if not path.exists():
            raise InvalidModelError(
                f"There is no file {named} to travel with the model.", hint=f"looked in {Path.cwd()}"
            )
        for file in [path] if path.is_file() else _files_in(path):
            placed = _below(file, root, f"--with names {named}")
            why = _forbidden(file, placed, root) or ("" if file.is_file() else "is no file")
            if why or (why := _holding(secret_in_file(file))):
                raise InvalidModelError(f"{placed} {why}; it does not travel.", hint="leave it out of --with")
            found[placed] = TravellingFile(file, f"{FILES}/{placed}", placed)
    if len(found) > _MOST_FILES:
        raise InvalidModelError(f"--with names {len(found)} files; {_MOST_FILES} are the most.")
    return [found[one] for one in sorted(found)]


def _files_in(folder: Path) -> list[Path]:
    """Files of a folder at any depth. Hidden ones are nobody's data and stay; a link is followed if it leads to a file."""
    found = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if any(part.startswith(".") or part == "__pycache__" for part in inside.parts):
            continue
        if path.is_file() or path.is_symlink():
            found.append(path)
    return found
