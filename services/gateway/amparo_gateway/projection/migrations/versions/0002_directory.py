"""Partners, tasks and figures. The tables that gain a column are emptied: the log fills them anew at the next start."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from amparo_common.db.types import LargeBinary, UtcDateTime, Uuid

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_EMPTIED = ("filled_from", "audited", "referral", "report", "incident_history", "incident_owner", "incident")
_FIGURES = ["received_at", "country", "received_on", "channel", "category", "level"]


def upgrade() -> None:
    _empty()
    _add(
        "incident", sa.Column("channel", sa.Text(), nullable=False), sa.Column("received_on", sa.Text(), nullable=False)
    )
    op.create_index("incident_figures", "incident", _FIGURES)
    _add(
        "referral",
        sa.Column("partner_id", Uuid(), nullable=False),
        sa.Column("delivered_at", UtcDateTime(), nullable=True),
    )
    op.create_index("referral_partner_status", "referral", ["partner_id", "status"])
    op.create_index("referral_partner_delivered", "referral", ["partner_id", "delivered_at"])
    op.drop_index("audited_at", "audited")
    _add("audited", sa.Column("newest_place", LargeBinary(), nullable=False))
    op.create_index("audited_newest", "audited", ["newest_place"], unique=True)
    op.create_index("audited_actor", "audited", ["actor", "newest_place"])
    op.create_index("audited_subject", "audited", ["subject", "newest_place"])
    _add("filled_from", sa.Column("revision", sa.Text(), nullable=False))
    _create_directory()


def _create_directory() -> None:
    op.create_table(
        "partner",
        sa.Column("id", Uuid(), primary_key=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name_place", LargeBinary(), nullable=False),
        sa.Column("countries", sa.Text(), nullable=False),
        sa.Column("state", LargeBinary(), nullable=False),
    )
    op.create_index("partner_name", "partner", ["name_place"], unique=True)
    op.create_table(
        "task",
        sa.Column("id", Uuid(), primary_key=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("due_place", LargeBinary(), nullable=False),
        sa.Column("referral_id", Uuid(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("state", LargeBinary(), nullable=False),
    )
    op.create_index("task_due", "task", ["is_open", "due_place"])
    op.create_index("task_country_due", "task", ["country", "is_open", "due_place"])


def downgrade() -> None:
    _empty()
    op.drop_table("task")
    op.drop_table("partner")
    _remove("filled_from", "revision")
    for name in ("audited_subject", "audited_actor", "audited_newest"):
        op.drop_index(name, "audited")
    _remove("audited", "newest_place")
    op.create_index("audited_at", "audited", ["at"])
    for name in ("referral_partner_delivered", "referral_partner_status"):
        op.drop_index(name, "referral")
    _remove("referral", "delivered_at", "partner_id")
    op.drop_index("incident_figures", "incident")
    _remove("incident", "received_on", "channel")


def _empty() -> None:
    for name in _EMPTIED:
        op.execute(sa.delete(sa.table(name)))


def _add(name: str, *columns: sa.Column[Any]) -> None:
    with op.batch_alter_table(name, recreate="auto") as table:
        for column in columns:
            table.add_column(column)


def _remove(name: str, *columns: str) -> None:
    with op.batch_alter_table(name) as table:
        for column in columns:
            table.drop_column(column)
