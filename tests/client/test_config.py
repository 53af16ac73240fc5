"""Which server is used, and why; and that no token goes where it was not meant to go."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_platform.config import find_address, remember_zone
from model_platform_core.errors import InvalidError, InvalidSpecError


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project" / "notebooks"
    folder.mkdir(parents=True)
    return folder


def test_the_order(home: Path, project: Path) -> None:
    environment = {"MP_HOME": str(home)}

    def found(server: str | None = None) -> tuple[str | None, str]:
        address = find_address(server, environment=environment, directory=project)
        return address.server, address.why

    assert found() == (None, "no server is configured, so a private one runs on this machine")
    (home / "config.toml").write_text('server = "https://own"\n')
    assert found() == ("https://own", f"{home}/config.toml")
    (project.parent / "model-platform.toml").write_text('server = "https://project"\n')
    assert found() == ("https://project", f"{project.parent}/model-platform.toml")
    environment["MP_SERVER"] = "https://environment/"
    assert found() == ("https://environment", "MP_SERVER in the environment")
    assert found("https://argument") == ("https://argument", "given in the call")


def test_zones_follow_the_same_order(home: Path, project: Path) -> None:
    environment = {"MP_HOME": str(home)}
    (home / "config.toml").write_text('zone = "own"\n')
    assert find_address(environment=environment, directory=project).zone == "own"
    (project / "model-platform.toml").write_text('zone = "project"\n')
    assert find_address(environment=environment, directory=project).zone == "project"
    environment["MP_ZONE"] = "environment"
    assert find_address(environment=environment, directory=project).zone == "environment"
    assert find_address(zone="argument", environment=environment, directory=project).zone == "argument"


def test_a_projects_server_gets_only_the_token_that_the_user_keeps_for_it(home: Path, project: Path) -> None:
    (project / "model-platform.toml").write_text('server = "https://stranger"\n')
    (home / "config.toml").write_text('[tokens]\n"https://work" = "mp_work"\n')
    environment = {"MP_HOME": str(home), "MP_TOKEN": "mp_environment"}
    assert find_address(environment=environment, directory=project).token is None
    (home / "config.toml").write_text('[tokens]\n"https://stranger" = "mp_meant"\n')
    assert find_address(environment=environment, directory=project).token == "mp_meant"


def test_the_token_of_the_environment_goes_with_its_server(home: Path, project: Path) -> None:
    environment = {"MP_HOME": str(home), "MP_TOKEN": "mp_environment", "MP_SERVER": "https://work"}
    assert find_address(environment=environment, directory=project).token == "mp_environment"
    assert find_address("https://other", environment=environment, directory=project).token is None
    assert find_address("https://other", "mp_given", environment=environment, directory=project).token == "mp_given"


def test_a_token_is_not_shown(home: Path, project: Path) -> None:
    address = find_address("https://work", "mp_secret", environment={"MP_HOME": str(home)}, directory=project)
    assert "mp_secret" not in repr(address)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('sever = "https://x"', "holds 'sever', which means nothing here. Did you mean 'server'"),
        ('token = "mp_x"', "holds 'token', which means nothing here"),
        ("server = ", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_meant(home: Path, project: Path, content: str, said: str) -> None:
    (project / "model-platform.toml").write_text(content)
    with pytest.raises(InvalidSpecError, match=said):
        find_address(environment={"MP_HOME": str(home)}, directory=project)


def test_an_address_is_a_url(home: Path, project: Path) -> None:
    with pytest.raises(InvalidError, match="it begins with http:// or https://"):
        find_address("work.example.org", environment={"MP_HOME": str(home)}, directory=project)


@pytest.mark.parametrize(
    "content",
    [
        "",
        'zone = "old"\nserver = "https://x"\n',
        '[tokens]\n"https://x" = "t"\n',
        'server = "https://x"\n[tokens]\n"https://x" = "t"\n',
    ],
)
def test_a_zone_is_remembered_and_nothing_else_is_lost(
    home: Path, project: Path, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MP_HOME", str(home))
    (home / "config.toml").write_text(content)
    before = find_address(environment={"MP_HOME": str(home)}, directory=project)
    remember_zone("project-crm")
    remember_zone("project-crm")
    after = find_address(environment={"MP_HOME": str(home)}, directory=project)
    assert after.zone == "project-crm"
    assert (after.server, after.token) == (before.server, before.token)
    assert ("tokens" in content) == ("[tokens]" in (home / "config.toml").read_text())
