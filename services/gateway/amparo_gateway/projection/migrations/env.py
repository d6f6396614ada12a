"""Alembic's way into the projection's database."""

from amparo_common.db.migration_env import run
from amparo_gateway.tables import projection_metadata

run(projection_metadata)
