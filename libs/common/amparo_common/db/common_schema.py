"""The first version of the common tables, for each service's first migration. A later change is one of its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations

from amparo_common.db.types import BigId, LargeBinary, UtcDateTime, Uuid


def create_common_tables(op: Operations) -> None:
    """Create outbox, inbox, dead letters and the audit chain; `op` is `alembic.op`."""
    _create_queues(op)
    _create_audit(op)


def drop_common_tables(op: Operations) -> None:
    """Drop what `create_common_tables` made."""
    for name in ("audit_checkpoint", "audit_head", "audit_entry", "dead_letter", "inbox", "outbox"):
        op.drop_table(name)


def _create_queues(op: Operations) -> None:
    op.create_table(
        "outbox",
        sa.Column("seq", BigId, primary_key=True),
        sa.Column("event_id", Uuid(), nullable=False),
        sa.Column("urgent", sa.Boolean(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("key", LargeBinary(), nullable=False),
        sa.Column("headers", LargeBinary(), nullable=False),
        sa.Column("value", LargeBinary(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
    )
    op.create_index("outbox_lane", "outbox", ["urgent", "seq"])
    op.create_table(
        "inbox",
        sa.Column("consumer", sa.Text(), primary_key=True),
        sa.Column("event_id", Uuid(), primary_key=True),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", BigId, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "dead_letter",
        sa.Column("id", Uuid(), primary_key=True),
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", BigId, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("key", LargeBinary(), nullable=False),
        sa.Column("headers", LargeBinary(), nullable=False),
        sa.Column("value", LargeBinary(), nullable=False),
    )
    op.create_index("dead_letter_waiting", "dead_letter", ["state", "at", "id"])


def _create_audit(op: Operations) -> None:
    op.create_table(
        "audit_entry",
        sa.Column("service", sa.Text(), primary_key=True),
        sa.Column("sequence", BigId, primary_key=True, autoincrement=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=True),
        sa.Column("allowed", sa.Boolean(), nullable=False),
        sa.Column("hash", LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "audit_head",
        sa.Column("service", sa.Text(), primary_key=True),
        sa.Column("size", BigId, nullable=False),
        sa.Column("hash", LargeBinary(), nullable=False),
    )
    op.create_table(
        "audit_checkpoint",
        sa.Column("service", sa.Text(), primary_key=True),
        sa.Column("size", BigId, primary_key=True, autoincrement=False),
        sa.Column("head", LargeBinary(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("signature", LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )
