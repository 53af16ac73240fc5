"""What a model asks for and does not find where it runs: a module, a file, a variable of the environment.

Errors of models may hold rows, so what they say is never repeated. A name is told only where all of it stands in the
code, as a text there or in an import; then it is the program's and not a row's.
"""

import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path, PurePath
from types import CodeType, FrameType, TracebackType
from typing import Any
from zipfile import BadZipFile, ZipFile

from model_platform_runner.project import FOLDER

_RUNNER = str(Path(__file__).resolve().parents[1])
_PYTHON = (os.path.dirname(os.__file__), "<frozen ")  # noqa: PTH120 - compared with texts
_SITES = frozenset({"site-packages", "dist-packages"})
_WHEELS = "model_platform/wheels/*.whl"
_LONGEST_NAME = 200


class Lacking:
    """Watches for what is missing, and tells each thing once.

    Parameters
    ----------
    directory
        The version's files: its code is read for the names that may be told.
    project
        The part of MLmodel's metadata on code: ``environment`` names variables that the code mentions and that were
        set in the notebook.
    tell
        Takes one sentence.
    """

    def __init__(self, directory: Path, project: Mapping[str, Any] | None, tell: Callable[[str], None]) -> None:
        self.tell = tell
        self._directory = directory
        self._expected = frozenset((project or {}).get("environment", ()))
        self._missed: list[str] = []
        self._told: set[str] = set()

    def watch(self) -> None:
        """From now on, note which variables the model's code asks for and does not find."""
        missed = self._note_variable

        class Environment(type(os.environ)):  # type: ignore[misc]  # the very object stays: others hold it
            def __getitem__(self, key: str) -> str:
                try:
                    return super().__getitem__(key)  # type: ignore[no-any-return]
                except KeyError:
                    missed(key, sys._getframe(1))  # noqa: SLF001 - who asks
                    raise

        os.environ.__class__ = Environment

    def note(self, error: BaseException) -> None:
        """Tell what an error of the model comes from, if it is one of these."""
        if sentence := self.sentence(error):
            self._tell(sentence)

    def sentence(self, error: BaseException) -> str | None:
        """What is missing, in one sentence; None if the error is about something else."""
        for cause in _chain(error):
            if isinstance(cause, ModuleNotFoundError) and cause.name and self._imports(cause.name, cause):
                return f"The model's environment has no module named {cause.name}."
            if isinstance(cause, FileNotFoundError) and (sentence := self._of_file(cause)):
                return sentence
            if isinstance(cause, KeyError) and (variable := _text(cause.args)) in self._missed:
                return _without([variable])
        return _without(found) if (found := [name for name in self._missed if name in self._expected]) else None

    def _note_variable(self, name: str, frame: FrameType) -> None:
        caller: FrameType | None = frame
        while caller is not None and _is_of_python(caller.f_code.co_filename):
            caller = caller.f_back
        if caller is None or name in self._missed or caller.f_code.co_filename.startswith(_RUNNER):
            return
        if name in self._expected:  # whoever asks: the code names it, and may leave the reading to a library
            self._missed.append(name)
            self._tell(_without([name]))
        elif self._is_of_model(caller.f_code.co_filename) and name in self._constants(caller):
            self._missed.append(name)

    def _is_of_model(self, file: str) -> bool:
        """Whether code is the model's own: its files, and packages that travel with it, wherever they are installed."""
        place = PurePath(file)
        installed = next((each for each in place.parents if each.name in _SITES), None)
        if file.startswith(_RUNNER) or installed is None:
            return not file.startswith(_RUNNER)
        return PurePath(place.relative_to(installed).parts[0]).stem in self._travelled

    @cached_property
    def _travelled(self) -> Collection[str]:
        """The top modules of the wheels among the version's files."""
        found = set()
        for wheel in self._directory.glob(_WHEELS):
            with suppress(OSError, BadZipFile), ZipFile(wheel) as archive:
                found |= {PurePath(PurePath(name).parts[0]).stem for name in archive.namelist() if name.endswith(".py")}
        return found

    def _tell(self, sentence: str) -> None:
        if sentence not in self._told:
            self._told.add(sentence)
            self.tell(sentence)

    def _of_file(self, error: FileNotFoundError) -> str | None:
        """The file as the code writes it, or below the folder in which the code lies; of other paths the last part."""
        name = error.filename.decode(errors="replace") if isinstance(error.filename, bytes) else error.filename
        if not isinstance(name, str | os.PathLike) or len(str(name)) > _LONGEST_NAME:
            return None
        path = _shown(PurePath(name))
        if path.as_posix() in (known := self._parts(error)) or all(part in known for part in path.parts):
            return f"The model reads {path}, which did not travel with it; publish it with --with {path}."
        if path.name not in known:
            return None
        return f"The model reads a {path.name} in a folder that did not travel with it; publish that with --with."

    def _parts(self, error: BaseException) -> Collection[str]:
        """Texts in the code, whole and as parts of paths, and the folders in which the code lies."""
        codes = [frame.f_code for frame in _frames(error.__traceback__)]
        known = {"..", *self._texts, *(text for code in codes for text in _texts(code))}
        places = [PurePath(code.co_filename).parent for code in codes if self._is_of_model(code.co_filename)]
        return known | {part for path in (*map(PurePath, known), *places) for part in path.parts}

    def _imports(self, name: str, error: BaseException) -> bool:
        """Whether code names this module, or one within it."""
        frames = list(_frames(error.__traceback__))
        known = {*self._texts, *(text for frame in frames for text in (*_texts(frame.f_code), *_names(frame.f_code)))}
        if any(text == name or text.startswith(f"{name}.") for text in known):
            return True
        package, _, last = name.rpartition(".")  # from . import last
        packages = {str(frame.f_globals.get("__package__")) for frame in frames}
        return last in known and any(each == package or each.startswith(f"{package}.") for each in packages)

    def _constants(self, caller: FrameType | None) -> Collection[str]:
        """Texts in the model's code: its files, and the functions that are running."""
        found = set(self._texts)
        while caller is not None:
            found |= set(_texts(caller.f_code))
            caller = caller.f_back
        return found

    @cached_property
    def _texts(self) -> Collection[str]:
        """Texts in the model's files."""
        return {text for file in self._directory.rglob("*.py") for text in _texts(_compiled(file))}


def _text(arguments: Sequence[object]) -> str:
    return arguments[0] if arguments and isinstance(arguments[0], str) else ""


def _without(names: Collection[str]) -> str:
    return f"The model reads {' and '.join(names)}, which the endpoint doesn't have."


def _chain(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _frames(trace: TracebackType | None) -> Iterator[FrameType]:
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _texts(code: CodeType) -> Iterator[str]:
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, CodeType):
            yield from _texts(constant)


def _names(code: CodeType) -> Iterator[str]:
    """Names that the code uses; modules that it imports are among them."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _compiled(file: Path) -> CodeType:
    try:
        return compile(file.read_bytes(), str(file), "exec", dont_inherit=True)
    except (OSError, SyntaxError, ValueError):
        return compile("", str(file), "exec")


def _is_of_python(file: str) -> bool:
    return file.startswith(_PYTHON) and _SITES.isdisjoint(PurePath(file).parts)


def _shown(path: PurePath) -> PurePath:
    """A path as the code writes it; one that is whole because it lies beside the code, from where the notebook ran."""
    here = Path.cwd()
    project = next((one for one in (here, *here.parents) if one.name == FOLDER), here)
    return PurePath(os.path.relpath(path, here)) if path.is_relative_to(project) else path
