"""Alembic's entry point: run the migrations on the connection that `LedgerDatabase` provides."""

from alembic import context

from xtalgrid_server.ledger.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
