"""Alembic's way into intake's database."""

from amparo_common.crypto.key_table import key_metadata
from amparo_common.db.migration_env import run
from amparo_intake.tables import intake_metadata

run(key_metadata, intake_metadata)
