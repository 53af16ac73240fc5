"""Environments built from a lock: every package from where the notebook had it, and nothing looked for elsewhere."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
import sysconfig
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from model_platform_core.environments import EnvironmentRecord, PackageOrigin, Source
from model_platform_core.errors import EnvironmentFailedError
from model_platform_core.lineage import Lineage
from model_platform_server.adapters.local.environments import Environments
from model_platform_server.adapters.local.requirements import needs_of
from model_platform_server.ports import RunnerPlan
from support.kernels import Kernel, write_project
from targets import models
from targets.harness import REF, LocalHarness, bring_up
from targets.models import SavedModel, plan

TINY = "iniconfig==2.0.0"
SAYS = "import churn_tools; print(churn_tools.says())"


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path / "kernel")


@pytest.fixture
def environments(tmp_path: Path) -> Environments:
    return Environments(tmp_path / "environments")


@pytest.fixture
def version(tmp_path: Path) -> SavedModel:
    return models.small(tmp_path / "version")


def _plan(version: SavedModel, record: EnvironmentRecord) -> RunnerPlan:
    return replace(plan(version), environment=record)


def _elsewhere(version: SavedModel, record: EnvironmentRecord) -> RunnerPlan:
    """As the plan reads on another machine, where no kernel can be borrowed."""
    return _plan(version, record.model_copy(update={"host": "elsewhere"}))


def _by_hand(version: SavedModel, *packages: str, **origins: PackageOrigin) -> RunnerPlan:
    record = EnvironmentRecord(
        python="3.11.7", platform="linux-x86_64", packages=packages, origins=origins, locked=True, host="elsewhere"
    )
    return _plan(version, record)


def _made(environments: Environments, wanted: RunnerPlan) -> Path:
    return environments.make(wanted, lambda _words: None).interpreter.python


def _refusal(environments: Environments, wanted: RunnerPlan) -> str:
    with pytest.raises(EnvironmentFailedError) as refused:
        _made(environments, wanted)
    return refused.value.message


def _says(python: Path, program: str, paths: tuple[str, ...] = ()) -> str:
    done = subprocess.run(
        [python, "-c", program], env={"PYTHONPATH": ":".join(paths)}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def _names(python: Path) -> set[str]:
    found = _says(python, "import importlib.metadata as m; print(*(each.name for each in m.distributions()))")
    return set(found.split())


def test_an_editable_package_answers_as_it_was_published_whatever_becomes_of_it(
    kernel: Kernel, environments: Environments, version: SavedModel, tmp_path: Path
) -> None:
    project = write_project(tmp_path / "churn", "churn-tools")
    kernel.install("-e", project)
    record = kernel.record({"churn-tools"}, version.directory, project=project)
    module = project / "src" / "churn_tools" / "__init__.py"
    module.write_text(module.read_text().replace("ours", "edited since"))
    borrowed = environments.find(_plan(version, record))
    assert borrowed is not None
    assert borrowed.interpreter.python == kernel.python
    assert _says(kernel.python, SAYS) == "edited since!"
    assert _says(kernel.python, SAYS, borrowed.paths) == "ours!"
    shutil.rmtree(project)
    python = _made(environments, _elsewhere(version, record))
    assert _says(python, SAYS) == "ours!"
    assert _names(python) == {"churn-tools", "iniconfig"}


def test_two_states_of_one_version_number_are_two_environments(
    kernel: Kernel, environments: Environments, tmp_path: Path
) -> None:
    project = write_project(tmp_path / "churn", "churn-tools")
    kernel.install("-e", project)
    module = project / "src" / "churn_tools" / "__init__.py"
    said = []
    for words in ("ours", "theirs"):
        module.write_text(module.read_text().replace("ours", words))
        version = models.small(tmp_path / words)
        record = kernel.record({"churn-tools"}, version.directory, project=project)
        said.append(_says(_made(environments, _elsewhere(version, record)), SAYS))
    assert said == ["ours!", "theirs!"]


def test_a_private_name_that_is_public_as_well_is_never_looked_for(
    kernel: Kernel, environments: Environments, version: SavedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.install(write_project(tmp_path / "ours", "pluggy", version="1.5.0", says="private", needs=""))
    record = kernel.record({"pluggy"}, version.directory, project=tmp_path)
    assert record.packages == ("pluggy==1.5.0",)
    monkeypatch.setenv("UV_INDEX_URL", "http://127.0.0.1:9/simple")  # no index is asked for anything
    assert _says(_made(environments, _elsewhere(version, record)), "import pluggy; print(pluggy.says())") == "private!"
    (version.directory / str(record.origins["pluggy"].location)).unlink()
    environments.remove(needs_of(_elsewhere(version, record)).key)
    message = _refusal(environments, _elsewhere(version, record))
    assert message == "The version's wheel of pluggy is not there; publish the model again."


def test_a_local_name_is_never_looked_for_where_there_is_no_lock_either(
    kernel: Kernel, environments: Environments, version: SavedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.install(write_project(tmp_path / "ours", "pluggy", version="1.5.0", says="private", needs=""))
    made = kernel.record({"pluggy"}, version.directory, project=tmp_path).model_copy(update={"locked": False})
    here = PackageOrigin(source=Source.HERE, location="it was installed from a folder", local=True)
    plain = made.model_copy(update={"origins": {}})
    keys = {needs_of(_elsewhere(version, one)).key for one in (made, plain)}
    assert len(keys) == 2
    _made(environments, _elsewhere(version, plain))  # the public one, which another version asked for
    monkeypatch.setenv("UV_INDEX_URL", "http://127.0.0.1:9/simple")  # is not asked
    local = made.model_copy(update={"origins": {"pluggy": here}})
    assert _refusal(environments, _elsewhere(version, local)) == (
        "pluggy==1.5.0 works where the model was made, not elsewhere: it was installed from a folder."
    )
    assert _says(_made(environments, _elsewhere(version, made)), "import pluggy; print(pluggy.says())") == "private!"


def test_a_wheel_that_is_not_the_published_one_is_refused(
    kernel: Kernel, environments: Environments, version: SavedModel, tmp_path: Path
) -> None:
    kernel.install("-e", write_project(tmp_path / "churn", "churn-tools"))
    record = kernel.record({"churn-tools"}, version.directory, project=tmp_path)
    with (version.directory / str(record.origins["churn-tools"].location)).open("ab") as file:
        file.write(b"more")
    for wanted in (_plan(version, record), _elsewhere(version, record)):
        assert "wheel of churn-tools is not the one that was published" in _refusal(environments, wanted)


@contextmanager
def _index(folder: Path, wheel: Path, name: str | None = None) -> Iterator[str]:
    """A package index on this machine that has one package."""
    name = name or wheel.name.partition("-")[0]
    (folder / "simple" / name).mkdir(parents=True)
    shutil.copy(wheel, folder / "simple" / name / wheel.name)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (folder / "simple" / name / "index.html").write_text(f'<a href="{wheel.name}#sha256={digest}">{wheel.name}</a>')

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/simple"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def _private_pluggy(kernel: Kernel, folder: Path) -> Iterator[str]:
    """A private index, whose pluggy is another than the public one; the kernel has it from there."""
    maker = Kernel(folder / "maker")
    maker.install(write_project(folder / "ours", "pluggy", version="1.5.0", says="private", needs=""))
    made = maker.record({"pluggy"}, folder / "made", project=folder)
    with _index(folder / "index", folder / "made" / str(made.origins["pluggy"].location)) as url:
        kernel.install("--no-deps", "pluggy==1.5.0", UV_INDEX=url, UV_CACHE_DIR=str(folder / "cache"))
        yield url


def test_an_index_that_the_server_does_not_know_is_told_before_any_other_is_asked(
    kernel: Kernel, environments: Environments, version: SavedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever platform the notebook was on."""
    with _private_pluggy(kernel, tmp_path) as url:
        monkeypatch.setenv("UV_INDEX", f"team={url}")
        record = kernel.record({"pluggy"}, version.directory, project=tmp_path)
        assert "team" in record.indexes
        with monkeypatch.context() as other:
            other.delenv("UV_INDEX")
            other.setenv("UV_INDEX_URL", "http://127.0.0.1:9/simple")  # cannot be reached, and is not asked
            for made_on in (record.platform, "macosx-14.0-arm64"):
                wanted = _elsewhere(version, record.model_copy(update={"platform": made_on}))
                assert _refusal(environments, wanted) == (
                    "The notebook's environment knows the package index team, of which the server does not know."
                )
                assert environments.find(wanted) is None
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
        python = _made(environments, _elsewhere(version, record))
        assert _says(python, "import pluggy; print(pluggy.says())") == "private!"


