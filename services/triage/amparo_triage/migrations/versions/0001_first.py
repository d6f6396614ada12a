"""Incidents, reports, claims, evidence, pending texts, and the common tables."""

import sqlalchemy as sa
from alembic import op

from amparo_common.db.common_schema import create_common_tables, drop_common_tables
from amparo_common.db.types import BigId, LargeBinary, UtcDateTime, Uuid

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_common_tables(op)  # type: ignore[arg-type]  # the proxy module
    _create_incidents()
    _create_texts()


def downgrade() -> None:
    for name in ("first_referral", "erased_report", "pending_text", "evidence", "claim", "report", "incident"):
        op.drop_table(name)
    drop_common_tables(op)  # type: ignore[arg-type]  # the proxy module


def _create_incidents() -> None:
    op.create_table(
        "incident",
        sa.Column("id", Uuid(), primary_key=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("score", sa.Integer(), nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=True),
        sa.Column("clock_at", UtcDateTime(), nullable=True),
        sa.Column("joinable", sa.Boolean(), nullable=False),
        sa.Column("state", LargeBinary(), nullable=False),
    )
    op.create_index("incident_clock", "incident", ["clock_at"])
    op.create_table(
        "report",
        sa.Column("id", Uuid(), primary_key=True),
        sa.Column("incident_id", Uuid(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("erased", sa.Boolean(), nullable=False),
    )
    op.create_index("report_incident", "report", ["incident_id"])
    op.create_table(
        "claim",
        sa.Column("value", LargeBinary(), primary_key=True),
        sa.Column("country", sa.Text(), primary_key=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("incident_id", Uuid(), nullable=False),
        sa.Column("report_id", Uuid(), nullable=False),
    )
    op.create_index("claim_incident", "claim", ["incident_id"])
    op.create_index("claim_report", "claim", ["report_id"])
    op.create_table(
        "first_referral",
        sa.Column("incident_id", Uuid(), primary_key=True),
        sa.Column("delivered_at", UtcDateTime(), nullable=False),
    )


def _create_texts() -> None:
    op.create_table(
        "evidence",
        sa.Column("report_id", Uuid(), primary_key=True),
        sa.Column("part", sa.Text(), primary_key=True),
        sa.Column("position", BigId, primary_key=True, autoincrement=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("stop", sa.Integer(), nullable=False),
        sa.Column("factor", sa.Text(), nullable=True),
        sa.Column("category", sa.Text(), nullable=True),
    )
    op.create_table(
        "pending_text",
        sa.Column("id", Uuid(), primary_key=True),
        sa.Column("report_id", Uuid(), nullable=False),
        sa.Column("country", sa.Text(), nullable=True),
        sa.Column("is_message", sa.Boolean(), nullable=False),
        sa.Column("trusted_source", sa.Boolean(), nullable=False),
        sa.Column("sealed", LargeBinary(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
    )
    op.create_index("pending_text_due", "pending_text", ["due_at"])
    op.create_index("pending_text_report", "pending_text", ["report_id"])
    op.create_table(
        "erased_report",
        sa.Column("report_id", Uuid(), primary_key=True),
        sa.Column("at", UtcDateTime(), nullable=False),
    )
