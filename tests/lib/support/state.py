"""Whether what a server has written fits together: looked at from outside, in its database and on its disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import sqlalchemy as sa

from model_platform_server.adapters.database import tables
from model_platform_server.adapters.database.engine import Database


def check_state(state: Path, database_url: str | None = None) -> list[Path]:
    """Nothing is half-registered: rows of ours, MLflow's rows, events and bytes tell the same. Files that nobody knows."""
    database = Database(database_url or f"sqlite:///{state / 'platform.db'}")
    with closing(database), database.read() as connection:

        def rows(query: str) -> list[str]:
            return sorted(":".join(map(str, row)) for row in connection.execute(sa.text(query)))

        versions = rows("SELECT zone || '.' || name, version FROM mp_versions")
        assert versions == rows("SELECT name, version FROM model_versions WHERE current_stage != 'Deleted_Internal'")
        told = sa.select(tables.events.c.subject, tables.events.c.data).where(
            tables.events.c.type == "version_registered"
        )
        assert sorted(f"{row.subject}:{row.data['version']}" for row in connection.execute(told)) == versions
        models = sorted({version.rpartition(":")[0] for version in versions})
        assert models == rows("SELECT zone || '.' || name FROM mp_models") == rows("SELECT name FROM registered_models")
        assert (
            len(versions) == len(rows("SELECT run_uuid FROM runs")) == len(rows("SELECT model_id FROM logged_models"))
        )
        files = rows(
            "SELECT v.location || '/' || f.path, f.sha256 FROM mp_versions v JOIN mp_files f USING (zone, name, version)"
        )
    found = dict(_files(state / "artifacts"))
    assert set(files) <= set(found)
    return [path for text, path in found.items() if text not in set(files)]


def _files(artifacts: Path) -> Iterator[tuple[str, Path]]:
    for path in artifacts.rglob("*"):
        if path.is_file():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            yield f"mlflow-artifacts:/{path.relative_to(artifacts).as_posix()}:sha256:{digest}", path


def runner_processes(state: Path, endpoint: str) -> list[psutil.Process]:
    """The runners of an endpoint, by what they were started with."""
    return _started_with(f"{state.resolve() / 'local' / 'deployments'}/", f"/{endpoint}/")


def gateway_process(state: Path) -> psutil.Process:
    """The Envoy of a state directory; there is exactly one."""
    (found,) = _started_with(str(state.resolve() / "local" / "gateway" / "bootstrap.json"))
    return found


def _started_with(*texts: str) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline", "status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE
        and any(all(text in argument for text in texts) for argument in process.info["cmdline"] or [])
    ]
