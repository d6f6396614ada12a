"""The tables of referral, defined once."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Final
from uuid import UUID

from sqlalchemy import Index, MetaData, Text, UniqueConstraint
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from amparo_common.db.tables import table_of
from amparo_common.db.types import LargeBinary, UtcDateTime, Uuid

referral_metadata: Final = MetaData()


class ReferralTable(SQLModel, registry=registry(metadata=referral_metadata)):
    """Base of the tables that referral owns."""


class PartnerRow(ReferralTable, table=True):
    """An entry of the directory. Lists are JSON; `secret` is wrapped by the key provider under the partner's id."""

    __tablename__: ClassVar[str] = "partner"

    id: UUID = Field(primary_key=True, sa_type=Uuid)
    name: str = Field(sa_type=Text)
    destination: str = Field(sa_type=Text)
    organisation: str | None = Field(default=None, sa_type=Text)
    countries: str = Field(sa_type=Text)
    languages: str = Field(sa_type=Text)
    adapter: str = Field(sa_type=Text)
    address: str | None = Field(default=None, sa_type=Text)
    secret: bytes | None = Field(default=None, sa_type=LargeBinary)
    accepts_emergency: bool
    last_verified_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_delivered_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    changed_at: datetime = Field(sa_type=UtcDateTime)
    version: int


class RouteRow(ReferralTable, table=True):
    """A route; set again for the same country, destination and partner, it is replaced."""

    __tablename__: ClassVar[str] = "route"

    country: str = Field(primary_key=True, sa_type=Text)
    destination: str = Field(primary_key=True, sa_type=Text)
    partner_id: UUID = Field(primary_key=True, sa_type=Uuid, foreign_key="partner.id")
    priority: int
    release: str = Field(sa_type=Text)
    categories: str = Field(sa_type=Text)
    levels: str = Field(sa_type=Text)
    enabled: bool


class IncidentRow(ReferralTable, table=True):
    """An incident as triage told it last (`state`, JSON of the event) and what referral acted on last (`basis`)."""

    __tablename__: ClassVar[str] = "incident"

    id: UUID = Field(primary_key=True, sa_type=Uuid)
    version: int
    state: bytes | None = Field(default=None, sa_type=LargeBinary)
    basis: bytes | None = Field(default=None, sa_type=LargeBinary)
    erased: bool


class ReportRow(ReferralTable, table=True):
    """A report that joined an incident: its clear facts and its sealed narrative, which goes at an erasure."""

    __tablename__: ClassVar[str] = "report"
    __table_args__ = (Index("report_of_incident", "incident_id", "received_at"),)

    id: UUID = Field(primary_key=True, sa_type=Uuid)
    incident_id: UUID = Field(sa_type=Uuid)
    received_at: datetime = Field(sa_type=UtcDateTime)
    facts: bytes = Field(sa_type=LargeBinary)
    narrative: bytes | None = Field(default=None, sa_type=LargeBinary)


class ReferralRow(ReferralTable, table=True):
    """A referral, one for each incident, destination and partner asked; see domain/referrals.py."""

    __tablename__: ClassVar[str] = "referral"
    __table_args__ = (
        UniqueConstraint("incident_id", "destination", "ordinal", name="referral_once"),
        UniqueConstraint("reference", name="referral_reference"),
        Index("referral_to_build", "build_at"),
        Index("referral_to_escalate", "escalate_at"),
        Index("referral_of_partner", "partner_id", "status"),
    )

    id: UUID = Field(primary_key=True, sa_type=Uuid)
    reference: str = Field(sa_type=Text)
    incident_id: UUID = Field(sa_type=Uuid)
    destination: str = Field(sa_type=Text)
    ordinal: int
    partner_id: UUID = Field(sa_type=Uuid, foreign_key="partner.id")
    country: str = Field(sa_type=Text)
    status: str = Field(sa_type=Text)
    release: str = Field(sa_type=Text)
    level: str = Field(sa_type=Text)
    category: str = Field(sa_type=Text)
    lawful_basis: str = Field(sa_type=Text)
    version: int
    package_version: int
    approved_version: int
    created_at: datetime = Field(sa_type=UtcDateTime)
    changed_at: datetime = Field(sa_type=UtcDateTime)
    queued_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    delivered_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    acknowledged_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    due_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    escalate_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    escalations: int
    build_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    wanted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    attempted: bool
    is_test: bool
    referred_by: str | None = Field(default=None, sa_type=Text)
    note: bytes | None = Field(default=None, sa_type=LargeBinary)
    packaged_version: int


class PackageRow(ReferralTable, table=True):
    """What a version tells its partner: sealed under the incident's first report, deleted at an erasure."""

    __tablename__: ClassVar[str] = "package"
    __table_args__ = (Index("package_of_incident", "incident_id"),)

    referral_id: UUID = Field(primary_key=True, sa_type=Uuid, foreign_key="referral.id")
    version: int = Field(primary_key=True)
    incident_id: UUID = Field(sa_type=Uuid)
    created_at: datetime = Field(sa_type=UtcDateTime)
    profile: str = Field(sa_type=Text)
    withheld: bytes = Field(sa_type=LargeBinary)
    complete: bool
    sealed: bytes = Field(sa_type=LargeBinary)


