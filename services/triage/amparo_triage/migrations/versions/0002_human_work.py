"""The queue, claims and notes of people."""

import sqlalchemy as sa
from alembic import op

from amparo_common.db.types import LargeBinary, UtcDateTime, Uuid

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("incident") as incident:
        # Until now nobody could claim, decide or close: every incident is in the queue.
        incident.add_column(sa.Column("in_queue", sa.Boolean(), nullable=False, server_default=sa.true()))
        incident.add_column(sa.Column("claimed_by", sa.Text(), nullable=True))
        incident.add_column(sa.Column("claimed_until", UtcDateTime(), nullable=True))
        incident.add_column(sa.Column("proposed_by", sa.Text(), nullable=True))
        incident.create_index("incident_lease", ["claimed_until"])
        incident.create_index("incident_queue", ["in_queue", "level", "due_at"])
    op.create_table(
        "note",
        sa.Column("id", Uuid(), primary_key=True),
        sa.Column("incident_id", Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("other_id", Uuid(), nullable=True),
        sa.Column("sealed", LargeBinary(), nullable=False),
    )
    op.create_index("note_incident", "note", ["incident_id"])


def downgrade() -> None:
    op.drop_table("note")
    with op.batch_alter_table("incident") as incident:
        incident.drop_index("incident_queue")
        incident.drop_index("incident_lease")
        for column in ("proposed_by", "claimed_until", "claimed_by", "in_queue"):
            incident.drop_column(column)
