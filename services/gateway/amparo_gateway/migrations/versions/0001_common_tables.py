"""The common tables: outbox, inbox, dead letters, the gateway's audit chain."""

from alembic import op
from alembic.operations import Operations

from amparo_common.db.common_schema import create_common_tables, drop_common_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_common_tables(Operations(op.get_context()))


def downgrade() -> None:
    drop_common_tables(Operations(op.get_context()))
