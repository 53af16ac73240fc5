"""Installing what a lock says, and nothing else: every package from where it came from, none looked for elsewhere."""

from __future__ import annotations

import contextlib
import hashlib
import re
import sysconfig
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import Distribution
from pathlib import Path

from pydantic import TypeAdapter

from model_platform_core.environments import EnvironmentRecord, Source, contents_of
from model_platform_core.errors import EnvironmentFailedError
from model_platform_server.adapters.local import files, installed
from model_platform_server.adapters.local.indexes import Indexes
from model_platform_server.adapters.local.requirements import Needs, named
from model_platform_server.adapters.local.uv import Uv

LAID_OUT = ".wheels-"
_CHUNK = 1 << 20
_FROM_INDEXES = frozenset({Source.INDEX, Source.CONDA})
_written = TypeAdapter(Mapping[str, tuple[str, ...]])


def install(needs: Needs, python: Path, uv: Uv, digests: Path, report: Callable[[str], None]) -> None:
    """Install a lock into the environment of `python`, or lines that no lock holds as an index resolves them.

    Parameters
    ----------
    digests
        Where the digests of what indexes gave are kept from the first build on, until they are in the version's
        lineage: a later build accepts nothing else.

    Raises
    ------
    EnvironmentFailedError
        Names the package that could not be had, or that is not the one of the notebook.
    """
    if needs.only_here:
        raise _not_elsewhere(needs.only_here[0], needs)
    check_wheels(needs)
    lock = needs.lock
    if lock is None:
        uv.install([_addressed(line, needs) for line in needs.lines], python, report)
        return
    check_indexes(lock, uv.indexes())
    unbuilt = [f"--only-binary={name}" for name in _never_built(lock, uv.indexes())]
    known = lock.digests.get(sysconfig.get_platform()) or read_digests(digests)
    given = known if known is not None else _digests(needs, python, uv, report, unbuilt)
    if sealed := list(_sealed(needs, given)):
        uv.install(sealed, python, report, options=["--no-deps", "--require-hashes", *unbuilt])
    if repositories := [_addressed(line, needs) for line in _of(lock, Source.GIT)]:
        uv.install(repositories, python, report, options=["--no-deps"])
    _check_contents(lock, python)
    if known is None:
        files.replace(digests, _written.dump_json(given).decode())


def read_digests(path: Path) -> Mapping[str, tuple[str, ...]] | None:
    """What `install` kept, by package; None if it kept nothing that can be read."""
    with contextlib.suppress(ValueError):
        return _written.validate_json(files.read(path) or "")
    return None


def check_indexes(lock: EnvironmentRecord, known: Indexes) -> None:
    """Nothing, or EnvironmentFailedError where the notebook knew an index that the server does not.

    Another index may have other packages of the same names; it is not even asked.
    """
    packages = _of(lock, Source.INDEX)
    came_from = {lock.origin_of(package).location: package for package in reversed(packages)}
    for index in sorted({str(one) for one in (*lock.indexes, *came_from) if one and packages}):
        if index in known.names:
            continue
        what = f"has {came_from[index]} from" if index in came_from else "knows"
        raise EnvironmentFailedError(
            f"The notebook's environment {what} the package index {index}, of which the server does not know.",
            hint=f"let the server use it: UV_INDEX={_as_name(index)}=https://…",
        )


def check_wheels(needs: Needs) -> None:
    """Nothing, or EnvironmentFailedError for a wheel of the version that is not the one that was published."""
    for name, path in needs.wheels.items():
        digest = hashlib.sha256()
        try:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
        except OSError:
            raise EnvironmentFailedError(
                f"The version's wheel of {name} is not there; publish the model again."
            ) from None
        if f"sha256:{digest.hexdigest()}" != needs.origins[name].sha256:
            raise EnvironmentFailedError(
                f"The version's wheel of {name} is not the one that was published; publish the model again."
            )


def lay_out(needs: Needs, folder: Path) -> tuple[str, ...]:
    """Folders for the module path, in which the version's own packages lie as they were published; none if it has none.

    A borrowed environment holds the same packages, but as somebody works on them.
    """
    if not needs.wheels:
        return ()
    final = folder / f"{LAID_OUT}{needs.key}"
    if not final.is_dir():
        check_wheels(needs)
        with files.storing(final), tempfile.TemporaryDirectory(dir=folder, prefix=".making-") as made:
            for wheel in needs.wheels.values():
                with zipfile.ZipFile(wheel) as archive:
                    archive.extractall(made)
            try:
                Path(made).rename(final)
                Path(made).mkdir()  # what removes the temporary folder expects one
            except OSError:
                if not final.is_dir():  # else another thread was faster
                    raise
    return (str(final),)


