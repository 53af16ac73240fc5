"""The lock of a notebook's environment: every package, where it came from, and local ones as wheels."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
import yaml

from model_platform.capture.completing_lock import completed
from model_platform.capture.environment import record_environment
from model_platform_core.environments import EnvironmentRecord, PackageOrigin, Source
from support.kernels import Kernel, write_project


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path / "kernel")


def _wheel(record: EnvironmentRecord, name: str, folder: Path) -> Path:
    origin = record.origins[name]
    assert origin.source is Source.WHEEL
    path = folder / str(origin.location)
    assert origin.sha256 == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    return path


def _contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}


@pytest.mark.parametrize("backend", ["hatchling", "setuptools"])
@pytest.mark.parametrize("layout", ["src", "flat"])
def test_an_editable_package_travels_as_a_wheel_of_what_the_notebook_imports(
    kernel: Kernel, tmp_path: Path, backend: str, layout: str
) -> None:
    project = write_project(tmp_path / "churn", "churn-tools", backend=backend, layout=layout)
    kernel.install("-e", project)
    before = _state(project)
    module = (project / "src" if layout == "src" else project) / "churn_tools" / "__init__.py"
    module.write_text(module.read_text().replace("ours", "edited"))
    record = kernel.record({"churn-tools"}, tmp_path / "version", project=project)
    assert record.packages == ("churn-tools==1.0", "iniconfig==2.0.0")
    wheel = _wheel(record, "churn-tools", tmp_path / "version")
    assert sorted(_contents(wheel)) == ["churn_tools/__init__.py", "churn_tools/words.txt"]
    assert b"edited" in _contents(wheel)["churn_tools/__init__.py"]
    assert _state(project) == before  # nothing was built into the person's folder
    assert record.only_here == ()
    # The wheel is one that installers take, and answers as the editable package does.
    other = Kernel(tmp_path / "other")
    other.install("--no-deps", "--no-index", wheel)
    assert other.run("import churn_tools; print(churn_tools.says())", tmp_path) == "edited!\n"


def _state(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if "__pycache__" not in path.parts}


def test_the_same_files_give_the_same_lock_and_an_edit_gives_another(kernel: Kernel, tmp_path: Path) -> None:
    project = write_project(tmp_path / "churn", "churn-tools")
    kernel.install("-e", project)
    first = kernel.record({"churn-tools"}, tmp_path / "one", project=project)
    again = kernel.record({"churn-tools"}, tmp_path / "two", project=project)
    assert first == again
    assert (
        first.lock_sha256
        == f"sha256:{hashlib.sha256((tmp_path / 'two/model_platform/lock.txt').read_bytes()).hexdigest()}"
    )
    (project / "src" / "churn_tools" / "words.txt").write_text("?")
    edited = kernel.record({"churn-tools"}, tmp_path / "three", project=project)
    assert edited.packages == first.packages
    assert edited.lock_sha256 != first.lock_sha256


def test_a_local_folder_travels_as_it_was_installed(kernel: Kernel, tmp_path: Path) -> None:
    project = write_project(tmp_path / "churn", "churn-tools", backend="setuptools")
    kernel.install(project)
    shutil.rmtree(project)
    record = kernel.record({"churn-tools"}, tmp_path / "version", project=tmp_path)
    files = _contents(_wheel(record, "churn-tools", tmp_path / "version"))
    assert {name: len(content) > 0 for name, content in files.items()} == {
        "churn_tools/__init__.py": True,
        "churn_tools/words.txt": True,
    }


def test_a_private_name_that_is_public_as_well_is_the_private_one(kernel: Kernel, tmp_path: Path) -> None:
    project = write_project(tmp_path / "ours", "pluggy", version="1.5.0", says="private")
    kernel.install(project)
    record = kernel.record({"pluggy"}, tmp_path / "version", project=tmp_path)
    wheel = _wheel(record, "pluggy", tmp_path / "version")
    assert b"private" in _contents(wheel)["pluggy/__init__.py"]
    assert "\npluggy==" not in record.lock
    assert f"./wheels/{wheel.name}  # pluggy==1.5.0 {record.origins['pluggy'].sha256}" in record.lock


def test_what_mlflows_own_tools_read_names_no_local_package(kernel: Kernel, tmp_path: Path) -> None:
    kernel.install("-e", write_project(tmp_path / "churn", "churn-tools"))
    folder = tmp_path / "version"
    folder.mkdir()
    (folder / "requirements.txt").write_text("churn-tools==1.0\niniconfig==2.0.0\n")
    pip = {"pip": ["churn-tools==1.0", "iniconfig==2.0.0"]}
    written = {"channels": ["conda-forge"], "dependencies": ["python=3.11.7", "pip<=23", pip], "name": "mlflow-env"}
    (folder / "conda.yaml").write_text(yaml.safe_dump(written))
    record = kernel.record({"churn-tools"}, folder, project=tmp_path)
    lines = (folder / "requirements.txt").read_text().splitlines()
    assert lines[0].startswith("./model_platform/wheels/churn_tools-1.0-py3-none-any.whl  # churn-tools==1.0 sha256:")
    assert lines[1] == "iniconfig==2.0.0"
    pip["pip"][0] = f"./{record.origins['churn-tools'].location}"
    assert yaml.safe_load((folder / "conda.yaml").read_text()) == written
    (kernel.site_packages / "iniconfig-2.0.0.dist-info" / "INSTALLER").write_text("conda")  # of an unknown channel
    pip["pip"] = ["churn-tools==1.0", "iniconfig==2.0.0"]
    (folder / "conda.yaml").write_text(yaml.safe_dump(written))
    kernel.record({"churn-tools"}, folder, project=tmp_path)
    pip["pip"] = [f"./{record.origins['churn-tools'].location}"]
    assert yaml.safe_load((folder / "conda.yaml").read_text()) == written
    assert (folder / "requirements.txt").read_text().splitlines()[1].startswith("# iniconfig==2.0.0: works here")


_WRITTEN = """
from pathlib import Path
from model_platform.capture.environment import written_environment
print(written_environment(Path({folder!r}), {python!r}).model_dump_json())
"""


def _written(kernel: Kernel, folder: Path, lines: str, python: str = "3.2.1") -> EnvironmentRecord:
    folder.mkdir(exist_ok=True)
    (folder / "requirements.txt").write_text(lines)
    program = _WRITTEN.format(folder=str(folder), python=python)
    return EnvironmentRecord.model_validate_json(kernel.run_with_ours(program, folder))


@pytest.mark.parametrize("demanded", ["churn-tools==1.0", "churn-tools", "Churn_Tools==0.9"])
def test_a_local_name_of_a_folder_that_was_saved_elsewhere_is_told_to_be_local(
    kernel: Kernel, tmp_path: Path, demanded: str
) -> None:
    kernel.install("-e", write_project(tmp_path / "churn", "churn-tools"))
    record = _written(
        kernel, tmp_path / "saved", f"iniconfig==2.0.0  # small\n{demanded}\npandas>=2\n-c constraints.txt\n"
    )
    assert record.locked is False
    package = "churn-tools==0.9" if "0.9" in demanded else "churn-tools==1.0"
    assert record.packages == ("iniconfig==2.0.0", package, "pandas>=2")
    assert record.only_here == (package,)
    assert set(record.origins) == {"churn-tools"}


def test_what_a_saved_folder_says_of_where_packages_are_from_is_kept(kernel: Kernel, tmp_path: Path) -> None:
    kernel.install("-e", write_project(tmp_path / "churn", "churn-tools"))
    made = kernel.record({"churn-tools"}, tmp_path / "saved", project=tmp_path)
    location = str(made.origins["churn-tools"].location)
    commit = "a" * 40
    text = f"./{location}  # churn-tools==1.0\nscoring @ git+https://example.org/scoring@{commit}#subdirectory=python\n"
    record = _written(kernel, tmp_path / "saved", text, python=made.python)
    assert record.origins == {
        "churn-tools": made.origins["churn-tools"],
        "scoring": PackageOrigin(
            source=Source.GIT, location="https://example.org/scoring", commit=commit, subdirectory="python"
        ),
    }
    assert record.packages[0] == "churn-tools==1.0"
    whole = _written(kernel, tmp_path / "other", "iniconfig==2.0.0\n", python=made.python)
    assert (whole.locked, whole.packages) == (True, ("iniconfig==2.0.0",))


def test_packages_of_an_index_are_known_by_what_is_in_them(kernel: Kernel, tmp_path: Path) -> None:
    kernel.install("iniconfig==2.0.0")
    first = kernel.record({"iniconfig"}, tmp_path / "one", project=tmp_path)
    (origin,) = first.origins.values()
    assert (origin.source, origin.local) == (Source.INDEX, False)
    assert origin.contents is not None
    assert first.lock.splitlines()[1:] == [
        f"# python {first.minor}",
        f"# platform {first.platform}",
        f"iniconfig==2.0.0  # contents {origin.contents}",
    ]
    with_pip = Kernel(tmp_path / "with-pip")
    with_pip.install("pip")
    with_pip.run(
        "import pip._internal.cli.main as m; m.main(['install', '-q', '--no-input', 'iniconfig==2.0.0'])", tmp_path
    )
    assert with_pip.record({"iniconfig"}, tmp_path / "two", project=tmp_path).lock == first.lock


def _installed_by_conda(kernel: Kernel, name: str, version: str, channel: str) -> None:
    info = kernel.site_packages / f"{name}-{version}.dist-info"
    (info / "INSTALLER").write_text("conda")
    (info / "direct_url.json").write_text('{"dir_info": {}, "url": "file:///home/conda/feedstock_root/work"}')
    (kernel.folder / "conda-meta").mkdir(exist_ok=True)
    written = {"name": name, "version": version, "channel": channel, "subdir": "linux-64"}
    (kernel.folder / "conda-meta" / f"{name}-{version}-py311_0.json").write_text(json.dumps(written))


@pytest.mark.parametrize(
    ("channel", "known", "local"),
    [
        ("https://conda.anaconda.org/conda-forge/linux-64", "conda-forge", False),
        ("https://repo.anaconda.com/pkgs/main/noarch", "main", False),
        ("https://me:secret@conda.example.org/team/linux-64", "team", True),
        ("", "unknown", True),
    ],
)
def test_a_package_of_conda_is_told_by_its_channel(
    kernel: Kernel, tmp_path: Path, channel: str, known: str, local: bool
) -> None:
    kernel.install("iniconfig==2.0.0")
    _installed_by_conda(kernel, "iniconfig", "2.0.0", channel)
    record = kernel.record({"iniconfig"}, tmp_path / "version", project=tmp_path)
    (origin,) = record.origins.values()
    assert (origin.source, origin.location, origin.local) == (Source.CONDA, known, local)
    assert origin.contents is not None  # by which a kernel that has changed since is known
    assert ("works here, not elsewhere" in record.lock) is local
    assert record.only_here == (("iniconfig==2.0.0",) if local else ())
    assert "secret" not in record.model_dump_json()


def test_a_repository_is_kept_as_its_commit_and_without_credentials(kernel: Kernel, tmp_path: Path) -> None:
    kernel.install("iniconfig==2.0.0")
    commit = "a" * 40
    told = {"url": "https://me:secret@example.org/team/iniconfig.git", "vcs_info": {"vcs": "git", "commit_id": commit}}
    (kernel.site_packages / "iniconfig-2.0.0.dist-info" / "direct_url.json").write_text(
        json.dumps(told | {"subdirectory": "python"})
    )
    record = kernel.record({"iniconfig"}, tmp_path / "version", project=tmp_path)
    line = f"iniconfig @ git+https://example.org/team/iniconfig.git@{commit}#subdirectory=python"
    assert record.lock.splitlines()[-1] == f"{line}  # iniconfig==2.0.0"
    assert "secret" not in record.model_dump_json()


def test_a_repository_on_this_machine_travels_as_a_wheel(kernel: Kernel, tmp_path: Path) -> None:
    project = write_project(tmp_path / "churn", "churn-tools")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(project)]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *arguments], check=True, capture_output=True)
    kernel.install(f"churn-tools @ git+file://{project}")
    record = kernel.record({"churn-tools"}, tmp_path / "version", project=tmp_path)
    assert "churn_tools/__init__.py" in _contents(_wheel(record, "churn-tools", tmp_path / "version"))


def test_an_archive_of_the_web_is_kept_by_its_digest(kernel: Kernel, tmp_path: Path) -> None:
    kernel.install("iniconfig==2.0.0")
    path = kernel.site_packages / "iniconfig-2.0.0.dist-info" / "direct_url.json"
    told = {"url": "https://example.org/iniconfig-2.0.0.zip", "archive_info": {"hashes": {"sha256": "b" * 64}}}
    path.write_text(json.dumps(told))
    record = kernel.record({"iniconfig"}, tmp_path / "version", project=tmp_path)
    assert record.origins["iniconfig"] == PackageOrigin(
        source=Source.ARCHIVE, location="https://example.org/iniconfig-2.0.0.zip", sha256=f"sha256:{'b' * 64}"
    )
    path.write_text(json.dumps(told | {"url": "https://me:secret@example.org/iniconfig-2.0.0.zip"}))
    record = kernel.record({"iniconfig"}, tmp_path / "two", project=tmp_path)  # nobody else could fetch it
    assert record.origins["iniconfig"].source is Source.WHEEL


def test_what_cannot_be_packed_is_named_with_the_reason(kernel: Kernel, tmp_path: Path) -> None:
    project = write_project(tmp_path / "churn", "churn-tools")
    kernel.install(project)
    (kernel.site_packages / "churn_tools" / "words.txt").unlink()
    record = kernel.record({"churn-tools"}, tmp_path / "version", project=tmp_path)
    assert record.only_here == ("churn-tools==1.0",)
    assert "# churn-tools==1.0: works here, not elsewhere, its file words.txt is not there any more\n" in record.lock
    assert not (tmp_path / "version" / "model_platform" / "wheels").exists()


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("client_secret.json", "{}", "its file churn_tools/client_secret.json looks like credentials by its name"),
        (
            "store.py",
            "URL = 'https://me:hidden@example.org'",
            "holds what looks like an address with a password (line 1)",
        ),
    ],
)
def test_what_looks_like_a_credential_travels_in_no_wheel(
    kernel: Kernel, tmp_path: Path, file: str, text: str, said: str
) -> None:
    project = write_project(tmp_path / "churn", "churn-tools")
    (project / "src" / "churn_tools" / file).write_text(text)
    (project / "src" / "churn_tools" / "credentials.py").write_text("class Credentials: ...\n")
    kernel.install("-e", project)
    record = kernel.record({"churn-tools"}, tmp_path / "version", project=tmp_path)
    assert record.only_here == ("churn-tools==1.0",)
    assert said in record.lock
    assert "hidden" not in record.model_dump_json()


def test_an_install_without_a_word_of_its_installer_is_local(kernel: Kernel, tmp_path: Path) -> None:
    kernel.install("iniconfig==2.0.0")
    (kernel.site_packages / "iniconfig-2.0.0.dist-info" / "INSTALLER").unlink()
    record = kernel.record({"iniconfig"}, tmp_path / "version", project=tmp_path)
    assert record.origins["iniconfig"].source is Source.WHEEL


def test_private_indexes_are_known_by_name_and_never_by_address(
    kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.install("iniconfig==2.0.0")
    for variable in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://me:secret@private.example.org/simple")
    (kernel.folder / "pip.conf").write_text("[global]\nindex-url = https://pypi.org/simple\n")
    (tmp_path / "pyproject.toml").write_text(
        '[[tool.uv.index]]\nname = "corp"\nurl = "https://you:hidden@packages.example.org/simple"\n'
    )
    (tmp_path / "uv.lock").write_text(
        '[[package]]\nname = "iniconfig"\nversion = "2.0.0"\n'
        'source = { registry = "https://packages.example.org/simple" }\n'
    )
    record = kernel.record({"iniconfig"}, tmp_path / "version", project=tmp_path)
    assert {"corp", "private.example.org"} <= set(record.indexes)
    assert record.origins["iniconfig"].location == "corp"
    assert "index corp" in record.lock
    told = record.model_dump_json()
    assert not any(word in told for word in ("secret", "hidden", "/simple"))


def test_extras_belong_to_the_closure(kernel: Kernel, tmp_path: Path) -> None:
    project = write_project(tmp_path / "churn", "churn-tools", needs='"other-tools[more]"')
    other = write_project(tmp_path / "other", "other-tools", needs="")
    with (other / "pyproject.toml").open("a") as file:
        file.write('\n[project.optional-dependencies]\nmore = ["iniconfig"]\n')
    kernel.install(other)
    kernel.install("iniconfig==2.0.0", "-e", project)
    record = kernel.record({"churn-tools"}, tmp_path / "version", project=tmp_path)
    assert [line.partition("==")[0] for line in record.packages] == ["churn-tools", "iniconfig", "other-tools"]


def test_modules_of_editable_packages_are_found(kernel: Kernel, tmp_path: Path) -> None:
    for backend in ("hatchling", "setuptools"):
        kernel.install("-e", write_project(tmp_path / backend, f"{backend}-tools", backend=backend, layout="flat"))
    (tmp_path / "hatchling" / "prep.py").write_text("")  # beside the package: the project's own file, no part of it
    program = """
