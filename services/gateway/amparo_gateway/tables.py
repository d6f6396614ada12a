"""The gateway's tables: the projection, which a replay drops and refills, in a database and MetaData of its own.

Columns hold what is filtered and ordered by; the rest is read from `state`, the event's bytes as they came. The
gateway's own database has the common tables only.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Final
from uuid import UUID

from sqlalchemy import Index, MetaData, Text
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from amparo_common.db.types import BigId, LargeBinary, UtcDateTime, Uuid

projection_metadata: Final = MetaData()


class ProjectionTable(SQLModel, registry=registry(metadata=projection_metadata)):
    """Base of the projection's tables."""


class IncidentRow(ProjectionTable, table=True):
    """The newest known state of an incident."""

    __tablename__: ClassVar[str] = "incident"
    __table_args__ = (
        Index("incident_queue", "queue_place", unique=True),
        Index("incident_waiting", "in_queue", "queue_place"),
        Index("incident_country_queue", "country", "in_queue", "queue_place"),
        Index("incident_country", "country", "queue_place"),
        Index("incident_country_receipt", "country", "receipt_place"),
        Index("incident_receipt", "receipt_place", unique=True),
        Index("incident_reference", "reference"),
        Index("incident_figures", "received_at", "country", "received_on", "channel", "category", "level"),
    )

    id: UUID = Field(primary_key=True, sa_type=Uuid)
    version: int
    #: Places in queue order and in order of receipt (see `domain`).
    queue_place: bytes = Field(sa_type=LargeBinary)
    receipt_place: bytes = Field(sa_type=LargeBinary)
    reference: str = Field(sa_type=Text)
    lane: str = Field(sa_type=Text)
    level: str = Field(sa_type=Text)
    status: str = Field(sa_type=Text)
    category: str = Field(sa_type=Text)
    country: str = Field(sa_type=Text)
    #: A bit for each channel (see `domain.channel_bits`).
    channels: int
    #: The channel of its first report.
    channel: str = Field(sa_type=Text)
    received_at: datetime = Field(sa_type=UtcDateTime)
    #: The UTC day of `received_at`, such as 2026-03-01.
    received_on: str = Field(sa_type=Text)
    due_at: datetime | None = Field(sa_type=UtcDateTime)
    claimed_by: str | None = Field(sa_type=Text)
    in_queue: bool
    awaiting_signature: bool
    #: The event org.amparo.incident.triaged.v1 as it came.
    state: bytes = Field(sa_type=LargeBinary)


class IncidentOwnerRow(ProjectionTable, table=True):
    """Who owns sight of an incident, with its places, so that a list of one's own is read from an index too."""

    __tablename__: ClassVar[str] = "incident_owner"
    __table_args__ = (
        Index("incident_owner_queue", "owner", "queue_place"),
        Index("incident_owner_receipt", "owner", "receipt_place"),
    )

    owner: str = Field(primary_key=True, sa_type=Text)
    incident_id: UUID = Field(primary_key=True, sa_type=Uuid)
    #: The newest version that names the owner.
    version: int
    queue_place: bytes = Field(sa_type=LargeBinary)
    receipt_place: bytes = Field(sa_type=LargeBinary)


class IncidentHistoryRow(ProjectionTable, table=True):
    """Every known version of an incident, in any order of arrival. What changed is found when it is read."""

    __tablename__: ClassVar[str] = "incident_history"

    incident_id: UUID = Field(primary_key=True, sa_type=Uuid)
    version: int = Field(primary_key=True)
    state: bytes = Field(sa_type=LargeBinary)


class ReportRow(ProjectionTable, table=True):
    """The incident that a report went into."""

    __tablename__: ClassVar[str] = "report"
    __table_args__ = (Index("report_incident", "incident_id"),)

    id: UUID = Field(primary_key=True, sa_type=Uuid)
    incident_id: UUID = Field(sa_type=Uuid)
    incident_version: int