@pytest.mark.parametrize("made_on", [None, "macosx-14.0-arm64"])
def test_another_package_of_the_same_name_on_a_public_index_never_serves(
    kernel: Kernel, environments: Environments, version: SavedModel, tmp_path: Path, made_on: str | None
) -> None:
    """The notebook had it from an index that was named on a command line: nothing in its settings tells of it."""
    with _private_pluggy(kernel, tmp_path):
        record = kernel.record({"pluggy"}, version.directory, project=tmp_path)
    record = record.model_copy(update={"indexes": (), "platform": made_on or record.platform})
    message = _refusal(environments, _elsewhere(version, record))
    assert "pluggy==1.5.0 of the server's package index is not the pluggy==1.5.0 of the notebook" in message
    assert environments.find(_elsewhere(version, record)) is None


def test_source_is_built_only_where_a_name_means_one_package(
    environments: Environments, version: SavedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build runs the code of whoever put the package on the index, before it can be compared."""
    source = tmp_path / "churn_tools-1.0.tar.gz"
    project = write_project(tmp_path / "churn_tools-1.0", "churn-tools", backend="setuptools", needs="")
    ran = tmp_path / "ran"
    (project / "setup.py").write_text(f"import setuptools; open({str(ran)!r}, 'w').close(); setuptools.setup()")
    (project / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: churn-tools\nVersion: 1.0\n")
    with tarfile.open(source, "w:gz") as archive:
        archive.add(project, project.name)
    wanted = _by_hand(version, "churn-tools==1.0")
    assert wanted.environment is not None
    several = replace(wanted, environment=wanted.environment.model_copy(update={"indexes": ("team",)}))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    with _index(tmp_path / "index", source, name="churn-tools") as url:
        monkeypatch.setenv("UV_INDEX", f"team={url}")
        assert _refusal(environments, several) == (
            "The package index has churn-tools==1.0 as source only, and source is not built where a name may mean "
            "another package."
        )
        assert not ran.exists()
        assert _says(_made(environments, wanted), SAYS) == "ours!"  # the notebook knew the public index alone
        assert ran.exists()


@pytest.mark.parametrize(
    ("package", "local", "said"),
    [
        (TINY, False, None),
        ("iniconfig==99.0", False, "iniconfig==99.0 works where the model was made, not elsewhere"),
        (TINY, True, "iniconfig==2.0.0 works where the model was made, not elsewhere"),
    ],
)
def test_what_conda_installed_comes_from_an_index_only_where_the_name_means_the_same(
    environments: Environments,
    version: SavedModel,
    monkeypatch: pytest.MonkeyPatch,
    package: str,
    local: bool,
    said: str | None,
) -> None:
    if local:
        monkeypatch.setenv("UV_INDEX_URL", "http://127.0.0.1:9/simple")  # is not asked
    wanted = _by_hand(version, package, iniconfig=PackageOrigin(source=Source.CONDA, location="some", local=local))
    if said is None:
        assert _names(_made(environments, wanted)) == {"iniconfig"}
    else:
        message = _refusal(environments, wanted)
        assert message == f"{said}: it was installed by conda (channel some), and no package index has it."


def _commit(project: Path, words: str) -> str:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(project)]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", words]):
        subprocess.run([*git, *arguments], check=True, capture_output=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


def test_a_kernel_with_another_commit_of_the_same_version_is_not_borrowed(
    kernel: Kernel, environments: Environments, version: SavedModel, tmp_path: Path
) -> None:
    project = write_project(tmp_path / "churn", "churn-tools", needs="")
    commits = [_commit(project, "first")]
    kernel.install(f"churn-tools @ git+file://{project}@{commits[0]}")
    wanted = _plan(version, _in(kernel, commit=commits[0], source=Source.GIT, location=f"file://{project}"))
    assert environments.borrowed(wanted) is not None
    module = project / "src" / "churn_tools" / "__init__.py"
    module.write_text(module.read_text().replace("ours", "later"))
    commits.append(_commit(project, "second"))
    kernel.install("--reinstall", f"churn-tools @ git+file://{project}@{commits[1]}")
    assert _says(kernel.python, SAYS) == "later!"
    assert environments.find(wanted) is None
    assert environments.why_not_borrowed(wanted) == (
        "The environment in which the model was made has changed: the model needs churn-tools==1.0, and there is "
        "another one of that version now."
    )
    assert _says(_made(environments, wanted), SAYS) == "ours!"


def _in(kernel: Kernel, name: str = "churn-tools==1.0", **origin: Any) -> EnvironmentRecord:
    """A lock of one package, as if it had been made in the kernel."""
    return EnvironmentRecord(
        python=platform.python_version(),
        platform=sysconfig.get_platform(),
        packages=(name,),
        origins={name.partition("==")[0]: PackageOrigin(**origin)},
        locked=True,
        interpreter=str(kernel.python),
        host=platform.node(),
    )


def test_a_kernel_with_other_files_under_the_same_name_and_version_is_not_borrowed(
    kernel: Kernel, environments: Environments, version: SavedModel, tmp_path: Path
) -> None:
    kernel.install(TINY)
    record = kernel.record({"iniconfig"}, version.directory, project=tmp_path)
    (origin,) = record.origins.values()
    assert environments.borrowed(_plan(version, record)) is not None
    for other in (
        origin.model_copy(update={"contents": f"sha256:{'0' * 64}"}),
        PackageOrigin(source=Source.ARCHIVE, location="https://example.org/i.zip", sha256=f"sha256:{'0' * 64}"),
        PackageOrigin(source=Source.CONDA, location="conda-forge"),
        PackageOrigin(source=Source.HERE, location="compiled", local=True, contents=f"sha256:{'0' * 64}"),
    ):
        changed = record.model_copy(update={"origins": {"iniconfig": other}})
        assert environments.borrowed(_plan(version, changed)) is None, other
    archive = "https://example.org/iniconfig-2.0.0.zip"
    told = {"url": archive, "archive_info": {"hash": f"sha256={'1' * 64}"}}
    (kernel.site_packages / "iniconfig-2.0.0.dist-info" / "direct_url.json").write_text(json.dumps(told))
    assert environments.borrowed(_plan(version, record)) is None  # it is not from an index any more
    same = PackageOrigin(source=Source.ARCHIVE, location=archive, sha256=f"sha256:{'1' * 64}")
    changed = record.model_copy(update={"origins": {"iniconfig": same}})
    assert environments.borrowed(_plan(version, changed)) is not None


def test_a_repository_is_installed_at_its_commit(
    environments: Environments, version: SavedModel, tmp_path: Path
) -> None:
    project = write_project(tmp_path / "churn", "churn-tools")
    commit = _commit(project, "first")
    module = project / "src" / "churn_tools" / "__init__.py"
    module.write_text(module.read_text().replace("ours", "later"))
    _commit(project, "second")
    origin = PackageOrigin(source=Source.GIT, location=f"file://{project}", commit=commit)
    wanted = _by_hand(version, "churn-tools==1.0", TINY, **{"churn-tools": origin})
    assert _says(_made(environments, wanted), SAYS) == "ours!"


def test_digests_of_the_first_build_hold_for_every_later_one(
    environments: Environments, version: SavedModel, tmp_path: Path
) -> None:
    wanted = _by_hand(version, TINY)
    _made(environments, wanted)
    key = needs_of(wanted).key
    digests = environments.digests(key)
    assert set(digests) == {"iniconfig"}
    environments.remove(key)
    _made(environments, wanted)
    environments.remove(key)
    (tmp_path / "environments" / f"{key}.digests").write_text(json.dumps({"iniconfig": [f"sha256:{'0' * 64}"]}))
    assert "iniconfig" in _refusal(environments, wanted)


def test_on_another_server_too(environments: Environments, version: SavedModel, tmp_path: Path) -> None:
    """They are in the version's lineage by then, and do not change the lock's identity."""
    wanted = _by_hand(version, TINY)
    _made(environments, wanted)
    lineage = Lineage(environment=wanted.environment)
    identity = needs_of(wanted).lock.lock_sha256  # type: ignore[union-attr]
    digests = environments.digests(needs_of(wanted).key)
    for known, works in ((digests, True), ({"iniconfig": (f"sha256:{'0' * 64}",)}, False)):
        after = lineage.with_digests(sysconfig.get_platform(), known, of=identity)
        assert after.environment is not None
        assert after.environment.lock_sha256 == identity
        elsewhere = Environments(tmp_path / f"elsewhere-{works}")
        if works:
            _made(elsewhere, _plan(version, after.environment))
        else:
            assert "iniconfig" in _refusal(elsewhere, _plan(version, after.environment))


def test_a_python_of_another_minor_is_never_taken_for_the_notebooks(
    kernel: Kernel, environments: Environments, version: SavedModel, tmp_path: Path
) -> None:
    kernel.install(TINY)
    record = kernel.record({"iniconfig"}, version.directory, project=tmp_path)
    other = record.model_copy(update={"python": "3.2.1"})
    assert record.lock_sha256 != other.lock_sha256
    assert environments.find(_plan(version, other)) is None
    assert "Python 3.2, with which the model was made, is not on this machine" in _refusal(
        environments, _plan(version, other)
    )


def test_a_model_with_pydantic_1_is_served(harness: LocalHarness, tmp_path: Path) -> None:
    """The platform uses pydantic 2; the model's environment is the model's."""
    version = models.small(
        tmp_path / "version",
        "return self.factor(value='10').value * rows.sum(axis=1)",
        load="import pydantic; assert pydantic.VERSION.startswith('1.'); "
        "self.factor = pydantic.create_model('Factor', value=(int, ...))",
    )
    packages = ("pydantic==1.10.24", "typing-extensions==4.15.0")
    wanted = _by_hand(version, *sorted((*packages, *version.packages)))
    bring_up(harness.target, wanted)
    assert harness.target.call(f"/{REF}", [[1, 2]], None) == [{"prediction": 30.0}]