import hatchling_tools, setuptools_tools, prep
from model_platform.capture.distributions import distributions_of
print(sorted(distributions_of(["hatchling_tools", "setuptools_tools"])), distributions_of(["prep"]))
"""
    assert kernel.run_with_ours(program, tmp_path) == "['hatchling-tools', 'setuptools-tools'] set()\n"


def test_what_only_this_machine_has_stays_in_a_completed_lock(kernel: Kernel, tmp_path: Path) -> None:
    """Its code cannot travel any more: the version was registered."""
    kernel.install("pluggy==1.5.0", "-e", write_project(tmp_path / "churn", "churn-tools"))
    known = kernel.record({"pluggy"}, tmp_path / "version", project=tmp_path).model_copy(update={"pending": True})
    program = """
from model_platform.capture.completing_lock import completed
from model_platform_core.environments import EnvironmentRecord
known = EnvironmentRecord.model_validate_json(%r)
print(completed(known, ["churn_tools", "iniconfig"]).model_dump_json())
"""
    found = EnvironmentRecord.model_validate_json(kernel.run_with_ours(program % known.model_dump_json(), tmp_path))
    assert found.packages == ("churn-tools==1.0", "iniconfig==2.0.0", "pluggy==1.5.0")
    assert (found.only_here, found.pending) == (("churn-tools==1.0",), False)
    assert found.origins["pluggy"] == known.origins["pluggy"]


def test_a_lock_is_completed_by_what_indexes_have() -> None:
    known = record_environment({"numpy"}).model_copy(update={"pending": True})
    same = completed(known, ["numpy.linalg", "json", "model_platform_core.refs"])
    assert same == known.model_copy(update={"pending": False})
    more = completed(known, ["pluggy", "numpy"])
    assert [package.partition("==")[0] for package in more.packages] == ["numpy", "pluggy"]
    assert set(known.packages) < set(more.packages)
    assert more.pending is False
    assert more.lock_sha256 != known.lock_sha256
