"""Alembic's way into triage's database."""

from amparo_common.db.migration_env import run

run()
