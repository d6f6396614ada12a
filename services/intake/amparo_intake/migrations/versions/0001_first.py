"""Reports, receipts, threads, progress, holds and erasures; data keys; outbox, inbox and audit."""

from typing import cast

import sqlalchemy as sa
from alembic import op
from alembic.operations import Operations

from amparo_common.crypto.key_table import create_key_tables, drop_key_tables
from amparo_common.db.common_schema import create_common_tables, drop_common_tables
from amparo_common.db.types import LargeBinary, UtcDateTime, Uuid

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

#: The module `alembic.op` stands in for the running Operations.
_operations = cast("Operations", op)


def upgrade() -> None:
    create_common_tables(_operations)
    create_key_tables(_operations)
    _create_reports()
    _create_cases()


def _create_reports() -> None:
    op.create_table(
        "report",
        sa.Column("report_id", Uuid(), primary_key=True),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("case_hash", LargeBinary(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("factors", sa.Text(), nullable=False),
        sa.Column("victim_age", sa.Integer(), nullable=True),
        sa.Column("victim_count", sa.Integer(), nullable=True),
        sa.Column("imminent_danger", sa.Boolean(), nullable=True),
        sa.Column("reporter_type", sa.Text(), nullable=True),
        sa.Column("safe_contact", sa.Text(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("trusted_source", sa.Boolean(), nullable=False),
        sa.Column("is_test", sa.Boolean(), nullable=False),
        sa.Column("narrative", LargeBinary(), nullable=False),
        sa.Column("identity", LargeBinary(), nullable=True),
    )
    op.create_index("report_case_hash", "report", ["case_hash"], unique=True)
    op.create_table(
        "kept_receipt",
        sa.Column("key_hash", LargeBinary(), primary_key=True),
        sa.Column("body_hash", LargeBinary(), nullable=False),
        sa.Column("report_id", Uuid(), nullable=False),
        sa.Column("receipt", LargeBinary(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
    )
    op.create_index("kept_receipt_expiry", "kept_receipt", ["expires_at"])


def _create_cases() -> None:
    op.create_table(
        "thread_message",
        sa.Column("report_id", Uuid(), primary_key=True),
        sa.Column("message_id", Uuid(), primary_key=True),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("from_reporter", sa.Boolean(), nullable=False),
        sa.Column("message", LargeBinary(), nullable=False),
    )
    op.create_table(
        "joined_report",
        sa.Column("report_id", Uuid(), primary_key=True),
        sa.Column("incident_id", Uuid(), nullable=False),
        sa.Column("joined_at", UtcDateTime(), nullable=False),
    )
    op.create_index("joined_report_incident", "joined_report", ["incident_id"])
    op.create_table(
        "incident_progress",
        sa.Column("incident_id", Uuid(), primary_key=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("in_review", sa.Boolean(), nullable=False),
        sa.Column("passed_on", sa.Boolean(), nullable=False),
        sa.Column("closed", sa.Boolean(), nullable=False),
        sa.Column("unsafe_callback", sa.Boolean(), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=True),
    )
    op.create_table(
        "hold",
        sa.Column("hold_id", Uuid(), primary_key=True),
        sa.Column("incident_id", Uuid(), nullable=False),
        sa.Column("record_classes", sa.Text(), nullable=False),
        sa.Column("placed_by", sa.Text(), nullable=False),
        sa.Column("placed_at", UtcDateTime(), nullable=False),
        sa.Column("until", UtcDateTime(), nullable=False),
        sa.Column("released_at", UtcDateTime(), nullable=True),
        sa.Column("request", LargeBinary(), nullable=False),
    )
    op.create_index("hold_incident", "hold", ["incident_id"])
    op.create_table(
        "erasure",
        sa.Column("incident_id", Uuid(), primary_key=True),
        sa.Column("erased_at", UtcDateTime(), nullable=False),
        sa.Column("erased_by", sa.Text(), nullable=False),
        sa.Column("reason", LargeBinary(), nullable=False),
    )


def downgrade() -> None:
    for name in ("erasure", "hold", "incident_progress", "joined_report", "thread_message", "kept_receipt", "report"):
        op.drop_table(name)
    drop_key_tables(_operations)
    drop_common_tables(_operations)
