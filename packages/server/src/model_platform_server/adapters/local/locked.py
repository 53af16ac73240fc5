"""Installing what a lock says, and nothing else: every package from where it came from, none looked for elsewhere."""

from __future__ import annotations

import hashlib
import sysconfig
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from model_platform_core.environments import EnvironmentRecord, PackageOrigin, Source, contents_of
from model_platform_core.errors import EnvironmentFailedError
from model_platform_server.adapters.local import files
from model_platform_server.adapters.local.requirements import Needs
from model_platform_server.adapters.local.uv import Uv

LAID_OUT = ".wheels-"
_CHUNK = 1 << 20


def install(needs: Needs, python: Path, uv: Uv, hashes: Path, report: Callable[[str], None]) -> None:
    """Install a lock into the environment of `python`, or lines that no lock holds as an index resolves them.

    Parameters
    ----------
    hashes
        Where the digests of what indexes gave are kept from the first build on: a later one accepts nothing else.

    Raises
    ------
    EnvironmentFailedError
        Names the package that could not be had, or that is not the one of the notebook.
    """
    lock = needs.lock
    if lock is None:
        uv.install(needs.lines, python, report)
        return
    if lock.only_here:
        raise _not_elsewhere(lock, lock.only_here[0])
    check_wheels(needs)
    known = files.read(hashes)
    digests = known if known is not None else _digests(lock, python, uv, report)
    if sealed := [*digests.splitlines(), *_sealed(needs)]:
        uv.install(sealed, python, report, options=["--no-deps", "--require-hashes"])
    if repositories := list(_from_repositories(lock)):
        uv.install(repositories, python, report, options=["--no-deps"])
    _check_contents(lock, python)
    if known is None:
        files.replace(hashes, digests)


def check_wheels(needs: Needs) -> None:
    """Nothing, or EnvironmentFailedError for a wheel of the version that is not the one that was published."""
    origins = needs.lock.origins if needs.lock else {}
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
        if f"sha256:{digest.hexdigest()}" != origins[name].sha256:
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


def _digests(lock: EnvironmentRecord, python: Path, uv: Uv, report: Callable[[str], None]) -> str:
    """What comes from an index, with the digests that it tells."""
    lines = [package for package in lock.packages if lock.origin_of(package).source in {Source.INDEX, Source.CONDA}]
    if not lines:
        return ""
    report("asking the package index for digests")
    try:
        return uv.digests(lines, python, report)
    except EnvironmentFailedError as error:
        raise _of_conda(lock, error) or _of_other_indexes(lock, error) or error from None


def _sealed(needs: Needs) -> Iterator[str]:
    """Lines for what travels with the version, and for archives: by path or address, with digest."""
    origins = needs.lock.origins if needs.lock else {}
    for name, path in needs.wheels.items():
        yield f"{name} @ {path.absolute().as_uri()} --hash={origins[name].sha256}"
    for name, origin in sorted(origins.items()):
        if origin.source is Source.ARCHIVE:
            yield f"{name} @ {origin.location}{_inside(origin)} --hash={origin.sha256}"


def _from_repositories(lock: EnvironmentRecord) -> Iterator[str]:
    for name, origin in sorted(lock.origins.items()):
        if origin.source is Source.GIT:
            yield f"{name} @ git+{origin.location}@{origin.commit}{_inside(origin)}"


def _inside(origin: PackageOrigin) -> str:
    return f"#subdirectory={origin.subdirectory}" if origin.subdirectory else ""


def _check_contents(lock: EnvironmentRecord, python: Path) -> None:
    """Another package that has the same name and version on an index of ours is told, and never serves."""
    if lock.platform != sysconfig.get_platform():
        return  # a release holds a few other files for another platform
    folders = [str(path) for path in python.parent.parent.glob("lib*/python*/site-packages")]
    for package in lock.packages:
        expected, name = lock.origin_of(package).contents, package.partition("==")[0]
        found = next(iter(metadata.distributions(name=name, path=folders)), None)
        if expected is None or found is None or contents_of(found.read_text("RECORD") or "") in {expected, None}:
            continue
        where = f" (there it came from {', '.join(lock.indexes)})" if lock.indexes else ""
        raise EnvironmentFailedError(
            f"{package} of the server's package index is not the {package} of the notebook{where}: its files differ.",
            hint="let the server use the same package index: UV_INDEX, UV_INDEX_URL",
        )


def _of_conda(lock: EnvironmentRecord, error: EnvironmentFailedError) -> EnvironmentFailedError | None:
    for package in lock.packages:
        if lock.origin_of(package).source is Source.CONDA and _named(package, error):
            return _not_elsewhere(lock, package)
    return None


def _of_other_indexes(lock: EnvironmentRecord, error: EnvironmentFailedError) -> EnvironmentFailedError | None:
    """What the server's index lacks, and another one has that the notebook's environment knows by name."""
    for package in lock.packages:
        where = lock.origin_of(package).location or ", ".join(lock.indexes)
        if where and _named(package, error):
            return EnvironmentFailedError(
                f"The server's package index has no {package}; in the notebook's environment it came from {where}.",
                hint=f"let the server use it: UV_INDEX={where}=https://…",
            )
    return None


def _named(package: str, error: EnvironmentFailedError) -> bool:
    """Whether uv said of this very package that there is none."""
    words = error.message.replace(",", " ").split()
    return ("no" in words and package in words) or (
        "not on the package index" in error.message and package.partition("==")[0] in words
    )


def _not_elsewhere(lock: EnvironmentRecord, package: str) -> EnvironmentFailedError:
    origin = lock.origin_of(package)
    if origin.source is Source.CONDA:
        reason = f"it was installed by conda (channel {origin.location}), and no package index has it"
    else:
        reason = f"{origin.location}"
    return EnvironmentFailedError(
        f"{package} works where the model was made, not elsewhere: {reason}.",
        hint=f"install {package.partition('==')[0]} from a package index, a repository or its folder, and publish again",
    )