class ReferralRow(ProjectionTable, table=True):
    """The newest known state of a referral."""

    __tablename__: ClassVar[str] = "referral"
    __table_args__ = (
        Index("referral_newest", "newest_place", unique=True),
        Index("referral_incident", "incident_id", "newest_place"),
        Index("referral_country", "country", "newest_place"),
        Index("referral_organisation", "organisation", "newest_place"),
        Index("referral_reference", "reference"),
        Index("referral_partner_status", "partner_id", "status"),
        Index("referral_partner_delivered", "partner_id", "delivered_at"),
    )

    id: UUID = Field(primary_key=True, sa_type=Uuid)
    version: int
    newest_place: bytes = Field(sa_type=LargeBinary)
    reference: str = Field(sa_type=Text)
    incident_id: UUID = Field(sa_type=Uuid)
    partner_id: UUID = Field(sa_type=Uuid)
    country: str = Field(sa_type=Text)
    #: The organisation that may see it, once the partner may know of it (see `domain.partner_sees`).
    organisation: str | None = Field(sa_type=Text)
    destination: str = Field(sa_type=Text)
    status: str = Field(sa_type=Text)
    delivered_at: datetime | None = Field(sa_type=UtcDateTime)
    due_at: datetime | None = Field(sa_type=UtcDateTime)
    #: The event org.amparo.referral.changed.v1 as it came.
    state: bytes = Field(sa_type=LargeBinary)


class PartnerRow(ProjectionTable, table=True):
    """The newest known directory entry of a partner."""

    __tablename__: ClassVar[str] = "partner"
    __table_args__ = (Index("partner_name", "name_place", unique=True),)

    id: UUID = Field(primary_key=True, sa_type=Uuid)
    version: int
    name_place: bytes = Field(sa_type=LargeBinary)
    #: Codes between spaces, such as ` GT SV `; ` * ` is every country.
    countries: str = Field(sa_type=Text)
    #: The event org.amparo.partner.changed.v1 as it came.
    state: bytes = Field(sa_type=LargeBinary)


class TaskRow(ProjectionTable, table=True):
    """The newest known state of work for a person on a referral."""

    __tablename__: ClassVar[str] = "task"
    __table_args__ = (
        Index("task_due", "is_open", "due_place"),
        Index("task_country_due", "country", "is_open", "due_place"),
    )

    id: UUID = Field(primary_key=True, sa_type=Uuid)
    version: int
    due_place: bytes = Field(sa_type=LargeBinary)
    referral_id: UUID = Field(sa_type=Uuid)
    country: str = Field(sa_type=Text)
    is_open: bool
    #: The event org.amparo.task.changed.v1 as it came.
    state: bytes = Field(sa_type=LargeBinary)


class AuditedRow(ProjectionTable, table=True):
    """A row of a service's audit chain."""

    __tablename__: ClassVar[str] = "audited"
    __table_args__ = (
        Index("audited_newest", "newest_place", unique=True),
        Index("audited_actor", "actor", "newest_place"),
        Index("audited_subject", "subject", "newest_place"),
    )

    service: str = Field(primary_key=True, sa_type=Text)
    sequence: int = Field(primary_key=True, sa_type=BigId)
    newest_place: bytes = Field(sa_type=LargeBinary)
    at: datetime = Field(sa_type=UtcDateTime)
    actor: str = Field(sa_type=Text)
    role: str = Field(sa_type=Text)
    action: str = Field(sa_type=Text)
    subject: str = Field(sa_type=Text)
    purpose: str | None = Field(sa_type=Text)
    allowed: bool
    hash: str = Field(sa_type=Text)


class FilledFromRow(ProjectionTable, table=True):
    """One row once the log was rewound for these tables; without it, what was read before may be missing."""

    __tablename__: ClassVar[str] = "filled_from"

    id: int = Field(primary_key=True, sa_type=BigId)
    #: The migration whose tables were filled; after the next one the log is read anew.
    revision: str = Field(sa_type=Text)
    at: datetime = Field(sa_type=UtcDateTime)
