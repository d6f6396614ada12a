"""What people do: referrals of their own, approvals of a version they saw, tasks, partners that the graph knows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from amparo_common.db.types import UtcDateTime, Uuid

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("referral", sa.Column("referred_by", sa.Text(), nullable=True))
    op.add_column("referral", sa.Column("note", sa.LargeBinary(), nullable=True))
    # Rows that stand get 0: any version that somebody saw covers their package, and no partner was told of yet.
    op.add_column("referral", sa.Column("packaged_version", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("partner", sa.Column("version", sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "task",
        sa.Column("id", Uuid(), nullable=False),
        sa.Column("referral_id", Uuid(), nullable=False),
        sa.Column("incident_id", Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("package_version", sa.Integer(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("errand", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("completed_at", UtcDateTime(), nullable=True),
        sa.Column("completed_by", sa.Text(), nullable=True),
        sa.Column("partner_reference", sa.Text(), nullable=True),
        sa.Column("note", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["referral_id"], ["referral.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("task_of_referral", "task", ["referral_id"], unique=False)
    op.create_index("task_of_incident", "task", ["incident_id"], unique=False)
    op.create_table(
        "approval",
        sa.Column("id", Uuid(), nullable=False),
        sa.Column("referral_id", Uuid(), nullable=False),
        sa.Column("incident_id", Uuid(), nullable=False),
        sa.Column("package_version", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("approved", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["referral_id"], ["referral.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("approval_of_referral", "approval", ["referral_id"], unique=False)


def downgrade() -> None:
    op.drop_table("approval")
    op.drop_table("task")
    op.drop_column("partner", "version")
    for name in ("packaged_version", "note", "referred_by"):
        op.drop_column("referral", name)
