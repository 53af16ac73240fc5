"""The configuration of the platform server: one description, from the command line, the environment or a file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class OwnEnvironments(StrEnum):
    """When an environment is built for a model that could be served from the one in which it was made."""

    FIRST = "first"
    """Before its first answer: nothing is borrowed."""
    LATER = "later"
    """In the background, while it answers."""
    NEVER = "never"
    """Not before the environment in which it was made does not do any more."""


class Settings(BaseSettings):
    """Every setting; `MP_SERVER_HOST` and so on in the environment.

    `state` holds everything the server keeps on disk. `database_url` is SQLite in there unless another is given.
    `allowed_hosts` are names under which the server may be addressed beyond loopback, `allowed_origins` pages of
    others that may call it. `owner` is the person of the embedded server. `gateway_port` is where endpoints answer;
    0 means where they did before, the first time 8800 or a free one near it. `own_environments` tells when models get
    an environment of their own, `own_environments_after` how many seconds a deployment has answered before.
    """

    model_config = SettingsConfigDict(env_prefix="MP_SERVER_", extra="ignore")

    state: Path
    host: str = "127.0.0.1"
    port: int = 0
    database_url: str = ""
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    owner: str = ""
    gateway_port: int = 0
    own_environments: OwnEnvironments = OwnEnvironments.LATER
    own_environments_after: float = Field(30.0, ge=0)

    @property
    def database(self) -> str:
        """The database's URL."""
        return self.database_url or f"sqlite:///{self.state.resolve()}/platform.db"

    @property
    def artifacts(self) -> Path:
        """Where the bytes of versions lie."""
        return self.state.resolve() / "artifacts"
