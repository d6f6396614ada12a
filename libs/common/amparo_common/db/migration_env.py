"""What every service's `migrations/env.py` runs."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, MetaData

from amparo_common.db.tables import common_metadata


def run(*metadata: MetaData) -> None:
    """Run the migrations over the connection that `migrate` gave; `metadata` are the service's own, for autogenerate.

    Raises RuntimeError without a connection: migrations run through `amparo_common.db.migrations` only.
    """
    connection: Connection | None = context.config.attributes.get("connection")
    if connection is None:
        raise RuntimeError("migrations run through amparo_common.db.migrations.migrate, which gives the connection")
    context.configure(connection=connection, target_metadata=[common_metadata, *metadata], render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
