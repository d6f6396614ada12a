"""Referral's own tables, with the common ones."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from alembic.operations import Operations

from amparo_common.db.common_schema import create_common_tables, drop_common_tables
from amparo_common.db.types import UtcDateTime, Uuid

revision = "0001"
down_revision = None


def upgrade() -> None:
    create_common_tables(Operations(op.get_context()))
    _create_told()
    _create_directory()
    _create_referrals()
    _create_packages()
    _create_history()


def _create_told() -> None:
    op.create_table(
        "incident",
        sa.Column("id", Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=True),
        sa.Column("basis", sa.LargeBinary(), nullable=True),
        sa.Column("erased", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "report",
        sa.Column("id", Uuid(), nullable=False),
        sa.Column("incident_id", Uuid(), nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("facts", sa.LargeBinary(), nullable=False),
        sa.Column("narrative", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("report_of_incident", "report", ["incident_id", "received_at"], unique=False)
    op.create_table(
        "no_route",
        sa.Column("incident_id", Uuid(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("incident_id", "destination"),
    )


def _create_directory() -> None:
    op.create_table(
        "partner",
        sa.Column("id", Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("organisation", sa.Text(), nullable=True),
        sa.Column("countries", sa.Text(), nullable=False),
        sa.Column("languages", sa.Text(), nullable=False),
        sa.Column("adapter", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("secret", sa.LargeBinary(), nullable=True),
        sa.Column("accepts_emergency", sa.Boolean(), nullable=False),
        sa.Column("last_verified_at", UtcDateTime(), nullable=True),
        sa.Column("last_delivered_at", UtcDateTime(), nullable=True),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "route",
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("partner_id", Uuid(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("release", sa.Text(), nullable=False),
        sa.Column("categories", sa.Text(), nullable=False),
        sa.Column("levels", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["partner_id"],
            ["partner.id"],
        ),
        sa.PrimaryKeyConstraint("country", "destination", "partner_id"),
    )


def _create_referrals() -> None:
    op.create_table(
        "referral",
        sa.Column("id", Uuid(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("incident_id", Uuid(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("partner_id", Uuid(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("release", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("lawful_basis", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("package_version", sa.Integer(), nullable=False),
        sa.Column("approved_version", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.Column("queued_at", UtcDateTime(), nullable=True),
        sa.Column("delivered_at", UtcDateTime(), nullable=True),
        sa.Column("acknowledged_at", UtcDateTime(), nullable=True),
        sa.Column("due_at", UtcDateTime(), nullable=True),
        sa.Column("escalate_at", UtcDateTime(), nullable=True),
        sa.Column("escalations", sa.Integer(), nullable=False),
        sa.Column("build_at", UtcDateTime(), nullable=True),
        sa.Column("wanted_at", UtcDateTime(), nullable=True),
        sa.Column("attempted", sa.Boolean(), nullable=False),
        sa.Column("is_test", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["partner_id"],
            ["partner.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("incident_id", "destination", "ordinal", name="referral_once"),
        sa.UniqueConstraint("reference", name="referral_reference"),
    )
    op.create_index("referral_of_partner", "referral", ["partner_id", "status"], unique=False)
    op.create_index("referral_to_build", "referral", ["build_at"], unique=False)
    op.create_index("referral_to_escalate", "referral", ["escalate_at"], unique=False)


def _create_packages() -> None:
    op.create_table(
        "package",
        sa.Column("referral_id", Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("incident_id", Uuid(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("withheld", sa.LargeBinary(), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["referral_id"],
            ["referral.id"],
        ),
        sa.PrimaryKeyConstraint("referral_id", "version"),
    )
    op.create_index("package_of_incident", "package", ["incident_id"], unique=False)
    op.create_table(
        "delivery",
        sa.Column("referral_id", Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("partner_id", Uuid(), nullable=False),
        sa.Column("webhook_id", sa.Text(), nullable=False),
        sa.Column("revocation", sa.Boolean(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=True),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", UtcDateTime(), nullable=False),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["partner_id"],
            ["partner.id"],
        ),
        sa.ForeignKeyConstraint(
            ["referral_id"],
            ["referral.id"],
        ),
        sa.PrimaryKeyConstraint("referral_id", "version"),
        sa.UniqueConstraint("webhook_id", name="delivery_webhook_id"),
    )
    op.create_index("delivery_due", "delivery", ["state", "next_attempt_at"], unique=False)
    op.create_index("delivery_of_partner", "delivery", ["partner_id"], unique=False)


def _create_history() -> None:
    op.create_table(
        "attempt",
        sa.Column("referral_id", Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("next_attempt_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["referral_id"],
            ["referral.id"],
        ),
        sa.PrimaryKeyConstraint("referral_id", "number"),
    )
    op.create_table(
        "acknowledgement",
        sa.Column("id", Uuid(), nullable=False),
        sa.Column("referral_id", Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("taken_at", UtcDateTime(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("partner_reference", sa.Text(), nullable=True),
        sa.Column("until", UtcDateTime(), nullable=True),
        sa.Column("forwarded_to", sa.Text(), nullable=True),
        sa.Column("classification", sa.LargeBinary(), nullable=True),
        sa.Column("note", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["referral_id"],
            ["referral.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("referral_id", "digest", name="acknowledgement_once"),
    )


def downgrade() -> None:
    for name in (
        "acknowledgement",
        "attempt",
        "delivery",
        "package",
        "referral",
        "route",
        "partner",
        "no_route",
        "report",
        "incident",
    ):
        op.drop_table(name)
    drop_common_tables(Operations(op.get_context()))
