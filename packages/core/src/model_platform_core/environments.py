"""The environment in which a model was made, and its lock: what any environment must hold to run the model."""

from __future__ import annotations

import csv
import hashlib
from enum import StrEnum

from model_platform_core.values import Observed, Sha256, digest_of

LOCK_FILE = "model_platform/lock.txt"
WHEELS_FOLDER = "model_platform/wheels"
NOT_ELSEWHERE = "works here, not elsewhere"

_FORM = 1


class Source(StrEnum):
    """Where an installed package came from, and with it where another machine can have it from."""

    INDEX = "index"
    WHEEL = "wheel"
    ARCHIVE = "archive"
    GIT = "git"
    CONDA = "conda"
    HERE = "here"


class PackageOrigin(Observed):
    """Where one package came from; by default from an index of which nothing else is known.

    Attributes
    ----------
    location
        By source: the index's name, the wheel's path in the version's folder, the address of an archive or a repository
        without credentials, the conda channel, or why nobody else can have it.
    subdirectory
        Where in the repository or archive the package lies.
    sha256
        Of the wheel or archive.
    contents
        Of the Python files as installed: the same for every build of one release, another for another package that has
        the same name and version.
    local
        The name means nothing outside of where it was installed, so no index is asked for it.
    """

    source: Source = Source.INDEX
    location: str | None = None
    subdirectory: str | None = None
    commit: str | None = None
    sha256: Sha256 | None = None
    contents: Sha256 | None = None
    local: bool = False

    @property
    def elsewhere(self) -> bool:
        """Whether another machine can have this package, as far as is known here."""
        return self.source is not Source.HERE and not (self.source is Source.CONDA and self.local)


class EnvironmentRecord(Observed):
    """The environment in which the model was made.

    Attributes
    ----------
    packages
        `name==version` of what the model needs, sorted: all of it where `locked`, else what somebody wrote down.
    origins
        By package name. A package that is not named here came from an index.
    indexes
        Names of the package indexes that the environment was configured with, besides the public one.
    pending
        What custom code imports while it answers is still being found; a completed record follows.
    digests
        By platform and package, of the files that an index had when this was first built there: later builds take no
        others. The server adds them; they do not belong to the lock's identity.
    interpreter, paths
        The Python that made it and where its packages lie: hints that hold on the machine of `host` only.
    """

    python: str
    platform: str
    packages: tuple[str, ...] = ()
    origins: dict[str, PackageOrigin] = {}
    indexes: tuple[str, ...] = ()
    locked: bool = False
    pending: bool = False
    digests: dict[str, dict[str, tuple[Sha256, ...]]] = {}
    interpreter: str | None = None
    paths: tuple[str, ...] = ()
    host: str | None = None

    @property
    def minor(self) -> str:
        """The Python as `3.11`."""
        return ".".join(self.python.split(".")[:2])

    @property
    def lock(self) -> str:
        """The lock's text: Python, platform, and one package a line with where it is to be had.

        It is a requirements file that can be installed from its own folder.
        """
        head = [f"# Model Platform lock {_FORM}", f"# python {self.minor}", f"# platform {self.platform}"]
        return "".join(f"{line}\n" for line in [*head, *(self._line(package) for package in self.packages)])

    @property
    def lock_sha256(self) -> str:
        """The lock's identity: environments with the same one are the same."""
        return f"sha256:{hashlib.sha256(self.lock.encode()).hexdigest()}"

    @property
    def only_here(self) -> tuple[str, ...]:
        """The packages that no other machine can have."""
        return tuple(package for package in self.packages if not self.origin_of(package).elsewhere)

    def origin_of(self, package: str) -> PackageOrigin:
        """Where a package of `packages` came from."""
        return self.origins.get(package.partition("==")[0], PackageOrigin())

    def _line(self, package: str) -> str:
        origin, name = self.origin_of(package), package.partition("==")[0]
        inside = f"#subdirectory={origin.subdirectory}" if origin.subdirectory else ""
        match origin.source:
            case Source.WHEEL:
                return f"./wheels/{(origin.location or '').rpartition('/')[2]}  # {package} {origin.sha256}"
            case Source.GIT:
                return f"{name} @ git+{origin.location}@{origin.commit}{inside}  # {package}"
            case Source.ARCHIVE:
                return f"{name} @ {origin.location}{inside}  # {package} {origin.sha256}"
            case Source.CONDA:
                known = f"conda channel {origin.location}"
                return f"{package}  # {known}" if origin.elsewhere else f"# {package}: {NOT_ELSEWHERE}, {known}"
            case Source.HERE:
                return f"# {package}: {NOT_ELSEWHERE}, {origin.location}"
        told = [f"index {origin.location}"] if origin.location else []
        told += [f"contents {origin.contents}"] if origin.contents else []
        return f"{package}  # {', '.join(told)}" if told else package


def contents_of(record: str) -> str | None:
    """The digest of a package's Python files, by the RECORD that its installer wrote; None where it holds no digests.

    What an installer adds, and what a build for another processor changes, does not count.
    """
    modules = sorted(
        (row[0], row[1])
        for row in csv.reader(record.splitlines())
        if len(row) == 3 and row[0].endswith(".py") and not row[0].startswith(("../", "/"))
    )
    if not modules or not all(digest for _, digest in modules):
        return None
    return digest_of(modules)
