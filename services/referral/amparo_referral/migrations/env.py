"""Alembic's way into referral's database."""

from amparo_common.db.migration_env import run
from amparo_referral.tables import referral_metadata

run(referral_metadata)
