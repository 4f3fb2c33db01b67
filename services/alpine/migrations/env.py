"""What Alembic runs: the connection is given, its transaction is the caller's."""

from alembic import context

from services.alpine.tables import tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables,
    transactional_ddl=True,  # SQLite can, though Alembic does not think so
)
with context.begin_transaction():
    context.run_migrations()
