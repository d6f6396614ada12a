"""The projection: incidents with owners and history, reports, referrals, audited actions."""

import sqlalchemy as sa
from alembic import op

from amparo_common.db.types import BigId, LargeBinary, UtcDateTime, Uuid

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_incidents()
    _create_referrals()
    op.create_table(
        "audited",
        sa.Column("service", sa.Text(), primary_key=True),
        sa.Column("sequence", BigId, primary_key=True, autoincrement=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=True),
        sa.Column("allowed", sa.Boolean(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
    )
    op.create_index("audited_at", "audited", ["at"])
    op.create_table(
        "filled_from",
        sa.Column("id", BigId, primary_key=True, autoincrement=False),
        sa.Column("at", UtcDateTime(), nullable=False),
    )


def _create_incidents() -> None:
    op.create_table(
        "incident",
        sa.Column("id", Uuid(), primary_key=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("queue_place", LargeBinary(), nullable=False),
        sa.Column("receipt_place", LargeBinary(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("channels", sa.Integer(), nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=True),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("in_queue", sa.Boolean(), nullable=False),
        sa.Column("awaiting_signature", sa.Boolean(), nullable=False),
        sa.Column("state", LargeBinary(), nullable=False),
    )
    op.create_index("incident_queue", "incident", ["queue_place"], unique=True)
    op.create_index("incident_waiting", "incident", ["in_queue", "queue_place"])
    op.create_index("incident_country_queue", "incident", ["country", "in_queue", "queue_place"])
    op.create_index("incident_country", "incident", ["country", "queue_place"])
    op.create_index("incident_country_receipt", "incident", ["country", "receipt_place"])
    op.create_index("incident_receipt", "incident", ["receipt_place"], unique=True)
    op.create_index("incident_reference", "incident", ["reference"])
    op.create_table(
        "incident_owner",
        sa.Column("owner", sa.Text(), primary_key=True),
        sa.Column("incident_id", Uuid(), primary_key=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("queue_place", LargeBinary(), nullable=False),
        sa.Column("receipt_place", LargeBinary(), nullable=False),
    )
    op.create_index("incident_owner_queue", "incident_owner", ["owner", "queue_place"])
    op.create_index("incident_owner_receipt", "incident_owner", ["owner", "receipt_place"])
    op.create_table(
        "incident_history",
        sa.Column("incident_id", Uuid(), primary_key=True),
        sa.Column("version", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("state", LargeBinary(), nullable=False),
    )
    op.create_table(
        "report",
        sa.Column("id", Uuid(), primary_key=True),
        sa.Column("incident_id", Uuid(), nullable=False),
        sa.Column("incident_version", sa.Integer(), nullable=False),
    )
    op.create_index("report_incident", "report", ["incident_id"])


def _create_referrals() -> None:
    op.create_table(
        "referral",
        sa.Column("id", Uuid(), primary_key=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("newest_place", LargeBinary(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("incident_id", Uuid(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("organisation", sa.Text(), nullable=True),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=True),
        sa.Column("state", LargeBinary(), nullable=False),
    )
    op.create_index("referral_newest", "referral", ["newest_place"], unique=True)
    op.create_index("referral_incident", "referral", ["incident_id", "newest_place"])
    op.create_index("referral_country", "referral", ["country", "newest_place"])
    op.create_index("referral_organisation", "referral", ["organisation", "newest_place"])
    op.create_index("referral_reference", "referral", ["reference"])


def downgrade() -> None:
    for name in ("filled_from", "audited", "referral", "report", "incident_history", "incident_owner", "incident"):
        op.drop_table(name)