def _digests(
    needs: Needs, python: Path, uv: Uv, report: Callable[[str], None], options: Sequence[str]
) -> Mapping[str, tuple[str, ...]]:
    """What comes from an index, with the digests that it tells."""
    lines = [line for line in needs.lines if needs.origin_of(line).source in _FROM_INDEXES]
    if not lines:
        return {}
    report("asking the package index for digests")
    try:
        return uv.digests(lines, python, report, options=options)
    except EnvironmentFailedError as error:
        raise _of_conda(needs, error) or _of_other_indexes(needs, error) or error from None


def _of(lock: EnvironmentRecord, source: Source) -> list[str]:
    return [package for package in lock.packages if lock.origin_of(package).source is source]


def _never_built(lock: EnvironmentRecord, known: Indexes) -> list[str]:
    """Packages of which no source is built, for that runs code before anybody can compare it with the notebook's.

    It is built where a name means one package only: the notebook knew the public index alone, or the index of this
    very package; or the server asks a single index, which the notebook knew.
    """
    if not lock.indexes or known.single & {*lock.indexes}:
        return []
    return [each.partition("==")[0] for each in _of(lock, Source.INDEX) if not lock.origin_of(each).location]


def _sealed(needs: Needs, given: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Lines with digests: of what indexes gave, of archives, of what travels with the version."""
    for line in needs.lines:
        origin = needs.origin_of(line)
        if origin.source in _FROM_INDEXES:
            yield " ".join([line, *(f"--hash={digest}" for digest in given.get(str(named(line)), ()))])
        elif origin.source in {Source.WHEEL, Source.ARCHIVE}:
            yield f"{_addressed(line, needs)} --hash={origin.sha256}"


def _addressed(line: str, needs: Needs) -> str:
    """A line with the address of its package, where that has one: its name is never looked for on an index then."""
    origin, name = needs.origin_of(line), named(line)
    inside = f"#subdirectory={origin.subdirectory}" if origin.subdirectory else ""
    match origin.source:
        case Source.WHEEL:
            return f"{name} @ {needs.wheels[str(name)].absolute().as_uri()}"
        case Source.ARCHIVE:
            return f"{name} @ {origin.location}{inside}"
        case Source.GIT:
            return f"{name} @ git+{origin.location}@{origin.commit}{inside}"
    return line


def _check_contents(lock: EnvironmentRecord, python: Path) -> None:
    """Another package that has the same name and version on an index of ours is told, and never serves."""
    folders = [str(path) for path in python.parent.parent.glob("lib*/python*/site-packages")]
    for package in _of(lock, Source.INDEX):
        expected, found = lock.origin_of(package).contents, installed.find(package.partition("==")[0], folders)
        if expected is None or found is None or contents_of(found.read_text("RECORD") or "") in {expected, None}:
            continue
        if lock.platform != sysconfig.get_platform() and not _is_pure(found):
            continue  # a release holds a few other files for another platform
        where = f" (there it came from {', '.join(lock.indexes)})" if lock.indexes else ""
        raise EnvironmentFailedError(
            f"{package} of the server's package index is not the {package} of the notebook{where}: its files differ.",
            hint="let the server use the same package index: UV_INDEX, UV_INDEX_URL",
        )


def _is_pure(distribution: Distribution) -> bool:
    """Whether its wheel is one for every platform."""
    tags = re.findall(r"^Tag: *(\S+)", distribution.read_text("WHEEL") or "", re.MULTILINE)
    return bool(tags) and all(tag.endswith("-any") for tag in tags)


def _of_conda(needs: Needs, error: EnvironmentFailedError) -> EnvironmentFailedError | None:
    for line in needs.lines:
        if needs.origin_of(line).source is Source.CONDA and _named(line, error):
            return _not_elsewhere(line, needs)
    return None


def _of_other_indexes(needs: Needs, error: EnvironmentFailedError) -> EnvironmentFailedError | None:
    """What the server's index lacks, and another one has that the notebook's environment knows by name."""
    indexes = needs.lock.indexes if needs.lock else ()
    for line in needs.lines:
        where = needs.origin_of(line).location or ", ".join(indexes)
        if where and _named(line, error):
            return EnvironmentFailedError(
                f"The server's package index has no {line}; in the notebook's environment it came from {where}.",
                hint=f"let the server use it: UV_INDEX={_as_name(where)}=https://…",
            )
    return None


def _as_name(index: str) -> str:
    """How uv's settings may call an index that is known by its host."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", index)


def _named(package: str, error: EnvironmentFailedError) -> bool:
    """Whether uv said of this very package that there is none."""
    words = error.message.replace(",", " ").split()
    return ("no" in words and package in words) or (
        "not on the package index" in error.message and package.partition("==")[0] in words
    )


def _not_elsewhere(package: str, needs: Needs) -> EnvironmentFailedError:
    origin = needs.origin_of(package)
    if origin.source is Source.CONDA:
        reason = f"it was installed by conda (channel {origin.location}), and no package index has it"
    else:
        reason = f"{origin.location}"
    return EnvironmentFailedError(
        f"{package} works where the model was made, not elsewhere: {reason}.",
        hint=f"install {named(package)} from a package index, a repository or its folder, and publish again",
    )
