"""Runs migrations on the connection that ``store.migrate`` opened, in its transaction."""

from __future__ import annotations

from alembic import context

import gateway.store.learning_tables  # noqa: F401 - its tables belong to the schema
from gateway.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
context.run_migrations()