class DeliveryRow(ReferralTable, table=True):
    """A version on its way to its partner. `state` is pending, sending, delivered, failed, superseded or revoked."""

    __tablename__: ClassVar[str] = "delivery"
    __table_args__ = (
        UniqueConstraint("webhook_id", name="delivery_webhook_id"),
        Index("delivery_due", "state", "next_attempt_at"),
        Index("delivery_of_partner", "partner_id"),
    )

    referral_id: UUID = Field(primary_key=True, sa_type=Uuid, foreign_key="referral.id")
    version: int = Field(primary_key=True)
    partner_id: UUID = Field(sa_type=Uuid, foreign_key="partner.id")
    webhook_id: str = Field(sa_type=Text)
    revocation: bool
    kind: str | None = Field(default=None, sa_type=Text)
    level: str = Field(sa_type=Text)
    state: str = Field(sa_type=Text)
    attempts: int
    next_attempt_at: datetime = Field(sa_type=UtcDateTime)
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)


class TaskRow(ReferralTable, table=True):
    """Work for a person on a referral; see domain/tasks.py. The note is sealed under the incident's first report."""

    __tablename__: ClassVar[str] = "task"
    __table_args__ = (Index("task_of_referral", "referral_id"), Index("task_of_incident", "incident_id"))

    id: UUID = Field(primary_key=True, sa_type=Uuid)
    referral_id: UUID = Field(sa_type=Uuid, foreign_key="referral.id")
    incident_id: UUID = Field(sa_type=Uuid)
    version: int
    package_version: int
    country: str = Field(sa_type=Text)
    kind: str = Field(sa_type=Text)
    errand: str = Field(sa_type=Text)
    level: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=UtcDateTime)
    changed_at: datetime = Field(sa_type=UtcDateTime)
    due_at: datetime = Field(sa_type=UtcDateTime)
    completed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    completed_by: str | None = Field(default=None, sa_type=Text)
    partner_reference: str | None = Field(default=None, sa_type=Text)
    note: bytes | None = Field(default=None, sa_type=LargeBinary)


class ApprovalRow(ReferralTable, table=True):
    """What a second person said to a version. The reason is sealed under the incident's first report."""

    __tablename__: ClassVar[str] = "approval"
    __table_args__ = (Index("approval_of_referral", "referral_id"),)

    id: UUID = Field(primary_key=True, sa_type=Uuid)
    referral_id: UUID = Field(sa_type=Uuid, foreign_key="referral.id")
    incident_id: UUID = Field(sa_type=Uuid)
    package_version: int
    at: datetime = Field(sa_type=UtcDateTime)
    by: str = Field(sa_type=Text)
    approved: bool
    reason: bytes | None = Field(default=None, sa_type=LargeBinary)


class AttemptRow(ReferralTable, table=True):
    """One attempt to reach a partner; `number` counts over all versions of the referral."""

    __tablename__: ClassVar[str] = "attempt"

    referral_id: UUID = Field(primary_key=True, sa_type=Uuid, foreign_key="referral.id")
    number: int = Field(primary_key=True)
    version: int
    at: datetime = Field(sa_type=UtcDateTime)
    outcome: str = Field(sa_type=Text)
    status_code: int | None = None
    next_attempt_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class AcknowledgementRow(ReferralTable, table=True):
    """A partner's answer, once: `digest` is over its content. The note is sealed under the incident's first report."""

    __tablename__: ClassVar[str] = "acknowledgement"
    __table_args__ = (UniqueConstraint("referral_id", "digest", name="acknowledgement_once"),)

    id: UUID = Field(primary_key=True, sa_type=Uuid)
    referral_id: UUID = Field(sa_type=Uuid, foreign_key="referral.id")
    digest: bytes = Field(sa_type=LargeBinary)
    at: datetime = Field(sa_type=UtcDateTime)
    taken_at: datetime = Field(sa_type=UtcDateTime)
    code: str = Field(sa_type=Text)
    by: str = Field(sa_type=Text)
    partner_reference: str | None = Field(default=None, sa_type=Text)
    until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    forwarded_to: str | None = Field(default=None, sa_type=Text)
    classification: bytes | None = Field(default=None, sa_type=LargeBinary)
    note: bytes | None = Field(default=None, sa_type=LargeBinary)


class NoRouteRow(ReferralTable, table=True):
    """An incident that nobody takes: a human's to place. The row goes when a referral opens."""

    __tablename__: ClassVar[str] = "no_route"

    incident_id: UUID = Field(primary_key=True, sa_type=Uuid)
    destination: str = Field(primary_key=True, sa_type=Text)
    country: str = Field(sa_type=Text)
    level: str = Field(sa_type=Text)
    since: datetime = Field(sa_type=UtcDateTime)


PARTNER = table_of(PartnerRow)
ROUTE = table_of(RouteRow)
INCIDENT = table_of(IncidentRow)
REPORT = table_of(ReportRow)
REFERRAL = table_of(ReferralRow)
PACKAGE = table_of(PackageRow)
DELIVERY = table_of(DeliveryRow)
TASK = table_of(TaskRow)
APPROVAL = table_of(ApprovalRow)
ATTEMPT = table_of(AttemptRow)
ACKNOWLEDGEMENT = table_of(AcknowledgementRow)
NO_ROUTE = table_of(NoRouteRow)
