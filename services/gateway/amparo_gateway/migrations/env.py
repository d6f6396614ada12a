"""Alembic's way into the gateway's own database: the common tables only."""

from amparo_common.db.migration_env import run

run()
