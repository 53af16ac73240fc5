"""The tables that migrations make are those that the code speaks of, beside MLflow's in one database."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from model_platform_core.errors import DatabaseUnavailableError
from model_platform_server.adapters.database.engine import NEWEST_REVISION, Database, migrate
from model_platform_server.adapters.database.tables import VERSION_TABLE, event_counter, is_ours, metadata
from model_platform_server.adapters.database.upgrade import MIGRATIONS

_MIGRATE = "import sys; from model_platform_server.adapters.database.engine import migrate; migrate(sys.argv[1])"


def differences(url: str) -> list[object]:
    """What Alembic would change to make the database what the metadata says: types, keys, indexes, tables."""
    with closing(Database(url)) as database, database.read() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "include_name": is_ours})
        return list(compare_metadata(context, metadata))


def tables(url: str) -> set[str]:
    with closing(Database(url)) as database, database.read() as connection:
        return set(sa.inspect(connection).get_table_names())


def test_migrated_tables_are_those_of_the_code(database_url: str) -> None:
    migrate(database_url)
    assert differences(database_url) == []
    assert tables(database_url) == {*metadata.tables, VERSION_TABLE}


def test_the_comparison_sees_a_difference(database_url: str) -> None:
    migrate(database_url)
    with closing(Database(database_url)) as database, database.write() as connection:
        connection.exec_driver_sql("DROP INDEX ix_mp_files_sha256_zone")
        connection.exec_driver_sql("CREATE TABLE mp_unknown (id INTEGER)")
    assert len(differences(database_url)) == 2


def test_mlflows_tables_and_ours_leave_one_another_alone(database_url: str) -> None:
    mlflow_url = database_url.replace("postgresql:", "postgresql+psycopg:")
    subprocess.run([sys.executable, "-m", "mlflow", "db", "upgrade", mlflow_url], check=True, capture_output=True)
    of_mlflow = tables(database_url)
    migrate(database_url)
    assert {"registered_models", "alembic_version"} <= of_mlflow
    assert tables(database_url) == of_mlflow | {*metadata.tables, VERSION_TABLE}
    assert differences(database_url) == []


def test_servers_that_start_at_once_migrate_once(database_url: str) -> None:
    starting = [
        subprocess.Popen([sys.executable, "-c", _MIGRATE, database_url], stderr=subprocess.PIPE) for _ in range(4)
    ]
    told = [process.communicate()[1].decode() for process in starting]
    assert [process.returncode for process in starting] == [0] * 4, "\n".join(told)
    assert differences(database_url) == []
    with closing(Database(database_url)) as database, database.read() as connection:
        assert connection.execute(sa.select(event_counter)).all() == [("events", 0)]


def test_migrating_again_keeps_what_is_there(database_url: str) -> None:
    migrate(database_url)
    with closing(Database(database_url)) as database:
        with database.write() as connection:
            connection.execute(sa.update(event_counter).values(last_id=7))
        migrate(database_url)
        with database.read() as connection:
            assert connection.execute(sa.select(event_counter)).all() == [("events", 7)]


def test_the_database_of_a_newer_version_is_left_alone(database_url: str) -> None:
    migrate(database_url)
    with closing(Database(database_url)) as database, database.write() as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(DatabaseUnavailableError, match="newer version"):
        migrate(database_url)
    with closing(Database(database_url)) as database, database.read() as connection:
        assert connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar_one() == "9999"


def test_a_migration_that_breaks_off_leaves_nothing(database_url: str) -> None:
    with closing(Database(database_url)) as database:
        with database.write() as connection:
            connection.exec_driver_sql("CREATE TABLE mp_answers (id INTEGER)")  # the last table that is made
        with pytest.raises(sa.exc.DBAPIError, match="mp_answers"):
            migrate(database_url)
        assert tables(database_url) == {"mp_answers"}
        with database.write() as connection:
            connection.exec_driver_sql("DROP TABLE mp_answers")
    migrate(database_url)
    assert differences(database_url) == []


def test_the_newest_migration_is_the_one_that_a_start_looks_for() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == NEWEST_REVISION


def test_tables_that_are_what_is_needed_take_no_machinery_of_migrations(database_url: str) -> None:
    migrate(database_url)
    again = f"{_MIGRATE}; assert 'alembic' not in sys.modules"
    subprocess.run([sys.executable, "-c", again, database_url], check=True)
