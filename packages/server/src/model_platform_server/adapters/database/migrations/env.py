"""Run by Alembic: migrates our tables alone, in the transaction that the caller opened."""

from alembic import context

from model_platform_server.adapters.database.tables import VERSION_TABLE, is_ours, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    include_name=is_ours,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
